"""How a front came about: after every evaluation, how good it was and how long that had taken."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from results.candidate import FAILED, CandidateResult
from results.entries import Span
from results.pareto import Objective, hypervolume, non_dominated


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How a search stood after one more evaluation had ended.

    `seconds` is wall time spent searching, pauses between sessions left out; None where the ledger does not
    say. `hypervolume` is over one and the same reference for all moments, so it never falls; None where there
    is no reference. `best` is the best value so far of the first objective.
    """

    evaluated: int
    id: int
    status: str
    seconds: float | None
    front_size: int
    hypervolume: float | None
    best: float | None


def timeline(
    results: Iterable[CandidateResult],
    objectives: Sequence[Objective],
    reference: Mapping[str, float] | None,
    sessions: Sequence[Span] = (),
) -> tuple[Moment, ...]:
    """A moment for each candidate whose evaluation ended, in the order in which they did.

    A candidate counts with the values that it has now: where a front was timed again at the end, with those.
    Provisional step times count. Candidates that were turned away before anything was measured are not
    evaluations.
    """
    ended = sorted(
        (result for result in results if result.is_measured or result.status in FAILED),
        key=lambda result: (result.finished_at or 0.0, result.id),
    )
    names = [objective.name for objective in objectives]
    front: list[Mapping[str, float | None]] = []
    volume = None if reference is None else 0.0
    moments = []
    for count, result in enumerate(ended, start=1):
        values = result.values(names)
        if result.is_measured and None not in values.values():
            members = [*front, values]
            kept = non_dominated(members, objectives)
            if len(members) - 1 in kept:
                front = [members[position] for position in kept]
                volume = None if reference is None else hypervolume(front, objectives, reference)
        moments.append(
            Moment(
                evaluated=count,
                id=result.id,
                status=result.status,
                seconds=searched_seconds(result.finished_at, sessions),
                front_size=len(front),
                hypervolume=volume,
                best=_best(front, objectives[0]),
            )
        )
    return tuple(moments)


def searched_seconds(moment: float | None, sessions: Sequence[Span]) -> float | None:
    """Wall time that searches had spent until `moment` (seconds since 1970); None where it is not known."""
    if moment is None or not sessions:
        return None
    return sum(min(max(moment - each.started_at, 0.0), each.seconds) for each in sessions)


def _best(front: Sequence[Mapping[str, float | None]], objective: Objective) -> float | None:
    losses = [objective.sign * value for point in front if (value := point[objective.name]) is not None]
    return objective.sign * min(losses) if losses else None
