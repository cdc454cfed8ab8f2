"""A comparison of runs, as a value: sides, pairs, the joint front, and what to take from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from results.anchors import PUBLISHED
from results.attainment import Repeats
from results.candidate import CandidateResult
from results.pareto import Objective
from results.run import Run
from results.selection import Reward, highest_reward, knee, within

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run in a comparison.

    `hypervolume` is from the comparison's reference. `share` is that volume as a fraction of what the fronts
    of all runs dominate together. `num_joint` counts its members that no network of any run dominates;
    `num_new` those among them that no other run's front has.
    """

    label: str
    run: Run = field(repr=False)
    front: tuple[CandidateResult, ...] = field(repr=False)
    evaluated: int
    hypervolume: float
    share: float | None
    num_joint: int
    num_new: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How the front of `first` stands to that of `second`.

    `coverage` is the fraction of the second front whose members some member of the first equals or dominates
    (Zitzler & Thiele 1998's C; not symmetric). `epsilon` is the additive epsilon indicator (Zitzler et al.
    2003): by how much every member of the first would have to be better in every objective for the first
    front to cover the second, in objectives scaled so that the fronts of all runs span 0 to 1; 0 or less
    where it covers it already. `same` counts networks that both fronts have. None where a front is empty.
    """

    first: str
    second: str
    coverage: float | None
    epsilon: float | None
    same: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A network and the run that measured it."""

    label: str
    result: CandidateResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A network that several runs measured: its numbers in each, and on whose fronts it is."""

    digest: str
    results: Mapping[str, CandidateResult] = field(hash=False)
    on_front_of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A published network as one of the runs measured it; `num_better` of the joint front dominate it.

    That is None where an objective was not measured: a network that was only timed has no accuracy here.
    `imagenet_top1` is the accuracy it was published with, which compares with no proxy's accuracy.
    """

    name: str
    label: str
    result: CandidateResult
    num_better: int | None
    imagenet_top1: float | None
    standing: str
    """What there is to say of its measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What several runs found, side by side."""

    objectives: tuple[Objective, ...]
    reference: Mapping[str, float] | None = field(hash=False)
    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    joint: tuple[Member, ...]
    """The front of all runs together, best in the first objective first."""
    shared: tuple[Shared, ...]
    anchors: tuple[Anchor, ...]
    """Published networks that one of the runs measured, in its search or beside it (`nas.measure_anchors`),
    and so under the same conditions."""
    repeats: tuple[Repeats, ...]
    """Runs that differ in nothing but their seeds, together."""

    def frame(self) -> "pd.DataFrame":
        """A row per run."""
        import pandas as pd

        names = ("label", "evaluated", "hypervolume", "share", "num_joint", "num_new")
        rows = [
            {name: getattr(side, name) for name in names} | {"front": len(side.front)} for side in self.sides
        ]
        return pd.DataFrame(rows)

    def pairs_frame(self) -> "pd.DataFrame":
        """A row per ordered pair of runs."""
        from results.frame import frame_of

        return frame_of(Pair, self.pairs)

    def best(
        self, reward: Reward | None = None, *, limit: Mapping[str, float] | None = None
    ) -> Member | None:
        """The network to take of the front of all runs together; see `results.run.Run.best`.

        Raises:
            ValueError: as there.
        """
        front = [member.result for member in self.joint]
        if reward is None and limit is None:
            taken = knee(front, self.objectives)
        else:
            kept = front if limit is None else within(front, limit, self.objectives)
            taken = highest_reward(kept, reward or self._first_objective)
        return next((member for member in self.joint if member.result is taken), None)

    def summary(self) -> dict[str, Any]:
        """The comparison as plain JSON."""
        names = [objective.name for objective in self.objectives]
        return {
            "objectives": [str(objective) for objective in self.objectives],
            "reference": self.reference,
            "runs": [
                {
                    "run": side.label,
                    "evaluated": side.evaluated,
                    "front": len(side.front),
                    "hypervolume": side.hypervolume,
                    "share": side.share,
                    "on_joint_front": side.num_joint,
                    "only_here": side.num_new,
                }
                for side in self.sides
            ],
            "pairs": [
                {name: getattr(pair, name) for name in ("first", "second", "coverage", "epsilon", "same")}
                for pair in self.pairs
            ],
            "joint_front": [_member(member, names) for member in self.joint],
            "take": None if (taken := self.best()) is None else _member(taken, names),
            "shared": [
                {
                    "digest": each.digest,
                    "on_front_of": list(each.on_front_of),
                    "measured": {label: result.values(names) for label, result in each.results.items()},
                }
                for each in self.shared
            ],
            "anchors": [
                {
                    "name": anchor.name,
                    "better": anchor.num_better,
                    "imagenet_top1": anchor.imagenet_top1,
                    "status": anchor.result.status,
                    "standing": anchor.standing,
                    **_member(anchor, names),
                    # What was measured beside a search is no candidate of it.
                    **({"id": None} if anchor.result.origin == PUBLISHED else {}),
                }
                for anchor in self.anchors
            ],
            "repeats": [each.summary() for each in self.repeats],
        }

    def _first_objective(self, result: CandidateResult) -> float | None:
        value = result.value(self.objectives[0].name)
        return None if value is None else -self.objectives[0].sign * value


def _member(member: Member | Anchor, names: Sequence[str]) -> dict[str, Any]:
    result = member.result
    return {"run": member.label, "id": result.id, "digest": result.digest} | result.values(names)
