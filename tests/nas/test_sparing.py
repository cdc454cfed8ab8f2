"""What a search spares: the gate, early stopping, and what strategies are told of both."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from replayed import ReplayExecutor, lawful, make_session

from nas.executors.protocol import ExecutorError
from nas.halving import NonDominatedHalving
from nas.objectives import parse_bounds, parse_objectives
from nas.strategies.protocol import Evaluation
from proxies.records import TimeJob, TrainJob
from results.candidate import join
from results.ledger import Ledger
from search_spaces.space import Genes
from search_spaces.space_document import load_space

TINY = load_space("tiny")
OBJECTIVES = parse_objectives(["accuracy", "step_ms", "params"])
STEPS = 9


class SlowGate:
    """Refuses what takes longer than 30 ms once anything is known; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def refuses(self, genes: Genes, values: Mapping[str, float], known: Sequence[Evaluation]) -> str | None:
        assert "accuracy" not in values
        assert all(each.is_complete for each in known)
        self.asked.append(len(known))
        return "slow" if known and values["step_ms"] > 30.0 else None


class Told:
    """A strategy that draws, and remembers what it was told."""

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []

    def ask(self, rng: np.random.Generator) -> Genes:
        return np.array(TINY.sample(rng))

    def tell(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.sqlite")


def halving() -> NonDominatedHalving:
    return NonDominatedHalving(objectives=OBJECTIVES[:1], reduction=3.0, first=1)


def results(ledger: Ledger):
    return join(
        ledger.candidates(), ledger.records(), ledger.decisions(), jobs_per_candidate={"time": 1, "train": 1}
    )


def test_what_the_gate_refuses_is_timed_and_not_trained(ledger: Ledger, tmp_path: Path) -> None:
    executor, gate = ReplayExecutor(), SlowGate()
    make_session(TINY, ledger, executor, tmp_path, candidates=20, gate=gate).run()
    gated = {each.digest for each in ledger.decisions() if each.kind == "gate"}
    slow = {each.digest for each in ledger.outcomes("time") if each.metrics["step_ms"] > 30.0}
    assert gated
    assert gated <= slow
    assert not gated & {job.digest for job in executor.jobs if isinstance(job, TrainJob)}
    assert {each.status for each in results(ledger) if each.digest in gated} == {"skipped"}
    assert {each.reason for each in results(ledger) if each.digest in gated} == {"slow"}
    assert len(gate.asked) == 20, "each candidate once"


@pytest.mark.parametrize("die_after", [5, 11, 20])
def test_what_the_gate_has_refused_stays_refused(die_after: int, tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        executor = ReplayExecutor(die_after=die_after)
        with pytest.raises(ExecutorError):
            make_session(TINY, ledger, executor, tmp_path, candidates=20, gate=SlowGate()).run()
        before = [each.digest for each in ledger.decisions()]
        executor = ReplayExecutor()
        make_session(TINY, ledger, executor, tmp_path, candidates=20).run()
        assert not set(before) & {job.digest for job in executor.jobs if isinstance(job, TrainJob)}
        assert [each.digest for each in ledger.decisions()] == before


def test_halving_stops_trainings_and_says_why(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(steps=STEPS)
    make_session(TINY, ledger, executor, tmp_path, candidates=40, early_stopping=halving()).run()
    outcomes = ledger.outcomes("train")
    stopped = [each for each in outcomes if each.status == "stopped"]
    complete = [each for each in outcomes if each.status == "ok"]
    assert len(stopped) + len(complete) == 40
    assert len(stopped) > 20
    assert {len(each.details["learning_curve"]) for each in stopped} == {1, 3}
    assert executor.steps_trained < 0.6 * 40 * STEPS
    best = max(lawful(job).metrics["accuracy"] for job in executor.jobs if isinstance(job, TrainJob))
    reached = max(each.metrics["accuracy"] for each in complete)
    assert reached == pytest.approx(best), "the best is never stopped"
    for each in results(ledger):
        if each.digest in {outcome.digest for outcome in stopped}:
            assert each.status == "stopped"
            assert "it stood in front" in str(each.reason)


def test_a_report_is_judged_with_its_step_time_and_costs(ledger: Ledger, tmp_path: Path) -> None:
    seen = []

    class Recording(NonDominatedHalving):
        def judge(self, key, pool, step, values):
            seen.append(dict(values))

    recording = Recording(objectives=OBJECTIVES, reduction=3.0, first=1)
    executor = ReplayExecutor(steps=STEPS)
    make_session(TINY, ledger, executor, tmp_path, candidates=3, early_stopping=recording).run()
    assert len(seen) == 3 * STEPS
    timed = {outcome.metrics["step_ms"] for outcome in ledger.outcomes("time")}
    params = {candidate.cost.params for candidate in ledger.candidates()}
    assert all(values["step_ms"] in timed and values["params"] in params for values in seen)
    assert all("accuracy" in values for values in seen)


def test_without_it_nothing_is_stopped(ledger: Ledger, tmp_path: Path) -> None:
    """The control of the test above."""

    class Deaf(NonDominatedHalving):
        def judge(self, key, pool, step, values):
            return None

    executor = ReplayExecutor(steps=STEPS)
    deaf = Deaf(objectives=OBJECTIVES[:1], reduction=3.0, first=1)
    make_session(TINY, ledger, executor, tmp_path, candidates=10, early_stopping=deaf).run()
    assert {each.status for each in ledger.outcomes("train")} == {"ok"}
    assert executor.steps_trained == 10 * STEPS


def test_a_stopped_candidate_stops_all_its_seeds_and_is_on_no_front(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(steps=STEPS)
    session = make_session(
        TINY, ledger, executor, tmp_path, candidates=20, seeds=(0, 1), early_stopping=halving()
    )
    session.run()
    stopped = {each.digest for each in ledger.outcomes("train") if each.status == "stopped"}
    assert stopped
    repeated = {job.digest for job in executor.jobs if isinstance(job, TimeJob) and job.repeat == 1}
    assert not stopped & repeated
    assert all(each.ending == "stopped" for each in session.evaluations_so_far() if each.digest in stopped)


def test_a_resumed_search_remembers_the_rungs(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ExecutorError):
        make_session(
            TINY,
            ledger,
            ReplayExecutor(steps=STEPS, die_after=40),
            tmp_path,
            candidates=40,
            early_stopping=halving(),
        ).run()
    resumed = halving()
    session = make_session(
        TINY, ledger, ReplayExecutor(steps=STEPS), tmp_path, candidates=40, early_stopping=resumed
    )
    trained = ledger.outcomes("train")
    session.run()
    assert resumed.judge("another", 0, 1, {"accuracy": -1.0, "step_ms": 1.0, "params": 1.0}) is not None
    passed = sum(len(rung) for (_, step), rung in resumed._rungs.items() if step == 1)
    assert passed == len(ledger.outcomes("train")) + 1
    assert len(trained) < passed


def test_strategies_are_told_what_each_ending_has_shown(ledger: Ledger, tmp_path: Path) -> None:
    session = make_session(
        TINY,
        ledger,
        ReplayExecutor(steps=STEPS),
        tmp_path,
        candidates=40,
        lag=1,
        bounds=parse_bounds(["step_ms<=40"]),
        gate=SlowGate(),
        early_stopping=halving(),
    )
    session.strategy = Told()
    session.run()
    told = {each.ending: each for each in session.strategy.evaluations}
    assert set(told) == {"complete", "refused", "gated", "stopped"}
    for ending, each in told.items():
        assert "step_ms" in each.values
        assert "params" in each.values
        assert ("accuracy" in each.values) == (ending == "complete")
        assert bool(each.curve) == (ending in ("complete", "stopped"))


def test_the_strategy_hears_of_earlier_runs_first(ledger: Ledger, tmp_path: Path) -> None:
    genes = TINY.sample(np.random.default_rng(5))
    earlier = Evaluation(
        index=-1, genes=genes, digest="d", values={"accuracy": 0.9, "step_ms": 1.0, "params": 1.0}
    )
    session = make_session(TINY, ledger, ReplayExecutor(), tmp_path, candidates=8, lag=2, earlier=[earlier])
    session.strategy = Told()
    session.run()
    assert [each.index for each in session.strategy.evaluations] == [-1, 0, 1, 2, 3, 4, 5]
