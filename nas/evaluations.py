"""What is done with every candidate, and what is known of it when that is done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from nas.objectives import Bound
from nas.strategies.protocol import Ending, Evaluation
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from results.entries import Candidate
from search_spaces.architecture import Architecture
from search_spaces.space import Genes


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
    further_timings: tuple[TimingPlan, ...] = ()
    """How else each candidate is timed: inference, where an objective or a limit asks for it."""
    estimate: Callable[[Architecture], Outcome] | None = None

    def time_jobs(self, candidate: Candidate, arch: Architecture, repeat: int = 0) -> list[TimeJob]:
        """The jobs that time a candidate, training first; `repeat` counts further, independent timings."""
        return [
            TimeJob(
                digest=candidate.digest,
                architecture=candidate.architecture,
                hardware_fingerprint=self.hardware_fingerprint,
                settings=timing(arch),
                repeat=repeat,
            )
            for timing in (self.timing, *self.further_timings)
        ]

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


def evaluation_of(
    candidate: Candidate,
    genes: Genes | Callable[[], Genes],
    outcomes: Sequence[Outcome],
    ending: Ending,
    *,
    with_curve: bool = False,
) -> Evaluation:
    """What a strategy is told of a candidate with these outcomes."""
    return Evaluation(
        index=candidate.proposal_index,
        genes=genes,
        digest=candidate.digest,
        values={} if ending == "failed" else values_of(candidate, outcomes),
        ending=ending,
        curve=accuracy_curve(outcomes) if with_curve else {},
        is_provisional=any(outcome.status == "unstable" for outcome in outcomes),
    )


def ending_of(trained: Sequence[Outcome]) -> Ending:
    """How a candidate's evaluation ended with these trainings."""
    statuses = {outcome.status for outcome in trained}
    if statuses <= {"ok", "unstable"}:
        return "complete"
    return "stopped" if statuses <= {"ok", "unstable", "stopped"} else "failed"


def values_of(candidate: Candidate, outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Costs and metrics by name; those of several trainings are averaged, of one stopped early left out."""
    values: dict[str, float] = dict(zip(candidate.cost._fields, candidate.cost, strict=True))
    for outcome in outcomes:
        if outcome.kind != "train":
            values |= outcome.metrics
    trained = [outcome.metrics for outcome in outcomes if outcome.kind == "train"]
    if all(outcome.status == "ok" for outcome in outcomes if outcome.kind == "train"):
        for name in trained[0] if trained else ():
            if all(name in metrics for metrics in trained):
                values[name] = fmean(metrics[name] for metrics in trained)
    return values


def learning_curve(outcome: Outcome) -> Sequence[tuple[int, Mapping[str, float]]]:
    """The interim reports of a training: steps and metrics."""
    return [(int(step), metrics) for step, metrics in outcome.details.get("learning_curve") or ()]


def accuracy_curve(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """The mean accuracy of all trainings after each step that they have all reached."""
    curves: list[dict[int, float]] = [
        {step: metrics["accuracy"] for step, metrics in learning_curve(outcome) if "accuracy" in metrics}
        for outcome in outcomes
        if outcome.kind == "train"
    ]
    shared = set.intersection(*map(set, curves)) if curves else set()
    return {step: fmean(curve[step] for curve in curves) for step in sorted(shared)}
