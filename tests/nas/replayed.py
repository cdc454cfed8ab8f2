"""A session on replayed outcomes: a fake executor, and outcomes as a law of the digest."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nas.evaluations import Budget, Evaluations, TimingPlan
from nas.executors.protocol import ExecutorError
from nas.gate import Gate
from nas.halving import EarlyStopping
from nas.interruption import Interruption
from nas.objectives import parse_objectives
from nas.progress import ProgressEvent
from nas.reuse import Reuse
from nas.reward import EFFICIENTNETV2_REWARD
from nas.session import Session
from nas.strategies.protocol import Evaluation
from nas.strategies.registry import StrategyInputs, make_strategy
from proxies.records import Outcome, Partial, TimeJob, TimingSettings, TrainJob, failure
from proxies.spool import Spool
from results.ledger import Ledger
from search_spaces.space import Space

Answer = Callable[[TimeJob | TrainJob], Outcome]


def lawful(job: TimeJob | TrainJob) -> Outcome:
    """An outcome that depends on the job alone."""
    rng = np.random.default_rng(int(job.key[:12], 16))
    if isinstance(job, TimeJob):
        step = float(np.random.default_rng(int(job.digest[:12], 16)).uniform(5.0, 50.0)) + float(rng.random())
        metrics = {"step_ms": step, "step_ms_low": 0.9 * step, "step_ms_high": 1.1 * step}
    else:
        metrics = {"accuracy": float(rng.uniform(0.2, 0.9)), "train_loss_sum": 3.0}
    return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics=metrics, seconds=1.0)


def fail_where(bad: Callable[[TimeJob | TrainJob], bool]) -> Answer:
    """Lawful outcomes, but those that `bad` names are errors."""
    return lambda job: failure(job, "error", "it broke") if bad(job) else lawful(job)


class ReplayExecutor:
    """Answers jobs from a function, in an order that `order` picks from those waiting.

    With `steps`, a training reports so many times first, its accuracy growing to the last, and does not go on
    until it is told to.
    """

    def __init__(
        self,
        answer: Answer = lawful,
        *,
        order: Callable[[int], int] = lambda _: 0,
        die_after: int | None = None,
        steps: int = 0,
    ) -> None:
        self.jobs: list[TimeJob | TrainJob] = []
        self.done: list[Outcome] = []
        self._waiting: deque[TimeJob | TrainJob] = deque()
        self._answer = answer
        self._order = order
        self._die_after = die_after
        self._steps = steps
        self._curves: dict[str, list[list[object]]] = {}
        self._words: dict[str, str] = {}
        self.steps_trained = 0

    @property
    def capacity(self) -> int:
        return 2

    def submit(self, job: TimeJob | TrainJob) -> None:
        self.jobs.append(job)
        self._waiting.append(job)

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome | Partial]:
        if self._die_after is not None and len(self.done) >= self._die_after:
            raise ExecutorError("the executor was told to die")
        assert self._waiting, "the session waits although nothing is running"
        index = self._order(len(self._waiting)) % len(self._waiting)
        job = self._waiting[index]
        outcome = self._answer(job)
        if self._steps and isinstance(job, TrainJob) and outcome.status == "ok":
            return self._trained(job, outcome)
        del self._waiting[index]
        self.done.append(outcome)
        return [Partial(key=job.key, step=1, metrics={"loss": 1.0}), outcome]

    def _trained(self, job: TrainJob, outcome: Outcome) -> list[Outcome | Partial]:
        """The next report of a training, or its outcome once it was stopped or has made all its steps."""
        curve = self._curves.setdefault(job.key, [])
        assert not curve or job.key in self._words, "a training that has reported waits for word"
        if self._words.pop(job.key, None) != "stop" and len(curve) < self._steps:
            self.steps_trained += 1
            step = len(curve) + 1
            metrics = {"accuracy": outcome.metrics["accuracy"] * step / self._steps}
            curve.append([step, metrics])
            return [Partial(key=job.key, step=step, metrics=metrics)]
        self._waiting.remove(job)
        is_stopped = len(curve) < self._steps
        ended = outcome.model_copy(
            update={
                "status": "stopped" if is_stopped else "ok",
                "reason": "told to stop early" if is_stopped else None,
                "metrics": dict(curve[-1][1]) if curve else {},  # type: ignore[call-overload]
                "details": {"learning_curve": list(curve)},
            }
        )
        self.done.append(ended)
        return [ended]

    def stop(self, key: str) -> None:
        assert self._steps, f"nothing stops {key}"
        self._words[key] = "stop"

    def go_on(self, key: str) -> None:
        self._words.setdefault(key, "go")

    def close(self) -> None:
        self._waiting.clear()


class Heard:
    """A progress that remembers what it heard."""

    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []

    def update(self, event: ProgressEvent) -> None:
        self.events.append(event)


def make_session(
    space: Space,
    ledger: Ledger,
    executor: ReplayExecutor,
    folder: Path,
    *,
    strategy: str = "random",
    candidates: int = 10,
    seed: int = 0,
    lag: int = 4,
    seeds: tuple[int, ...] = (0,),
    max_failed: int | None = None,
    bounds: Sequence[object] = (),
    objectives: Sequence[str] = ("accuracy", "step_ms", "params"),
    further_timings: tuple[TimingPlan, ...] = (),
    reuse: Reuse | None = None,
    gate: Gate | None = None,
    early_stopping: EarlyStopping | None = None,
    earlier: Sequence[Evaluation] = (),
    progress: Heard | None = None,
    interruption: Interruption | None = None,
    **budget: float,
) -> Session:
    inputs = StrategyInputs(space=space, reward=EFFICIENTNETV2_REWARD, budget=candidates)
    return Session(
        space=space,
        strategy=make_strategy(strategy, inputs),
        strategy_name=strategy,
        executor=executor,
        ledger=ledger,
        spool=Spool(directory=folder / "spool"),
        evaluations=Evaluations(
            hardware_fingerprint="hardware",
            timing=lambda _: TimingSettings(resolution=32, batch_size=8),
            task_fingerprint="task",
            seeds=seeds,
            bounds=tuple(bounds),  # type: ignore[arg-type]
            further_timings=further_timings,
        ),
        objectives=parse_objectives(objectives),
        budget=Budget(candidates=candidates, max_failed=max_failed, **budget),
        seed=seed,
        lag=lag,
        reuse=reuse or Reuse(),
        gate=gate,
        early_stopping=early_stopping,
        earlier=earlier,
        progress=progress or Heard(),
        interruption=interruption or Interruption(),
    )
