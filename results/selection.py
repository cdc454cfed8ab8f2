"""Which network to take from a front: by a reward, by the worst that is still good enough, or at the knee."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence

from results.candidate import CandidateResult
from results.pareto import Objective

Reward = Callable[[CandidateResult], float | None]


def highest_reward(results: Sequence[CandidateResult], reward: Reward) -> CandidateResult | None:
    """The candidate of the highest reward, the earlier of equals; None when none has one.

    Raises:
        ValueError: a reward is not finite.
    """
    best: tuple[float, CandidateResult] | None = None
    for result in results:
        score = reward(result)
        if score is None:
            continue
        if not math.isfinite(score):
            raise ValueError(
                f"the reward of candidate {result.id} is {score}; return a finite number or None"
            )
        if best is None or score > best[0]:
            best = (score, result)
    return best[1] if best else None


def within(
    results: Sequence[CandidateResult], limit: Mapping[str, float], objectives: Sequence[Objective]
) -> tuple[CandidateResult, ...]:
    """Those that are at least as good as `limit` in each quantity that it names.

    A limit is the most for what is minimized and the least for what is maximized; a quantity that is no
    objective has its usual direction. A candidate that lacks a value keeps no limit on it.

    Raises:
        ValueError: a limit is not finite, or the direction of its quantity is not known.
    """
    directions = {objective.name: objective for objective in objectives}
    chosen = [(directions.get(name) or Objective.parse(name), bound) for name, bound in limit.items()]
    for objective, bound in chosen:
        if not math.isfinite(bound):
            raise ValueError(f"the limit of {objective.name} is {bound}; give a finite number")
    return tuple(result for result in results if all(_keeps(result, *each) for each in chosen))


def _keeps(result: CandidateResult, objective: Objective, bound: float) -> bool:
    value = result.value(objective.name)
    return value is not None and objective.sign * value <= objective.sign * bound


def knee(front: Sequence[CandidateResult], objectives: Sequence[Objective]) -> CandidateResult | None:
    """The member with the least sum of losses, each scaled to run from 0 (best) to 1 (worst of the front).

    With two objectives it is the member that lies farthest beyond the line between the front's ends (Das
    1999, "On characterizing the knee of the Pareto curve"). Objectives in which all members are equal do
    not count; the earlier of equals is taken; None for an empty front.

    Law: a positive scale or a shift of an objective changes nothing.
    """
    losses = [[_loss(member, objective) for objective in objectives] for member in front]
    if not losses:
        return None
    ranges = [(min(column), max(column)) for column in zip(*losses, strict=True)]

    def total(position: int) -> float:
        return math.fsum(
            (loss - low) / (high - low)
            for loss, (low, high) in zip(losses[position], ranges, strict=True)
            if high > low
        )

    return front[min(range(len(front)), key=total)]


def _loss(member: CandidateResult, objective: Objective) -> float:
    value = member.value(objective.name)
    if value is None:
        known = ", ".join(sorted(member.metrics))
        near = difflib.get_close_matches(objective.name, member.metrics, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"candidate {member.id} has no {objective.name}; {hint}measured: {known}")
    return objective.sign * value
