"""From ledger rows to candidates, fronts and tables."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW, add_candidate, architecture, timing, training

from results.candidate import join
from results.directory import RunDirectory
from results.entries import Candidate, Record, SkipDecision
from results.errors import LedgerError, RunError
from results.frame import COLUMNS
from results.pareto import Objective, dominates
from results.run import load_run, load_runs
from results.selection import knee
from search_spaces.cost import NO_COST

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "my runs"


def make_run(root, outcomes, *, candidates=None, config=None, decisions=(), name="a"):
    """A finished run: candidates 1, 2, ... (those that outcomes are of), then the outcomes."""
    numbers = candidates if candidates is not None else range(1, 10)
    with RunDirectory.create(root / name, hint="", config=config or {"space": "tiny"}, root=root) as run:
        with run.ledger() as ledger:
            for number in numbers:
                add_candidate(ledger, number)
            for outcome in outcomes:
                ledger.record(outcome)
            for decision in decisions:
                ledger.decide(*decision)
        return run.path


def complete(number, accuracy, step_ms, *, status="ok"):
    return [timing(number, step_ms, status=status), training(number, accuracy)]


# --- one candidate -----------------------------------------------------------------------------------------


def status_of(root, outcomes, **options):
    (result,) = load_run(make_run(root, outcomes, candidates=[1], **options)).candidates()
    return result


DIGEST = architecture(1).digest


BOTH = [training(1), training(1, seed=1)]
UNSTABLE = timing(1, status="unstable", reason="interval 7 %")
OOM = timing(1, status="oom", reason="no memory")
DIVERGED = training(1, status="diverged", reason="loss nan")
LATE = training(1, seed=1, status="timeout", reason="60 s")
GATED = [(DIGEST, "gate", "too slow")]
LIMITED = [(DIGEST, "limit", "params 9 > 8")]


@pytest.mark.parametrize(
    ("outcomes", "decisions", "status", "reason"),
    [
        ([], [], "pending", "not yet measured: time 0 of 1, train 0 of 2"),
        ([timing(1), training(1)], [], "pending", "not yet measured: train 1 of 2"),
        ([timing(1), *BOTH], [], "ok", None),
        ([UNSTABLE, *BOTH], [], "unstable", "interval 7 %"),
        ([UNSTABLE, training(1)], [], "pending", "not yet measured: train 1 of 2"),
        ([OOM], [], "oom", "no memory"),
        ([DIVERGED, OOM], [], "diverged", "loss nan"),
        ([timing(1), training(1), LATE], [], "timeout", "60 s"),
        ([timing(1)], GATED, "skipped", "too slow"),
        ([], LIMITED, "infeasible", "params 9 > 8"),
        ([timing(1), *BOTH], GATED, "ok", None),
        ([OOM], GATED, "oom", "no memory"),
    ],
)
def test_the_status_of_a_candidate(root, outcomes, decisions, status, reason):
    jobs = {"jobs_per_candidate": {"time": 1, "train": 2}}
    result = status_of(root, outcomes, config=jobs, decisions=decisions)
    assert (result.status, result.reason) == (status, reason)
    assert result.is_measured == (status in ("ok", "unstable"))
    assert result.is_provisional == (status == "unstable")


def test_metrics_are_means_over_ok_seeds_and_the_last_timing(root):
    outcomes = [
        timing(1, 10.0, key="first"),
        training(1, 0.4),
        training(1, 0.6, seed=1),
        training(1, seed=2, status="diverged", reason="nan"),
        timing(1, 12.0, key="second"),
    ]
    result = status_of(root, outcomes)
    assert result.status == "diverged"
    assert result.num_seeds == 2
    assert result.accuracy == pytest.approx(0.5)
    assert result.step_ms == 12.0
    assert result.seconds == pytest.approx(2 * 1.5 + 3 * 4.0)


@pytest.mark.parametrize(
    ("first", "second", "status", "step_ms"),
    [
        ("ok", "unstable", "ok", 10.0),
        ("unstable", "ok", "ok", 12.0),
        ("unstable", "unstable", "unstable", 12.0),
    ],
)
def test_a_repeated_timing_counts_unless_only_the_first_was_accepted(root, first, second, status, step_ms):
    timings = [timing(1, 10.0, status=first, key="first"), timing(1, 12.0, status=second, key="second")]
    result = status_of(root, [*timings, training(1)])
    assert (result.status, result.step_ms) == (status, step_ms)


def test_what_was_not_measured_is_none(root):
    result = status_of(root, [timing(1, status="oom", reason="no memory")])
    assert result.accuracy is None
    assert result.step_ms is None
    assert result.values(["params", "step_ms"]) == {"params": result.cost.params, "step_ms": None}


CANDIDATE = Candidate(
    id=1,
    digest=DIGEST,
    architecture_json="{}",
    cost=NO_COST,
    resolution=64,
    origin="random",
    proposal_index=0,
    created_at=0.0,
)
STATUSES = ("ok", "unstable", "oom", "timeout", "diverged", "error", "stopped", "infeasible")


@LAW
@given(
    st.lists(st.tuples(st.sampled_from(["time", "train"]), st.sampled_from(STATUSES)), max_size=5),
    st.booleans(),
)
def test_only_complete_and_unfailed_candidates_are_measured(parts, is_gated):
    make = {"time": timing, "train": training}
    outcomes = [make[kind](1, status=status, key=str(i)) for i, (kind, status) in enumerate(parts)]
    records = [Record(outcome=o, attempt=1, origin=None, recorded_at=0.0, sha256="") for o in outcomes]
    decisions = [SkipDecision(digest=DIGEST, kind="gate", reason="slow")] if is_gated else []
    (result,) = join([CANDIDATE], records, decisions, jobs_per_candidate={"time": 1, "train": 1})

    bad = [status for _, status in parts if status not in ("ok", "unstable")]
    kinds = {kind for kind, _ in parts}
    if bad:
        assert result.status == bad[0]
    elif kinds != {"time", "train"}:
        assert result.status == ("skipped" if is_gated else "pending")
    else:
        assert result.is_measured
        assert result.step_ms is not None


def forward(step_ms, status="ok", **changes):
    metrics = {"inference_ms": step_ms, "inference_ratio": 1.0} if status in ("ok", "unstable") else {}
    return timing(1, status=status, metrics=metrics, reason="wide" if status != "ok" else None, **changes)


def joined(*outcomes):
    filed = {"attempt": 1, "origin": None, "recorded_at": 0.0, "sha256": ""}
    records = [Record(outcome=outcome, **filed) for outcome in outcomes]
    (result,) = join([CANDIDATE], records, [], jobs_per_candidate={"time": 2, "train": 1})
    return result


def test_training_and_inference_are_timings_of_their_own():
    result = joined(timing(1, 10.0), forward(4.0), training(1))
    assert (result.status, result.step_ms, result.value("inference_ms")) == ("ok", 10.0, 4.0)
    first = (timing(1, 10.0), forward(4.0), training(1))
    again = joined(*first, forward(5.0), timing(1, 11.0, status="unstable"))
    assert (again.status, again.step_ms, again.value("inference_ms")) == ("ok", 10.0, 5.0)
    assert joined(timing(1, 10.0), training(1)).status == "pending"
    assert joined(timing(1, 10.0), forward(4.0, "oom"), training(1)).status == "oom"
    uncertain = joined(timing(1, 10.0), forward(4.0, "unstable"), training(1))
    assert (uncertain.status, uncertain.reason) == ("unstable", "wide")


# --- a run -------------------------------------------------------------------------------------------------

FIVE = [*complete(1, 0.9, 30.0), *complete(2, 0.5, 10.0), *complete(3, 0.4, 20.0), *complete(4, 0.7, 20.0)]


def test_the_front_is_best_first_and_of_accepted_candidates_only(root):
    run = load_run(make_run(root, [*FIVE, *complete(5, 0.99, 1.0, status="unstable")]))
    assert [member.id for member in run.pareto(["accuracy", "step_ms"])] == [1, 4, 2]
    assert [member.id for member in run.pareto(["step_ms", "accuracy"])] == [2, 4, 1]
    # Step time does not matter here, so an uncertain one does no harm.
    assert [member.id for member in run.pareto(["accuracy"])] == [5]
    assert not any(dominates(run.pareto()[0].metrics, m.metrics, run.objectives[:2]) for m in run.pareto())


def test_with_few_accepted_timings_provisional_members_are_shown_and_marked(root):
    outcomes = [
        *complete(1, 0.5, 10.0),
        *complete(2, 0.7, 12.0, status="unstable"),
        timing(3, 1.0),
        training(4, 0.9),
    ]
    run = load_run(make_run(root, outcomes))
    assert [(member.id, member.is_provisional) for member in run.pareto()] == [(2, True), (1, False)]
    front = run.summary()["front"]
    assert [member.get("provisional") for member in front] == [True, None]


def test_hypervolume_by_hand(root):
    run = load_run(make_run(root, FIVE))
    objectives = ["accuracy", "step_ms"]
    assert run.reference(objectives) == pytest.approx({"accuracy": 0.0, "step_ms": 33.0})
    expected = 0.5 * (33 - 10) + 0.2 * (33 - 20) + 0.2 * (33 - 30)
    assert run.hypervolume(objectives=objectives) == pytest.approx(expected)
    reference = {"accuracy": 0.5, "step_ms": 40.0}
    assert run.hypervolume(reference, objectives) == pytest.approx(0.2 * (40 - 20) + 0.2 * (40 - 30))
    fixed = {"hypervolume_reference": reference, "objectives": ["accuracy", "step_ms:min"]}
    assert load_run(make_run(root, FIVE, config=fixed, name="b")).hypervolume() == pytest.approx(6.0)


def test_a_run_without_results_has_an_empty_front_and_no_hypervolume(root):
    with RunDirectory.create(None, hint="new", config={"space": "tiny"}, root=root) as directory:
        run = load_run(directory.path)
        assert run.summary() == {
            "run": str(directory.path),
            "evaluated": 0,
            "failed": 0,
            "gated": 0,
            "stopped": 0,
            "front": [],
            "hypervolume": None,
            "wall_seconds": 0.0,
        }
        assert list(run.frame().columns) == list(COLUMNS)
        assert run.best(lambda result: result.accuracy) is None
        assert run.pareto() == ()


def test_the_summary_is_the_documented_json(root, monkeypatch):
    outcomes = [*FIVE, timing(5, status="error", reason="boom"), timing(6)]
    decisions = [(architecture(6).digest, "gate", "slow"), (architecture(7).digest, "limit", "params")]
    make_run(root, outcomes, decisions=decisions)
    monkeypatch.chdir(root.parent)
    summary = load_run("a", root=root).summary()
    assert summary == json.loads(json.dumps(summary))
    assert (summary["run"], summary["evaluated"], summary["failed"]) == ("my runs/a", 5, 1)
    first = summary["front"][0]
    assert list(first) == ["id", "digest", "accuracy", "step_ms", "params", "macs"]
    assert (first["id"], first["accuracy"], first["step_ms"]) == (1, 0.9, 30.0)
    assert isinstance(first["params"], int)


def test_the_frame_has_a_row_per_candidate_and_the_documented_columns(root):
    extra = training(5, 0.1, metrics={"accuracy": 0.1, "f1": 0.2})
    frame = load_run(make_run(root, [*FIVE, timing(5, status="oom", reason="=1+1"), extra])).frame()
    assert list(frame.columns[:9]) == [
        "id", "digest", "status", "accuracy", "step_ms", "step_ms_low", "step_ms_high", "params", "macs",
    ]  # fmt: skip
    assert list(frame.columns) == [*COLUMNS, "f1"]
    assert list(frame.id) == list(range(1, 10))
    assert frame.params.dtype == "int64"
    assert frame.set_index("id").step_ms.loc[[1, 2]].tolist() == [30.0, 10.0]
    assert frame.step_ms.isna().tolist() == [False] * 4 + [True] * 5
    assert frame.status.tolist() == ["ok"] * 4 + ["oom"] + ["pending"] * 4


def test_the_best_by_a_reward(root):
    run = load_run(make_run(root, FIVE))
    best = run.best(lambda result: result.accuracy * result.step_ms**-0.5)
    assert best.id == 1
    assert run.best(lambda result: 1.0).id == 1
    assert run.best(lambda result: None) is None
    with pytest.raises(ValueError, match="reward of candidate 1 is inf"):
        run.best(lambda result: float("inf"))


def test_the_best_within_a_limit_and_at_the_knee(root):
    run = load_run(make_run(root, FIVE, config={"objectives": ["accuracy", "step_ms"]}))
    assert run.best(limit={"step_ms": 25.0}).id == 4
    assert run.best(limit={"step_ms": 5.0}) is None
    assert run.best(limit={"accuracy": 0.5}, reward=lambda result: -result.step_ms).id == 2
    assert run.best() == knee(run.pareto(), run.objectives)


def test_the_timeline_ends_as_the_run_stands(root):
    run = load_run(make_run(root, [*FIVE, timing(5, status="oom", reason="no memory"), timing(6)]))
    frame = run.timeline()
    assert list(frame.columns) == [
        "evaluated", "id", "status", "seconds", "front_size", "hypervolume", "best",
    ]  # fmt: skip
    assert frame.id.tolist() == [1, 2, 3, 4, 5]
    assert frame.hypervolume.iloc[-1] == pytest.approx(run.hypervolume())
    assert frame.front_size.iloc[-1] == len(run.pareto())
    assert frame.hypervolume.is_monotonic_increasing
    assert (frame.seconds >= 0).all()
    assert frame.seconds.is_monotonic_increasing
    assert load_run(make_run(root, [], name="b")).timeline().columns.tolist() == list(frame.columns)


def test_a_later_repeat_does_not_move_when_a_candidate_was_settled(root):
    ticks = iter(range(100, 1000))
    config = {"space": "tiny"}
    with RunDirectory.create(
        root / "a", hint="", config=config, root=root, clock=lambda: next(ticks)
    ) as made:
        with made.ledger() as ledger:
            add_candidate(ledger, 1)
            add_candidate(ledger, 2)
            ledger.record(timing(1, 10.0, key="first"))
            ledger.record(training(1))
            settled = next(ticks)
            ledger.record(timing(2))
            ledger.record(timing(1, 12.0, key="repeat"))
        first, second = load_run(made.path).candidates()
    assert first.step_ms == 12.0
    assert first.finished_at < settled
    assert second.finished_at is None


def test_a_candidate_s_network_is_a_value_of_the_same_digest(root):
    run = load_run(make_run(root, FIVE))
    assert run.architecture(3) == architecture(3)
    assert run.architecture(architecture(4).digest[:8]).digest == run.candidate(4).digest
    with pytest.raises(RunError, match="none of 9 candidates is '17'"):
        run.architecture(17)


def test_the_quality_of_predictors_is_read_from_the_search_s_own_notes(root):
    path = make_run(root, FIVE)
    assert load_run(path).predictor_quality().columns.tolist() == ["evaluated", "quantity"]
    with RunDirectory.open(path, root=root) as directory:
        directory.log("started")
        directory.log("predictors", {"evaluated": 30, "quality": {"accuracy": {"kendall_tau": 0.5}}})
        directory.log("predictors", {"evaluated": 60, "quality": {"step_ms": {"coverage": 0.9}}})
    with (path / "log.jsonl").open("a") as file:
        file.write('{"event": "predictors", "evalu')  # cut off by a kill
    frame = load_run(path).predictor_quality()
    assert frame.evaluated.tolist() == [30, 60]
    assert frame.quantity.tolist() == ["accuracy", "step_ms"]
    assert frame.kendall_tau.iloc[0] == 0.5
    assert frame.coverage.iloc[1] == 0.9


def test_one_candidate_by_number_or_digest(root):
    run = load_run(make_run(root, FIVE))
    assert run.candidate(3).digest == architecture(3).digest
    assert run.candidate(architecture(3).digest[:10]).id == 3
    with pytest.raises(RunError, match="none of 9 candidates is '17'"):
        run.candidate(17)


# --- finding and opening -----------------------------------------------------------------------------------


def test_a_run_is_found_by_path_name_and_latest(root):
    path = make_run(root, FIVE)
    other = make_run(root, [], name="other")
    assert load_run(path).path == load_run("a", root=root).path == path
    assert load_run("latest", root=root).path == load_run(root / "latest").path == other
    with pytest.raises(RunError, match="did you mean other"):
        load_run("othr", root=root)
    with pytest.raises(RunError, match="holds no runs"):
        load_run("x", root=root / "nowhere")
    with pytest.raises(RunError, match=r"not the directory of a run \(no run.yaml\)"):
        load_run(root)


def test_several_runs_are_loaded_as_named_or_all_newest_first(root):
    make_run(root, FIVE)
    make_run(root, [], name="b")
    os.utime(root / "a" / "run.yaml", (1e9, 1e9))
    os.utime(root / "b" / "run.yaml", (2e9, 2e9))
    assert [run.name for run in load_runs("a", root / "b", root=root)] == ["a", "b"]
    assert [run.name for run in load_runs(root=root)] == ["b", "a"]
    assert load_runs(root=root / "nowhere") == ()
    (root / "b" / "ledger.sqlite").write_bytes(b"no ledger")
    with pytest.warns(UserWarning, match="left out: .*b/ledger.sqlite is not a ledger"):
        (left,) = load_runs(root=root)
    assert left.name == "a"
    with pytest.raises(LedgerError, match="not a ledger"):
        load_runs("a", "b", root=root)


def test_a_run_that_was_moved_still_loads(root, tmp_path):
    before = load_run(make_run(root, FIVE))
    target = tmp_path / "elsewhere" / "größe"
    shutil.move(before.path, target)
    after = load_run(target)
    assert after.results == before.results
    assert after.name == "größe"
    shutil.move(root, tmp_path / "renamed")  # the link is relative, but its run is gone
    with pytest.raises(RunError, match="no run"):
        load_run("latest", root=tmp_path / "renamed")


def test_a_run_that_is_going_on_can_be_looked_at(root):
    with (
        RunDirectory.create(None, hint="live", config={}, root=root) as directory,
        directory.ledger() as ledger,
    ):
        add_candidate(ledger, 1)
        ledger.record(timing(1))
        run = load_run(directory.path)
        assert [result.status for result in run.candidates()] == ["pending"]
        ledger.record(training(1))
        assert [result.status for result in run.candidates()] == ["pending"]
        assert [result.status for result in run.reload().candidates()] == ["ok"]


def test_the_records_of_a_candidate_have_their_details(root):
    run = load_run(make_run(root, [timing(1), training(2), training(1, status="oom", reason="no memory")]))
    records = run.records(run.candidate(1))
    assert [record.outcome for record in records] == [
        timing(1),
        training(1, status="oom", reason="no memory"),
    ]
    assert all(record.is_intact and record.attempt == 1 for record in records)


def test_outcomes_copied_from_another_run_are_told(root):
    first = make_run(root, FIVE)
    with (
        RunDirectory.create(root / "b", hint="", config={}, root=root) as directory,
        directory.ledger() as ledger,
    ):
        assert ledger.copy_matching(first / "ledger.sqlite", lambda _: True, origin="a") == 8
        add_candidate(ledger, 1)
        ledger.record(timing(1, 99.0))
    run = load_run(root / "b")
    assert [(result.status, result.copied_from) for result in run.candidates()] == [("ok", ("a",))]


@pytest.mark.parametrize(
    "objectives", [["speed"], [{"name": "accuracy"}], [3], [{"name": "x", "direction": "up"}]]
)
def test_wrong_objectives_in_a_configuration_are_told(root, objectives):
    path = make_run(root, FIVE, config={"objectives": objectives})
    with pytest.raises(RunError, match=r"run\.yaml: objectives: "):
        load_run(path)


def test_objectives_are_read_from_the_configuration(root):
    config = {"objectives": [{"name": "macs", "direction": "maximize"}, "accuracy"]}
    run = load_run(make_run(root, FIVE, config=config))
    assert run.objectives == (Objective.parse("macs:max"), Objective.parse("accuracy:max"))


def test_looking_at_a_run_loads_no_framework(root):
    path = make_run(root, FIVE)
    code = (
        "import sys\n"
        "import results, results.run, results.ledger, results.export, results.frame\n"
        "from results.run import load_run\n"
        "run = load_run(sys.argv[1])\n"
        "assert len(run.pareto()) == 3 and run.summary() and run.hypervolume() > 0\n"
        "print([name for name in ('torch', 'ray', 'pandas', 'sklearn', 'optuna') if name in sys.modules])\n"
        "run.frame()\n"
        "print([name for name in ('torch', 'ray', 'pandas', 'sklearn') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.stdout.splitlines() == ["[]", "['pandas']"], done.stderr
