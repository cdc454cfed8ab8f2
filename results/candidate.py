"""A candidate with all that is known of it: the ledger's rows joined into one value."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from proxies.records import METRIC_NAMES, Outcome, Status
from results.entries import Candidate, Record, SkipDecision
from search_spaces.cost import Cost

CandidateStatus = Status | Literal["pending", "skipped"]

FAILED: frozenset[str] = frozenset({"error", "oom", "timeout", "diverged"})
"""Statuses of a candidate that broke. Infeasible, stopped and skipped ones did not: they were turned away."""

_NOT_MEASURED = FAILED | {"infeasible", "stopped"}
_COST_NAMES = frozenset(Cost._fields)
_TIMES = tuple(f"{time}_ms" for time, _ in METRIC_NAMES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """A candidate and what came of it.

    `status` is that of its first failed outcome; else `skipped` or `infeasible` where a decision ended its
    evaluation; else `pending` while something is missing; else `unstable` when its step time is; else `ok`.
    `metrics` are those of its last good timing and the mean over its `num_seeds` trainings; what was not
    measured is absent. An estimate is among them under names of its own (`estimated_step_ms`).
    `copied_from` names other runs that measured part of it. `finished_at` is when the
    outcome that settled it was filed, in seconds since 1970; None for pending ones and those turned away.
    """

    id: int
    digest: str
    status: CandidateStatus
    reason: str | None
    origin: str
    proposal_index: int
    cost: Cost
    resolution: int
    metrics: Mapping[str, float] = field(hash=False)
    num_seeds: int
    seconds: float
    copied_from: tuple[str, ...]
    finished_at: float | None
    candidate: Candidate = field(repr=False)

    @property
    def architecture(self) -> dict[str, Any]:
        """The architecture document."""
        return self.candidate.architecture

    @property
    def is_measured(self) -> bool:
        """Whether everything asked for was measured, if not always precisely."""
        return self.status in ("ok", "unstable")

    @property
    def is_provisional(self) -> bool:
        """Whether its step time missed the tolerance, so that its place is not certain."""
        return self.status == "unstable"

    @property
    def is_estimated(self) -> bool:
        """Whether its step time was estimated for hardware that was not there; no step was timed then."""
        return "estimated_step_ms" in self.metrics

    @property
    def is_predicted(self) -> bool:
        """Whether its step time was predicted from those of others, and it was not timed itself."""
        return "predicted_step_ms" in self.metrics and "step_ms" not in self.metrics

    @property
    def accuracy(self) -> float | None:
        """Fraction of the validation set, 0 to 1; mean over seeds."""
        return self.metrics.get("accuracy")

    @property
    def step_ms(self) -> float | None:
        """Median training step time in milliseconds."""
        return self.metrics.get("step_ms")

    def value(self, name: str) -> float | None:
        """A cost or a metric by name; None where it is not known."""
        if name in _COST_NAMES:
            return int(getattr(self.cost, name))
        return self.metrics.get(name)

    def get(self, name: str) -> float | None:
        """`value`, under the name that mappings have, so that rewards take candidates too."""
        return self.value(name)

    def values(self, names: Iterable[str]) -> dict[str, float | None]:
        """Several of them: a point for `results.pareto`."""
        return {name: self.value(name) for name in names}


def join(
    candidates: Sequence[Candidate],
    records: Iterable[Record],
    decisions: Iterable[SkipDecision],
    *,
    jobs_per_candidate: Mapping[str, int],
) -> tuple[CandidateResult, ...]:
    """Candidates in the order of proposal, each with its outcomes.

    `jobs_per_candidate` is how many outcomes of each kind a complete candidate has: {"time": 1, "train": 2}.
    Outcomes without a candidate (copied from another run and not proposed here) take no part.
    """
    records_of: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        records_of[record.outcome.digest].append(record)
    decisions_of: dict[str, SkipDecision] = {}
    for decision in decisions:
        decisions_of.setdefault(decision.digest, decision)
    return tuple(
        _result(
            candidate, records_of[candidate.digest], decisions_of.get(candidate.digest), jobs_per_candidate
        )
        for candidate in candidates
    )


def _result(
    candidate: Candidate, records: list[Record], decision: SkipDecision | None, jobs: Mapping[str, int]
) -> CandidateResult:
    outcomes = [record.outcome for record in records]
    status, reason = _status(outcomes, decision, jobs)
    trainings = [outcome for outcome in outcomes if outcome.kind == "train" and outcome.status == "ok"]
    return CandidateResult(
        id=candidate.id,
        digest=candidate.digest,
        status=status,
        reason=reason,
        origin=candidate.origin,
        proposal_index=candidate.proposal_index,
        cost=candidate.cost,
        resolution=candidate.resolution,
        metrics=_means(trainings) | _estimated(outcomes) | _timing(outcomes),
        num_seeds=len(trainings),
        seconds=sum(outcome.seconds for outcome in outcomes),
        finished_at=_finished_at(records, jobs),
        copied_from=tuple(sorted({record.origin for record in records if record.origin is not None})),
        candidate=candidate,
    )


def _status(
    outcomes: list[Outcome], decision: SkipDecision | None, jobs: Mapping[str, int]
) -> tuple[CandidateStatus, str | None]:
    for outcome in outcomes:
        if outcome.status == "stopped" and decision is not None:
            return outcome.status, decision.reason
        if outcome.status in _NOT_MEASURED:
            return outcome.status, outcome.reason
    kinds = [outcome.kind for outcome in outcomes]
    done = {kind: kinds.count(kind) for kind in jobs}  # type: ignore[arg-type]
    missing = [f"{kind} {done[kind]} of {count}" for kind, count in jobs.items() if done[kind] < count]
    if missing and decision is not None:
        return ("infeasible" if decision.kind == "limit" else "skipped"), decision.reason
    if missing:
        return "pending", f"not yet measured: {', '.join(missing)}"
    for timing in _best_timings(outcomes):
        if timing.status == "unstable":
            return "unstable", timing.reason
    return "ok", None


def _finished_at(records: list[Record], jobs: Mapping[str, int]) -> float | None:
    """When the first failure came in, or the last outcome that was missing; later repeats do not count."""
    missing = dict(jobs)
    for record in records:
        outcome = record.outcome
        missing[outcome.kind] = missing.get(outcome.kind, 0) - 1
        if outcome.status in _NOT_MEASURED or max(missing.values()) <= 0:
            return record.recorded_at
    return None


def _best_timings(outcomes: list[Outcome]) -> list[Outcome]:
    """Of the timings of each kind of work (training, inference) the last within tolerance, else the last.

    What is on the front is timed again at the end; a repeat that missed the tolerance says nothing against an
    earlier one that met it.
    """
    best: dict[frozenset[str], Outcome] = {}
    for outcome in outcomes:
        if outcome.kind != "time" or outcome.status not in ("ok", "unstable"):
            continue
        work = frozenset(name for name in _TIMES if name in outcome.metrics)
        if work not in best or outcome.status == "ok" or best[work].status != "ok":
            best[work] = outcome
    return list(best.values())


def _timing(outcomes: list[Outcome]) -> dict[str, float]:
    return {name: value for timing in _best_timings(outcomes) for name, value in timing.metrics.items()}


def _estimated(outcomes: list[Outcome]) -> dict[str, float]:
    return {
        name: value for each in outcomes if each.kind == "estimate" for name, value in each.metrics.items()
    }


def _means(trainings: list[Outcome]) -> dict[str, float]:
    """The mean of each metric that every training reports."""
    if not trainings:
        return {}
    if len(trainings) == 1:
        return dict(trainings[0].metrics)
    shared = [name for name in trainings[0].metrics if all(name in outcome.metrics for outcome in trainings)]
    return {name: fmean(outcome.metrics[name] for outcome in trainings) for name in shared}
