"""What is done with every candidate, and what is known of it when that is done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nas.objectives import Bound
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from results.entries import Candidate
from search_spaces.architecture import Architecture


class TimingPlan(Protocol):
    """How an architecture is to be timed."""

    def __call__(self, arch: Architecture) -> TimingSettings:
        """The settings of its timing, which depend on nothing of it but its recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """What is done with every candidate. Where there is an `estimate`, it takes the place of every timing."""

    hardware_fingerprint: str
    timing: TimingPlan
    task_fingerprint: str
    seeds: tuple[int, ...]
    bounds: tuple[Bound, ...] = ()
    estimate: Callable[[Architecture], Outcome] | None = None

    def time_job(self, candidate: Candidate, arch: Architecture, repeat: int = 0) -> TimeJob:
        """The job that times a candidate; `repeat` counts further, independent timings."""
        return TimeJob(
            digest=candidate.digest,
            architecture=candidate.architecture,
            hardware_fingerprint=self.hardware_fingerprint,
            settings=self.timing(arch),
            repeat=repeat,
        )

    def train_jobs(self, candidate: Candidate) -> list[TrainJob]:
        """The jobs that train a candidate, one a seed."""
        return [
            TrainJob(
                digest=candidate.digest,
                architecture=candidate.architecture,
                task_fingerprint=self.task_fingerprint,
                seed=seed,
            )
            for seed in self.seeds
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When a search ends."""

    candidates: int
    seconds: float | None = None
    max_failed: int | None = None


def values_of(candidate: Candidate, outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Costs and metrics by name; metrics of several trainings are averaged."""
    values: dict[str, float] = dict(zip(candidate.cost._fields, candidate.cost, strict=True))
    trained: list[Mapping[str, Any]] = [o.metrics for o in outcomes if o.kind == "train"]
    for outcome in outcomes:
        values.update(outcome.metrics)
    for name in trained[0] if trained else ():
        if all(name in metrics for metrics in trained):
            values[name] = sum(metrics[name] for metrics in trained) / len(trained)
    return values
