"""Early stopping for several objectives: asynchronous successive halving by non-dominated sorting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from nas.hypervolume_gain import non_dominated_ranks
from results.pareto import Objective

Values = Mapping[str, float]


class EarlyStopping(Protocol):
    """Decides from interim reports which trainings go on."""

    def concerns(self, step: int) -> bool:
        """Whether a training is judged when it reports at `step`."""

    def judge(self, key: str, pool: int, step: int, values: Values) -> str | None:
        """Enter the report of the training `key`; a sentence why it should end, or None to go on.

        `values` are the exact costs, the step time and the metrics so far; only trainings of one `pool` (a
        seed) are compared. Entering the same report again changes nothing.
        """


@dataclass(slots=True, kw_only=True)
class NonDominatedHalving:
    """A training that reaches a rung goes on while fewer than 1/`reduction` of those that have reached it
    stand in better fronts.

    Rungs are the steps `first`, `first * reduction`, `first * reduction^2`, ...: of trainings of 9 epochs,
    with a reduction of 3, those after 1 and 3. Nobody waits for others to arrive, so early ones go on more
    easily, and who is on the first front at a rung always goes on: among several objectives there is no
    one best to keep. The report of step `last` ends a training and is not judged: all is spent by then.
    Source: ASHA (Li et al. 2020, arXiv:1810.05934), its order taken from non-dominated sorting (Deb et al.
    2002; used so by MO-ASHA, Schmucker et al. 2021, arXiv:2106.12639).
    """

    objectives: tuple[Objective, ...]
    reduction: float
    first: int
    last: int | None = None
    _rungs: dict[tuple[int, int], dict[str, list[float]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not self.reduction > 1.0 or self.first < 1:
            raise ValueError(
                f"halving: the reduction is {self.reduction:g} and must be above 1, "
                f"the first rung is {self.first} and must be at least 1"
            )

    def concerns(self, step: int) -> bool:
        """Whether `step` is a rung."""
        if self.last is not None and step >= self.last:
            return False
        rung = float(self.first)
        while round(rung) < step:
            rung *= self.reduction
        return round(rung) == step

    def judge(self, key: str, pool: int, step: int, values: Values) -> str | None:
        """See `EarlyStopping`; a report that lacks an objective is not judged."""
        losses = _losses(values, self.objectives)
        if losses is None or not self.concerns(step):
            return None
        rung = self._rungs.setdefault((pool, step), {})
        rung.setdefault(key, losses)
        ranks = non_dominated_ranks(np.array(list(rung.values())))
        own = int(ranks[list(rung).index(key)])
        better = int((ranks < own).sum())
        if better < len(rung) / self.reduction:
            return None
        return f"after step {step} it stood in front {own + 1}, behind {better} of {len(rung)}"


def _losses(values: Values, objectives: Sequence[Objective]) -> list[float] | None:
    if any(objective.name not in values for objective in objectives):
        return None
    return [objective.sign * values[objective.name] for objective in objectives]
