"""What every executor must do. Tests share one executor of each kind: a Ray cluster takes long to start."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil
import pytest
from executor_runners import NUM_STEPS, ScriptedRunner, job

from nas.executors.local import LocalExecutor
from nas.executors.protocol import Executor, ExecutorError
from proxies.records import Outcome, Partial
from proxies.spool import Spool
from proxies.worker import WorkerSettings

WORKERS = 2
PATIENCE_SECONDS = 240.0


def _local(settings: WorkerSettings) -> Executor:
    return LocalExecutor(settings, workers=WORKERS)


def _ray(settings: WorkerSettings) -> Executor:
    from nas.executors.ray_tune import RayTuneExecutor

    return RayTuneExecutor(settings, workers=WORKERS)


KINDS = [
    pytest.param(_local, id="local"),
    pytest.param(_ray, id="ray", marks=[pytest.mark.ray, pytest.mark.xdist_group("ray")]),
]


@dataclass
class Bench:
    """An executor, and what came out of it."""

    make: Callable[[WorkerSettings], Executor]
    spool: Spool
    executor: Executor | None = None
    others: set[int] = field(default_factory=set)

    def open(self) -> Executor:
        if self.executor is None:
            self.others = _processes_below()
            settings = WorkerSettings(runner=ScriptedRunner(), preload=(), spool=self.spool.directory)
            self.executor = self.make(settings)
        return self.executor

    def close(self) -> None:
        if self.executor is not None:
            self.executor.close()
            self.executor = None


def _processes_below() -> set[int]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if "resource_tracker" not in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module", params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(request.param, Spool(directory=tmp_path_factory.mktemp("spool")))
    yield bench
    bench.close()


@pytest.fixture
def executor(bench: Bench) -> Executor:
    return bench.open()


def collect(executor: Executor, num_outcomes: int) -> list[Outcome | Partial]:
    """Everything up to so many outcomes, in order."""
    events: list[Outcome | Partial] = []
    while sum(isinstance(event, Outcome) for event in events) < num_outcomes:
        happened = executor.wait(PATIENCE_SECONDS)
        assert happened, f"nothing happened for {PATIENCE_SECONDS} s"
        events += happened
    return events


def until_reported(executor: Executor, key: str) -> None:
    while not any(event.key == key for event in executor.wait(PATIENCE_SECONDS)):
        pass


def test_capacity_is_the_number_of_workers(executor: Executor) -> None:
    assert executor.capacity == WORKERS


def test_every_job_ends_in_exactly_one_outcome_however_many_there_are(executor: Executor) -> None:
    jobs = [job(does, seed) for seed in range(5) for does in ("ok", "fail", "steps")]
    for each in jobs:
        executor.submit(each)
    outcomes = [event for event in collect(executor, len(jobs)) if isinstance(event, Outcome)]
    assert executor.wait(0.2) == []
    assert sorted(outcome.key for outcome in outcomes) == sorted(each.key for each in jobs)
    for outcome in outcomes:
        assert outcome.status == ("error" if outcome.digest == "fail" else "ok")
        assert (outcome.reason is None) == (outcome.status == "ok")
        assert outcome.seconds >= 0


def test_reports_come_in_order_complete_and_before_the_outcome(executor: Executor) -> None:
    jobs = [job("steps", seed) for seed in range(100, 104)]
    for each in jobs:
        executor.submit(each)
    events = collect(executor, len(jobs))
    for each in jobs:
        own = [event for event in events if event.key == each.key]
        assert [event.step for event in own if isinstance(event, Partial)] == list(range(1, NUM_STEPS + 1))
        assert isinstance(own[-1], Outcome)


def test_a_training_stops_when_told(executor: Executor) -> None:
    endless = job("obedient", 200)
    executor.submit(endless)
    until_reported(executor, endless.key)
    executor.stop(endless.key)
    outcome = collect(executor, 1)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.key, outcome.status) == (endless.key, "stopped")


def test_a_training_that_has_not_begun_stops_at_once(executor: Executor) -> None:
    running = [job("obedient", seed) for seed in (300, 301)]
    for each in running:
        executor.submit(each)
        until_reported(executor, each.key)
    queued = job("ok", 302)
    executor.submit(queued)
    executor.stop(queued.key)
    first = [event for event in collect(executor, 1) if isinstance(event, Outcome)]
    assert [(outcome.key, outcome.status) for outcome in first] == [(queued.key, "stopped")]
    for each in running:
        executor.stop(each.key)
    assert {event.key for event in collect(executor, 2) if isinstance(event, Outcome)} == {
        e.key for e in running
    }


def test_stopping_what_is_unknown_or_over_changes_nothing(executor: Executor) -> None:
    over = job("ok", 400)
    executor.submit(over)
    collect(executor, 1)
    executor.stop(over.key)
    executor.stop("unknown")
    executor.submit(job("ok", 401))
    (outcome,) = collect(executor, 1)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "ok"


def test_outcomes_are_durable_before_they_are_told(bench: Bench) -> None:
    executor = bench.open()
    jobs = [job(does, seed) for seed in (500, 501) for does in ("ok", "fail")]
    for each in jobs:
        executor.submit(each)
    waiting = {each.key for each in jobs}
    while waiting:
        told = [event for event in executor.wait(PATIENCE_SECONDS) if isinstance(event, Outcome)]
        stored = {outcome.key: outcome for outcome in bench.spool.read_all()}
        for outcome in told:
            assert stored[outcome.key] == outcome
            waiting.discard(outcome.key)


def test_waiting_is_bounded(executor: Executor) -> None:
    assert executor.wait(0.0) == []
    assert executor.wait(0.05) == []


def test_closing_ends_running_jobs_and_leaves_nothing(bench: Bench) -> None:
    executor = bench.open()
    running = job("deaf", 600)
    executor.submit(running)
    executor.submit(job("deaf", 601))
    executor.submit(job("ok", 602))
    until_reported(executor, running.key)
    executor.close()
    executor.close()
    assert _processes_below() <= bench.others
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit(job("ok", 603))
    with pytest.raises(ExecutorError, match="closed"):
        executor.wait(0.0)
    executor.stop(running.key)
    bench.executor = None
