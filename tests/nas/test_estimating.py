"""A search that estimates its step times: what is recorded, shown, exported, and never mixed."""

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import yaml
from replayed import Heard, ReplayExecutor, make_session

import nas
from cli.main import main
from nas.config import make_config
from nas.errors import ConfigError
from nas.estimating import estimate
from nas.objectives import estimated_bounds, estimated_objectives, parse_bounds, parse_objectives
from nas.planning import make_plan
from proxies.estimates import estimate_outcome
from proxies.hardware import load_profile, timing_settings
from proxies.records import TimeJob
from results.export import export_csv
from results.ledger import Ledger
from results.pareto import non_dominated
from results.run import load_run
from search_spaces.document import load_architecture
from search_spaces.space_document import load_space

TINY = load_space("tiny")
H100 = load_profile("h100")
ASKED = {"space": "tiny", "hardware": "a100", "estimate": True, "executor": "local"}
TIMES = ("step_ms", "step_ms_low", "step_ms_high", "step_ratio", "images_per_second")


def estimates_of(arch):
    return estimate_outcome(arch, H100, timing_settings(H100, arch))


def estimating_session(ledger, executor, folder, **options):
    session = make_session(TINY, ledger, executor, folder, **options)
    session.evaluations = type(session.evaluations)(
        **{name: getattr(session.evaluations, name) for name in session.evaluations.__slots__}
        | {"estimate": estimates_of}
    )
    session.objectives = estimated_objectives(session.objectives)
    session.__post_init__()
    return session


def test_nothing_is_timed_and_every_candidate_is_trained(tmp_path: Path) -> None:
    executor, heard = ReplayExecutor(), Heard()
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        estimating_session(ledger, executor, tmp_path, progress=heard).run()
        kinds = [outcome.kind for outcome in ledger.outcomes()]
        assert kinds.count("estimate") == kinds.count("train") == 10
        assert not any(isinstance(job, TimeJob) for job in executor.jobs)
        assert ledger.outcomes("time") == ()
        # A front over measured times has none of them, one over estimated times has no other.
        points = [outcome.metrics | {"accuracy": 0.5} for outcome in ledger.outcomes("estimate")]
        assert non_dominated(points, parse_objectives(["accuracy", "step_ms"])) == ()
        assert non_dominated(points, parse_objectives(["accuracy", "estimated_step_ms"]))
    assert heard.events[-1].is_estimated
    assert heard.events[-1].hypervolume is not None


def test_an_estimating_search_resumes_where_it_was(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "whole.sqlite") as ledger:
        estimating_session(ledger, ReplayExecutor(), tmp_path).run()
        expected = {outcome.key for outcome in ledger.outcomes()}
    with Ledger.create(tmp_path / "killed.sqlite") as ledger:
        with pytest.raises(Exception, match="told to die"):
            estimating_session(ledger, ReplayExecutor(die_after=4), tmp_path).run()
        estimating_session(ledger, ReplayExecutor(), tmp_path).run()
        assert {outcome.key for outcome in ledger.outcomes()} == expected


def test_a_limit_on_time_bounds_the_estimate(tmp_path: Path) -> None:
    executor = ReplayExecutor()
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        bounds = estimated_bounds(parse_bounds(["step_ms<=0.0001"]))
        estimating_session(ledger, executor, tmp_path, bounds=bounds).run()
        assert executor.jobs == []
        assert "estimated_step_ms is" in ledger.decisions()[0].reason


def test_the_plan_says_what_is_estimated_and_what_trains() -> None:
    plan = make_plan(make_config(ASKED))
    document = plan.document()
    assert document["objectives"] == ["accuracy:maximize", "estimated_step_ms:minimize", "params:minimize"]
    assert document["jobs_per_candidate"] == {"estimate": 1, "train": 1}
    hardware = document["hardware"]
    assert (hardware["estimated"], hardware["profile"]) == (True, "a100-80g")
    assert hardware["trained_on"]["profile"] == "cpu"
    assert plan.timing(load_architecture("efficientnetv2-s")).batch_size == 128
    assert make_plan(make_config(document["config"])).document() == document
    other = make_plan(make_config(ASKED | {"hardware": "h200"}))
    assert other.hardware_fingerprint != plan.hardware_fingerprint
    assert other.task_fingerprint == plan.task_fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hardware": "cpu"}, "states no fp32 rate to estimate from"),
        ({"precision": "bf16", "hardware": "v100"}, "choose --precision fp32, fp16"),
        ({"ray_address": "auto"}, "leave out --ray-address"),
        ({"objectives": ["accuracy", "peak_memory_bytes"]}, "peak_memory_bytes is measured"),
        ({"limits": ["step_ratio<=2"]}, "step_ratio is measured, and --estimate measures no step"),
    ],
)
def test_what_cannot_be_estimated_is_refused(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(make_config(ASKED | changes))


def test_architectures_are_estimated_without_a_search() -> None:
    small, large = nas.estimate(["efficientnetv2-b0", "efficientnetv2-s"], hardware="h100", resolution=224)
    assert isinstance(small, nas.Estimate)
    assert small.estimated_step_ms < large.estimated_step_ms
    assert estimate(["efficientnetv2-b0"], hardware="h100", resolution=224) == [small]
    halved = estimate(["efficientnetv2-b0"], hardware="h100", resolution=224, batch=64)[0]
    assert halved.estimated_step_ms < small.estimated_step_ms
    with pytest.raises(ConfigError, match="states no tf32 rate"):
        estimate(["efficientnetv2-b0"], hardware="t4", precision="tf32")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a finished `nas search --estimate` whose trainings were replayed; what it printed."""
    out, err = io.StringIO(), io.StringIO()
    folder = tmp_path_factory.mktemp("work")
    options = ["--space", "tiny", "--hardware", "a100", "--estimate", "--candidates", "8"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr("nas.api._executor", lambda plan, directory: ReplayExecutor())
        assert main(["search", *options, "--strategy", "random", "--executor", "local"]) == 0
    return folder, out.getvalue(), err.getvalue()


@pytest.fixture
def searched(finished, monkeypatch):
    """The run, from the folder that it was started in."""
    monkeypatch.chdir(finished[0])
    return finished[0] / "runs" / "latest"


def test_every_number_of_a_search_says_estimated(finished, searched, capsys) -> None:
    _, out, err = finished
    assert "estimated step ms [range]" in out
    assert "step: estimated, not measured" in out
    assert "hypervolume of estimates" in out
    assert "hypervolume of estimates" in err
    assert "ratio" not in out
    for command in (["show", "latest"], ["pareto", "latest"]):
        assert main(command) == 0
        assert "estimated step ms [range]" in capsys.readouterr().out
        assert main([*command, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["estimated"] is True
        for member in found["front"]:
            assert member["step_ms"] is None
            assert member["estimated_step_ms"] > 0
    assert main(["list"]) == 0
    assert "estimated step times" in capsys.readouterr().out
    assert "estimated" in searched.resolve().name


def test_everything_stored_and_exported_says_estimated(searched, tmp_path) -> None:
    folder = searched
    front = yaml.safe_load((folder / "pareto.yaml").read_text())
    assert front["estimated"] is True
    assert all("estimated_step_ms" in member for member in front["front"])
    for path in (folder / "architectures").iterdir():
        document = yaml.safe_load(path.read_text())
        assert [each["kind"] for each in document["measurements"]] == ["train"]
        (kept,) = document["estimates"]
        assert kept["kind"] == "estimate"
        assert all(name.startswith("estimated_") for name in kept["metrics"])
        assert document["provenance"]["hardware"]["estimated"] is True
        assert load_architecture(path).digest == document["provenance"]["digest"]
    run = load_run(folder)
    frame = run.frame()
    assert frame["estimated_step_ms"].notna().all()
    assert not frame[[name for name in TIMES if name in frame]].notna().any(axis=None)
    assert run.pareto(["accuracy", "step_ms"]) == ()
    assert run.best(lambda each: each.step_ms) is None
    files = nas.export(run, top=2, out=tmp_path / "out")
    assert len(files) == 2


def test_measured_and_estimated_runs_share_no_column_of_times(searched, tmp_path) -> None:
    run = load_run(searched)
    export_csv(run, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["step_ms"] == "" and float(row["estimated_step_ms"]) > 0 for row in rows)
    ranked = [member.value("estimated_step_ms") for member in run.pareto(["estimated_step_ms"])]
    assert ranked == [min(float(row["estimated_step_ms"]) for row in rows)]


def test_a_bare_estimate_on_the_command_line(capsys) -> None:
    arguments = ["measure", "efficientnetv2-b0", "efficientnetv2-s", "--hardware", "a100", "--estimate"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "estimated, not measured" in printed.out
    assert "a100 is a100-40g or a100-80g" in printed.err
    assert main([*arguments, "--json", "--batch", "32"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["estimated"]
    assert first["settings"]["batch_size"] == 32
    assert first["estimated_step_ms"] < second["estimated_step_ms"]
    assert not set(TIMES) & set(first)
    assert main(["measure", "efficientnetv2-b0", "--estimate"]) == 2
    assert "--estimate needs the name of hardware" in capsys.readouterr().err
