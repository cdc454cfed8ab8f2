import base64
import copy
import hashlib
import json
import re
from importlib.resources import files

import pytest
from anchored import file_anchor
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW, add_candidate, timing, training
from reported import CONFIG, HOSTILE, confirm_front, content_of, make_run, sampled

from proxies.records import Outcome
from results.confirmations import CONFIRMATIONS_NAME, honest
from results.directory import RunDirectory
from results.entries import Record
from results.errors import RunError
from results.ledger import Ledger
from results.report.content import content
from results.report.measurements import MIN_POINTS, Measurements, shortened, thinned
from results.report.networks import PART_FIELDS, parts
from results.report.page import embedded_json, page, report_html, write_report
from results.report.pool import Pool
from results.run import load_run
from search_spaces.architecture import cost
from search_spaces.cost import NO_COST
from search_spaces.document import load_architecture
from search_spaces.shipped import SPACES, shipped_names

NOW = 1_795_000_000.0


def made(*runs):
    return content([load_run(run) for run in runs], now=NOW, version="1.2.3")


def changed(**changes):
    return {**copy.deepcopy(CONFIG), **changes}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("report") / "one", count=12)


@pytest.fixture(scope="module")
def found(one):
    return made(one)


# --- measured beside the search


def test_a_report_has_what_was_measured_beside_the_search(tmp_path):
    run = load_run(make_run(tmp_path / "one", count=14))
    nothing = made(run.path)["runs"][0]
    assert (nothing["published"], nothing["honest"]) == ([], [])
    file_anchor(run, "efficientnetv2-s", 90.0)
    confirm_front(run)
    told = made(run.path)["runs"][0]
    (anchor,) = told["published"]
    told_of = (anchor["name"], anchor["imagenet_top1"], anchor["standing"])
    assert told_of == ("efficientnetv2-s", 0.839, "timed, not trained")
    assert anchor["values"] == {"accuracy": None, "step_ms": 90, "params": 21458488}
    members = {each.id: each for each in honest(run) if each.is_member}
    assert [each["id"] for each in told["honest"]] == list(members)
    for each in told["honest"]:
        likely = members[each["id"]]
        assert each["probability"] == pytest.approx(likely.probability, abs=5e-4)
        ends = (likely.low["step_ms"], likely.values["step_ms"], likely.high["step_ms"])
        assert each["values"]["step_ms"] == pytest.approx(ends, rel=1e-6)
        assert each["measured"] == likely.num_measurements


def test_confirmations_that_failed_make_no_honest_front(tmp_path):
    run = load_run(make_run(tmp_path / "one", count=14))
    Ledger.create(run.path / CONFIRMATIONS_NAME).close()
    assert made(run.path)["runs"][0]["honest"] == []


# --- networks


@pytest.mark.parametrize("space", shipped_names(SPACES))
def test_parts_of_a_network_add_up_to_its_exact_cost(space):
    networks, resolution = sampled(space, 4)
    for arch in networks:
        total = dict.fromkeys(("params", "macs", "activation_bytes"), 0)
        for part in parts(arch, resolution):
            named = dict(zip(PART_FIELDS, part, strict=True))
            total = {name: value + named[name] for name, value in total.items()}
        exact = cost(arch, resolution)
        assert total == {name: getattr(exact, name) for name in total}
        assert exact != NO_COST


@pytest.mark.parametrize("space", shipped_names(SPACES))
def test_yaml_of_every_network_reads_back_to_its_digest(tmp_path, space):
    document = made(make_run(tmp_path / "run", space=space, count=5))
    table = document["candidates"]
    for row, digest in enumerate(table["digest"]):
        file = tmp_path / f"{row}.yaml"
        file.write_text("".join(document["texts"][place] for place in table["yaml"][row]))
        read = load_architecture(file)
        assert read.digest == digest
        assert read.name == f"run-{table['id'][row]:04d}"
        assert f"candidate: {table['id'][row]}\n" in file.read_text()


def test_a_network_of_an_unknown_block_has_yaml_and_no_parts(tmp_path):
    strange = {"schema": "nas.architecture/1", "stages": [{"block": {"op": "of_a_plugin"}}]}
    directory = RunDirectory.create(tmp_path / "run", hint="x", config=CONFIG, root=tmp_path)
    with directory, directory.ledger() as ledger:
        add_candidate(ledger, 0, architecture=strange)
    document = made(tmp_path / "run")
    assert document["candidates"]["parts"] == [None]
    assert "op: of_a_plugin" in "".join(
        document["texts"][place] for place in document["candidates"]["yaml"][0]
    )


# --- what it says


def test_the_columns_are_the_runs_candidates(one, found):
    run, table = load_run(one), found["candidates"]
    assert len({len(column) for name, column in table.items() if name not in ("values", "words")}) == 1
    assert table["id"] == [result.id for result in run.candidates()]
    assert [table["words"][place] for place in table["status"]] == [each.status for each in run.candidates()]
    for name in ("accuracy", "step_ms", "step_ms_low", "params", "macs"):
        for value, result in zip(table["values"][name], run.candidates(), strict=True):
            expected = result.value(name)
            assert value == (None if expected is None else pytest.approx(expected, rel=1e-6, abs=0)), name
    assert table["values"]["params"] == [result.cost.params for result in run.candidates()]


def test_the_front_is_the_runs(one, found):
    members = {member.id for member in load_run(one).pareto()}
    assert members
    table = found["candidates"]
    assert {
        number for number, is_member in zip(table["id"], table["front"], strict=True) if is_member
    } == members
    assert table["joint"] == table["front"]
    (run,) = found["runs"]
    assert run["hypervolume"] == load_run(one).hypervolume()
    assert (run["evaluated"], run["failed"], run["target"]) == (12, 2, 9)


def test_every_quantity_says_what_it_is(found):
    known = {each["name"]: each for each in found["quantities"]}
    assert known.keys() == found["candidates"]["values"].keys()
    assert known["step_ms"]["unit"] == "ms"
    assert known["accuracy"]["direction"] == "maximize"
    assert all(each["label"] for each in known.values())


def test_the_direction_of_a_quantity_is_the_runs_own(tmp_path):
    config = changed(objectives=["accuracy:maximize", "params:maximize"])
    document = made(make_run(tmp_path / "run", config=config))
    assert {each["name"]: each["direction"] for each in document["quantities"]}["params"] == "maximize"


def test_outcomes_keep_metrics_reasons_and_curves(one, found):
    table, kept = found["candidates"], found["measured"]
    run = load_run(one)
    for result, outcomes in zip(run.candidates(), table["outcomes"], strict=True):
        records = run.records(result)
        assert len(outcomes) == len(records) > 0
        for short, record in zip(outcomes, records, strict=True):
            read = dict(zip(kept["names"][short["n"]], short["v"], strict=True))
            assert read == pytest.approx(record.outcome.metrics, rel=1e-6)
            assert (short["k"], short["s"]) == (record.outcome.kind, record.outcome.status)
            assert ("r" in short) == (record.outcome.reason is not None)
            assert ("l" in short) == (record.outcome.kind == "train")
            assert "device" in kept["conditions"][short["c"]] or "torch" in kept["conditions"][short["c"]]


def test_conditions_that_outcomes_share_are_kept_once(found):
    assert len(found["measured"]["conditions"]) == 2  # of timings, and of trainings
    assert all("attempts" not in each for each in found["measured"]["conditions"])


def test_a_run_that_has_only_begun_is_reported(tmp_path):
    with RunDirectory.create(tmp_path / "run", hint="x", config=CONFIG, root=tmp_path) as directory:
        directory.log("started")
        document = made(tmp_path / "run")
    (run,) = document["runs"]
    assert (run["phase"], run["hypervolume"], document["candidates"]["id"]) == ("running", None, [])
    assert page(document, title="x")


def test_a_run_still_going_on_is_reported_as_it_is(tmp_path):
    with RunDirectory.create(tmp_path / "run", hint="x", config=CONFIG, root=tmp_path) as directory:
        directory.log("started")
        with directory.ledger() as ledger:
            add_candidate(ledger, 0)
            ledger.record(timing(0))
            ledger.record(training(0))
            add_candidate(ledger, 1)
            ledger.record(timing(1))
            document = made(tmp_path / "run")
    assert (document["runs"][0]["phase"], document["candidates"]["front"]) == ("running", [1, 0])
    assert [document["candidates"]["words"][place] for place in document["candidates"]["status"]] == [
        "ok",
        "pending",
    ]


def test_a_configuration_that_says_little_is_enough(tmp_path):
    document = made(make_run(tmp_path / "run", config={"schema": "nas.run/1"}))
    assert document["groups"][0].startswith("device not recorded; step: batch 8 at 64 px")


# --- several runs


def test_runs_measured_alike_share_a_group_and_a_joint_front(tmp_path):
    first, second = make_run(tmp_path / "first", seed=0), make_run(tmp_path / "second", seed=5)
    document = made(first, second)
    table = document["candidates"]
    assert [run["group"] for run in document["runs"]] == [0, 0]
    joint = [row for row, on in enumerate(table["joint"]) if on]
    assert 0 < len(joint) < sum(table["front"])
    assert all(table["front"][row] for row in joint)
    values = table["values"]
    for row in (row for row, on in enumerate(table["front"]) if on):
        beaten = any(
            values["accuracy"][other] >= values["accuracy"][row]
            and values["step_ms"][other] <= values["step_ms"][row]
            and values["params"][other] <= values["params"][row]
            and other != row
            for other in joint
        )
        assert beaten != (row in joint)


@pytest.mark.parametrize("key", ["hardware", "task"])
def test_another_device_or_proxy_is_a_group_of_its_own(tmp_path, key):
    other = changed(**{key: {**CONFIG[key], "fingerprint": "c" * 64}})
    document = made(make_run(tmp_path / "first"), make_run(tmp_path / "second", config=other, seed=5))
    assert [run["group"] for run in document["runs"]] == [0, 1]
    assert len(set(document["groups"])) == 2
    assert document["candidates"]["joint"] == document["candidates"]["front"]


def test_runs_of_other_objectives_have_no_joint_front(tmp_path):
    other = changed(objectives=["accuracy:maximize", "macs:minimize"])
    document = made(make_run(tmp_path / "first"), make_run(tmp_path / "second", config=other, seed=5))
    assert sum(document["candidates"]["joint"]) == 0
    assert sum(document["candidates"]["front"]) > 0


def test_no_run_and_the_same_run_twice_are_refused(one):
    with pytest.raises(RunError, match="at least one run"):
        report_html([])
    with pytest.raises(RunError, match=r"one is named twice; name each run once"):
        report_html([load_run(one), load_run(one)])


# --- the file


def test_the_page_loads_nothing_and_allows_only_its_own_script(one):
    text = report_html([load_run(one)], now=NOW)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    script, style = (
        re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
        re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
    )
    for block, kind in ((script, "script-src"), (style, "style-src")):
        (only,) = block
        digest = base64.b64encode(hashlib.sha256(only.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    addresses = re.findall(r"""(?:https?:)?//[\w.-]+\.\w+|\b(?:src|href)=["'][^"']*""", text)
    assert set(addresses) <= {'href="data:,', "http://www.w3.org"}  # no icon; the name of SVG


def test_hostile_text_stays_text(tmp_path):
    config = changed(config={"space": HOSTILE, "candidates": 3}, note=HOSTILE)
    path = make_run(tmp_path / "<img src=x onerror=alert(1)>", config=config, reason=HOSTILE)
    text = report_html([load_run(path)], now=NOW)
    assert text.count("</script>") == 2
    assert text.count("<script") == 2
    assert "<img" not in text
    read = content_of(text)
    assert HOSTILE in read["measured"]["texts"]
    assert read["runs"][0]["provenance"]["note"] == HOSTILE
    assert read["runs"][0]["name"] == path.name


@LAW
@given(st.lists(st.text() | st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_embedded_json_is_the_same_data_and_cannot_leave_its_element(data):
    text = embedded_json({"data": data})
    assert json.loads(text) == {"data": data}
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_a_number_that_is_not_finite_never_gets_into_a_page():
    with pytest.raises(ValueError, match="JSON"):
        embedded_json({"x": float("nan")})


def test_a_report_is_written_whole_and_anew(one, tmp_path):
    file = tmp_path / "report.html"
    file.write_text("old")
    assert write_report([load_run(one)], file) == file
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert content_of(text)["schema"] == "nas.report/1"
    assert "<title>Search report: one</title>" in text


def test_a_place_that_cannot_be_written_is_said_without_talk_of_resuming(one, tmp_path):
    with pytest.raises(RunError, match="could not be written"):
        write_report([load_run(one)], tmp_path / "missing" / "report.html")


# --- small things


@LAW
@given(st.lists(st.integers(0, 9)))
def test_a_pool_keeps_each_value_once_and_gives_it_back(values):
    pool = Pool()
    places = [pool.place(value) for value in values]
    assert [pool.values()[place] for place in places] == values
    assert len(pool.values()) == len(set(values))


@LAW
@given(st.lists(st.integers(), unique=True), st.integers(2, 30))
def test_thinned_values_keep_order_and_ends(values, count):
    kept = thinned(values, count)
    assert len(kept) == min(len(values), count)
    places = [values.index(value) for value in kept]
    assert places == sorted(set(places))
    if values:
        assert (kept[0], kept[-1]) == (values[0], values[-1])


@LAW
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortened_numbers_are_right_to_seven_digits(value):
    assert shortened(value) == pytest.approx(value, rel=1e-6, abs=0)


@LAW
@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_counts_are_kept_exactly(value):
    assert shortened(float(value)) == value


def test_curves_are_thinned_where_there_are_many():
    curve = [[step, {"accuracy": step / 1000}] for step in range(1000)]
    result = Outcome(key="k", kind="train", digest="d", status="ok", details={"learning_curve": curve})
    record = Record(outcome=result, attempt=1, origin=None, recorded_at=0.0, sha256="")
    few, many = Measurements(num_records=10).entry(record), Measurements(num_records=10**6).entry(record)
    assert (len(few["l"]["x"]), len(many["l"]["x"])) == (200, MIN_POINTS)
    assert (many["l"]["x"][0], many["l"]["x"][-1]) == (0, 999)


@pytest.mark.parametrize(
    "curve", [None, 7, [], [[1, {"accuracy": 0.5}]], [[1, {"loss": 1.0}], [2, {}]], [[1, 2], [3, 4]]]
)
def test_what_is_no_curve_is_left_out(curve):
    result = Outcome(key="k", kind="train", digest="d", status="ok", details={"learning_curve": curve})
    record = Record(outcome=result, attempt=2, origin="other", recorded_at=0.0, sha256="")
    entry = Measurements(num_records=1).entry(record)
    assert "l" not in entry
    assert (entry["a"], entry["o"]) == (2, 0)


# --- progress and colours


def test_progress_rises_over_one_reference_to_the_fronts_hypervolume(tmp_path):
    first, second = make_run(tmp_path / "first", count=15), make_run(tmp_path / "second", count=15, seed=5)
    document = made(first, second)
    runs = [load_run(first), load_run(second)]
    corners = [run.reference() for run in runs]
    common = {
        "accuracy": min(corner["accuracy"] for corner in corners),
        "step_ms": max(corner["step_ms"] for corner in corners),
        "params": max(corner["params"] for corner in corners),
    }
    for run, said in zip(runs, document["runs"], strict=True):
        evaluations, seconds, volumes = zip(*said["progress"], strict=True)
        assert list(evaluations) == sorted(set(evaluations))
        assert list(seconds) == sorted(seconds)
        assert list(volumes) == sorted(volumes)
        assert evaluations[-1] == said["evaluated"]
        assert volumes[-1] == pytest.approx(run.hypervolume(common), rel=1e-6)


def test_runs_of_other_objectives_show_no_progress(tmp_path):
    other = changed(objectives=["accuracy:maximize", "macs:minimize"])
    document = made(make_run(tmp_path / "first"), make_run(tmp_path / "second", config=other, seed=5))
    assert [run["progress"] for run in document["runs"]] == [[], []]


def themes():
    """The named colours of the style, of each theme."""
    style = files("results.report").joinpath("assets", "style.css").read_text()
    blocks = re.findall(r"^:root(?:\[data-theme=\"dark\"\])? \{(.*?)^\}", style, re.DOTALL | re.MULTILINE)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def luminance(colour):
    """Relative luminance, 0 to 1 (WCAG 2.2)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_its_definition():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
def test_text_and_marks_can_be_read_in_either_theme(place):
    theme = themes()[place]
    for text in ("ink", "quiet", "warn"):
        for ground in ("ground", "card", "soft"):
            assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
    assert contrast(theme["accent-ink"], theme["accent"]) >= 4.5
    for number in range(8):
        assert contrast(theme[f"run-{number}"], theme["card"]) >= 3.0, number
