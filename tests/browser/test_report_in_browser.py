"""What a reader does with a report, in Chromium with the network off."""

import copy
import re

import pytest
from anchored import file_anchor
from chromium import (
    CLICK_AT,
    browser,
    complaints,
    listed_ids,
    needs_browser,
    open_page,
    press,
    requests,
    text,
    texts,
    type_filter,
)
from reported import CONFIG, HOSTILE, confirm_front, make_run

from results.confirmations import honest
from results.directory import RunDirectory
from results.report.page import report_html, write_report
from results.run import load_run
from search_spaces.document import load_architecture

pytestmark = needs_browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("report") / "one", count=40)


@pytest.fixture(scope="module")
def run(path):
    return load_run(path)


@pytest.fixture(scope="module")
def driver():
    with browser() as started:
        yield started


@pytest.fixture
def page(driver, run, path):
    file = path / "report.html"
    if not file.exists():
        write_report([run], file)
    return open_page(driver, file)


def write(tmp_path, *runs):
    return write_report([load_run(run) for run in runs], tmp_path / "report.html")


def chosen(page):
    return int(re.match(r"#(\d+)", text(page, "#detail h2"))[1])


# --- it opens


def test_it_opens_without_a_network_and_asks_for_nothing(page, path):
    assert requests(page)[-1] == (path / "report.html").resolve().as_uri()
    assert {address.partition(":")[0] for address in requests(page)} <= {"file", "data"}
    assert complaints(page) == []
    assert page.title == "Search report: one"
    tiles = texts(page, "#overview .tile .value")
    assert tiles[:2] == ["40", "8"]
    assert page.execute_script("return document.getElementById('plot').width") > 300


def test_a_complaint_of_the_browser_is_seen():
    with pytest.raises(AssertionError), browser() as started:
        started.get("data:text/html,<script>console.error('seen')</script>")


def test_what_was_measured_beside_the_search_is_shown_and_leads_to_its_network(driver, tmp_path):
    run = load_run(make_run(tmp_path / "one", count=40))
    confirm_front(run)
    file_anchor(run, "efficientnet-b0", 30.0, accuracy=0.4)
    file_anchor(run, "efficientnetv2-s", 90.0)
    page = open_page(driver, write(tmp_path, run.path))
    assert complaints(page) == []
    cells = texts(page, "#published-list tbody td")
    first, second = cells[:7], cells[7:]
    assert first[:4] == ["efficientnet-b0", "one", "0.4000", "30"]
    assert second[:4] == ["efficientnetv2-s", "one", "–", "90"]
    assert second[5:] == ["0.839", "timed, not trained"]
    members = [each for each in honest(run) if each.is_member]
    shown = texts(page, "#honest-0 tbody tr")
    assert len(shown) == len(members)
    for row, each in zip(shown, members, strict=True):
        assert row.startswith(f"#{each.id}")
        assert f"{each.probability:.2f}" in row
        assert row.count("[") == 2, "accuracy and step time have intervals, the parameters are exact"
    page.execute_script("document.querySelectorAll('#honest-0 button')[1].click()")
    assert chosen(page) == members[1].id


def test_a_report_of_a_search_alone_has_no_such_sections(page):
    assert text(page, "#honest") == text(page, "#published") == ""


def test_the_chart_has_marks(page):
    colours = page.execute_script(
        "const c = document.getElementById('plot');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "const isBlue = (i) => d[i] === 0 && d[i + 1] === 0x72 && d[i + 2] === 0xb2;"
        "let n = 0; for (let i = 0; i < d.length; i += 4) n += isBlue(i); return n"
    )
    assert colours > 200  # pixels in the first run's colour


# --- choosing


def test_it_begins_with_the_front_and_its_most_accurate_network(page, run):
    front = [member.id for member in run.pareto()]
    assert listed_ids(page) == front
    assert chosen(page) == front[0]
    assert text(page, "#count") == f"{len(front)} of 40 networks"


def test_the_list_begins_with_as_many_rows_as_fit(driver, tmp_path):
    run = load_run(make_run(tmp_path / "run", count=240))
    page = open_page(driver, write(tmp_path, run.path))
    assert len(run.pareto()) >= 15
    assert len(listed_ids(page)) == min(len(run.pareto()), 28)  # 460 pixels of 30 a row, and 12 beyond


def test_a_click_on_the_chart_shows_a_network_with_its_stages_and_costs(page, run):
    from selenium.webdriver import ActionChains

    member = run.pareto()[-1]
    place = page.execute_script(CLICK_AT, f"#{member.id}")
    assert place is not None
    over = page.find_element("id", "over")
    size = over.size
    offset = (place[0] - size["width"] / 2, place[1] - size["height"] / 2)
    ActionChains(page).move_to_element_with_offset(over, *map(int, offset)).click().perform()
    assert chosen(page) == member.id
    facts = text(page, "#detail .facts")
    assert f"{member.cost.params:,}" in facts
    assert f"{member.cost.macs:,}" in facts
    assert f"{member.accuracy:.4f}" in facts
    rows = page.execute_script(
        "return [...document.querySelectorAll('#parts tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert len(rows) == len(member.architecture["stages"]) + 2
    assert sum(int(row[6].replace(",", "")) for row in rows) == member.cost.params
    assert sum(int(row[7].replace(",", "")) for row in rows) == member.cost.macs
    assert [row[1] for row in rows[1:-1]] == [each["block"]["op"] for each in member.architecture["stages"]]
    assert len(page.find_elements("css selector", "#detail .silhouette rect")) >= len(rows)
    assert "Learning curve" in page.find_element("css selector", "#detail .curve").get_attribute("aria-label")


def test_arrow_keys_choose_in_the_list(page, run):
    from selenium.webdriver import Keys

    front = [member.id for member in run.pareto()]
    rows = page.find_element("id", "rows")
    rows.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert chosen(page) == front[2]
    rows.send_keys(Keys.ARROW_UP)
    assert chosen(page) == front[1]
    rows.send_keys(Keys.END)
    assert chosen(page) == front[-1]


def test_dragging_zooms_and_a_button_goes_back(page):
    from selenium.webdriver import ActionChains

    over = page.find_element("id", "over")
    drag = ActionChains(page).move_to_element_with_offset(over, -100, -100).click_and_hold()
    drag.move_by_offset(150, 120).release().perform()
    assert page.find_element("id", "unzoom").is_displayed()
    page.find_element("id", "unzoom").click()
    assert not page.find_element("id", "unzoom").is_displayed()


def test_every_quantity_can_be_an_axis_with_its_unit(page):
    titles = texts(page, "#x-axis option")
    assert "training step time (ms)" in titles
    assert "multiply-adds (MACs an image)" in titles
    for axis in ("x", "y"):
        for place in range(len(titles)):
            page.execute_script(
                "const s = document.getElementById(`${arguments[0]}-axis`); s.selectedIndex = arguments[1];"
                "s.dispatchEvent(new Event('change'));"
                "document.getElementById(`${arguments[0]}-log`).click()",
                axis,
                place,
            )
    assert complaints(page) == []


# --- filter and sort


@pytest.mark.parametrize(
    ("given", "keeps"),
    [
        ("accuracy>0.5", lambda each: each.accuracy is not None and each.accuracy > 0.5),
        ("params<=500k", lambda each: each.cost.params <= 500_000),
        ("params>.2M macs<20m", lambda each: each.cost.params > 2e5 and each.cost.macs < 2e7),
        ("status:oom", lambda each: each.status == "oom"),
        ("origin:random", lambda each: each.origin == "random"),
        ("reason:memory", lambda each: each.reason is not None and "memory" in each.reason),
        ("7", lambda each: each.id == 7 or each.digest.startswith("7")),
        ("step_ms>=0 run:one", lambda each: each.step_ms is not None),
        ("fused_mbconv", lambda each: "fused_mbconv" in str(each.architecture)),
        ("nothing-has-this", lambda each: False),
    ],
)
def test_the_filter_keeps_what_it_says(page, run, given, keeps):
    press(page, "[data-preset=all]")
    press(page, "th[data-key=id] button")
    type_filter(page, given)
    expected = [each.id for each in run.candidates() if keeps(each)]
    assert sorted(listed_ids(page))[:20] == expected[: len(listed_ids(page))][:20]
    assert text(page, "#count") == f"{len(expected)} of 40 networks"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("acuracy>0.5", "acuracy is no quantity here; there are accuracy"),
        ("accuracy>", "the number is missing"),
        ("params<=many", '"many" is no number; write params<=0.5'),
    ],
)
def test_a_mistake_in_the_filter_is_said_and_changes_nothing(page, given, problem):
    before = listed_ids(page)
    type_filter(page, given)
    assert problem in text(page, "#filter-problem")
    assert page.find_element("id", "filter").get_attribute("aria-invalid") == "true"
    assert listed_ids(page) == before
    type_filter(page, "")
    assert not page.find_element("id", "filter-problem").is_displayed()


@pytest.mark.parametrize("name", ["accuracy", "step_ms", "params", "macs"])
def test_the_list_is_sorted_either_way_with_what_is_missing_last(page, run, name):
    press(page, "[data-preset=all]")
    known = [each for each in run.candidates() if each.value(name) is not None]
    missing = [each.id for each in run.candidates() if each.value(name) is None]
    for _ in range(2):
        press(page, f"th[data-key={name}] button")
        order = page.find_element("css selector", f"th[data-key={name}]").get_attribute("aria-sort")
        sign = -1 if order == "descending" else 1
        expected = [each.id for each in sorted(known, key=lambda each: (sign * each.value(name), each.id))]
        seen = listed_ids(page)
        assert seen == (expected + missing)[: len(seen)]


# --- taking away


def test_copied_yaml_is_the_network(page, run, tmp_path):
    from selenium.webdriver import Keys

    page.execute_script(
        "const t = document.createElement('textarea'); t.id = 'paste'; document.body.append(t)"
    )
    page.find_element("id", "copy").click()
    page.find_element("id", "paste").send_keys(Keys.CONTROL, "v")
    pasted = page.find_element("id", "paste").get_property("value")
    (tmp_path / "pasted.yaml").write_text(pasted)
    assert load_architecture(tmp_path / "pasted.yaml").digest == run.candidate(chosen(page)).digest
    assert pasted == text(page, "#yaml")


def test_saved_yaml_is_the_network(run, path, tmp_path):
    file = write_report([run], tmp_path / "report.html")
    with browser(downloads=tmp_path) as started:
        page = open_page(started, file)
        press(page, "#save")
        from selenium.webdriver.support.ui import WebDriverWait

        saved = tmp_path / f"one-{chosen(page)}.yaml"
        WebDriverWait(page, 20).until(lambda _: saved.exists() and saved.stat().st_size > 0)
        assert load_architecture(saved).digest == run.candidate(chosen(page)).digest


# --- failures, provenance, hostile text


def test_failures_say_why_and_lead_to_the_network(page, run):
    assert "out of memory" in text(page, "#failures .why")
    failed = [each.id for each in run.candidates() if each.status == "oom"]
    assert texts(page, "#failures button")[0] == f"#{failed[0]}"
    press(page, "#failures button")
    assert chosen(page) == failed[0]
    assert "out of memory" in text(page, "#detail > .problem")
    assert failed[0] in listed_ids(page)


def test_provenance_names_device_versions_and_reference(page):
    said = text(page, "#provenance")
    for expected in (
        "Test CPU",
        "batch 8 at 64 px",
        "python: ",
        "accuracy (maximize)",
        "worst measured + 10 %",
    ):
        assert expected in said


def test_hostile_text_is_shown_and_never_run(driver, tmp_path):
    config = {**copy.deepcopy(CONFIG), "note": HOSTILE}
    hostile = make_run(tmp_path / "<img src=x onerror=document.title='taken'>", config=config, reason=HOSTILE)
    page = open_page(driver, write(tmp_path, hostile))
    assert page.title == f"Search report: {hostile.name}"
    assert " ".join(HOSTILE.split()) in " ".join(text(page, "#failures .why").split())
    assert "note: </script><script>" in text(page, "#provenance")
    assert page.find_elements("css selector", "img, iframe, object") == []
    assert page.execute_script("return document.scripts.length") == 2


def test_the_policy_lets_no_other_script_run_or_load(driver, run, tmp_path):
    body = report_html([run])
    attempt = "<script>document.title = 'taken'</script><img src='https://example.invalid/x.png'>"
    (tmp_path / "changed.html").write_text(body.replace("<main>", attempt + "<main>"))
    page = open_page(driver, tmp_path / "changed.html")
    assert page.title == "Search report: one"
    assert any("Content Security Policy" in said for said in complaints(page))


# --- several runs, runs still going on, other screens


def test_runs_are_overlaid_told_apart_and_hidden_at_will(driver, tmp_path):
    first, second = make_run(tmp_path / "first", count=9), make_run(tmp_path / "second", count=9, seed=3)
    page = open_page(driver, write(tmp_path, first, second))
    assert texts(page, "#legend button") == ["first", "second"]
    marks = page.execute_script(
        "return [...document.querySelectorAll('#legend button path')]"
        ".map((path) => [path.getAttribute('d'), path.getAttribute('fill')])"
    )
    assert marks[0][0] != marks[1][0]  # by shape, not by colour alone
    assert marks[0][1] != marks[1][1]
    assert set(texts(page, "#rows tr.row td:nth-child(3)")) == {"first", "second"}
    assert len(texts(page, "#runs tbody tr")) == 2
    press(page, "#legend button")
    assert set(texts(page, "#rows tr.row td:nth-child(3)")) == {"second"}
    assert page.find_elements("css selector", "#notices .notice") == []


def test_runs_of_other_hardware_are_shown_one_at_a_time_and_it_is_said(driver, tmp_path):
    other = {**copy.deepcopy(CONFIG), "hardware": {"device": "Other GPU", "fingerprint": "d" * 64}}
    first, second = make_run(tmp_path / "first"), make_run(tmp_path / "second", config=other, seed=3)
    page = open_page(driver, write(tmp_path, first, second))
    assert "do not compare" in text(page, "#notices .notice")
    assert [each.partition(",")[0] for each in texts(page, "#group option")] == [
        "Test CPU",
        "Other GPU; step: batch 8 at 64 px",
    ]
    assert set(texts(page, "#rows tr.row td:nth-child(3)")) == {"first"}
    page.execute_script(
        "const s = document.getElementById('group'); s.value = 1; s.dispatchEvent(new Event('change'))"
    )
    assert set(texts(page, "#rows tr.row td:nth-child(3)")) == {"second"}


def test_a_run_that_goes_on_and_one_that_has_only_begun_say_so(driver, tmp_path):
    going = make_run(tmp_path / "going", finished=False)
    with RunDirectory.open(going, root=tmp_path):
        page = open_page(driver, write(tmp_path, going))
    assert "still going on" in text(page, "#notices .notice")
    with RunDirectory.create(tmp_path / "begun", hint="x", config=CONFIG, root=tmp_path) as begun:
        page = open_page(driver, write(tmp_path, begun.path))
    assert "Choose a network" in text(page, "#detail")
    assert complaints(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_systems_colours_and_the_readers_wish(page, scheme):
    given = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", given)
    page.refresh()
    assert page.execute_script("return document.documentElement.dataset.theme") == scheme
    seen = []
    for _ in range(3):
        press(page, "#theme")
        seen.append(page.execute_script("return document.documentElement.dataset.theme"))
    assert seen == ["light", "dark", scheme]


def test_printed_it_is_light_and_whole(page, run):
    press(page, "[data-preset=all]")
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert page.execute_script("return document.documentElement.dataset.theme") == "light"
    assert len(listed_ids(page)) == len(run.candidates())
    page.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert page.execute_script("return document.documentElement.dataset.theme") == "dark"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]) > 20_000


@pytest.mark.parametrize("width", [390, 900, 1920])
def test_it_fits_any_screen(page, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.refresh()
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
