"""Limits on exact costs: what a member of a space may cost at most, or must at least."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from search_spaces.architecture import Architecture, cost

CostName = Literal["params", "active_params", "macs", "activation_bytes"]
COST_NAMES: tuple[CostName, ...] = ("params", "active_params", "macs", "activation_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Bounds on one cost, both included; at `resolution` (None: the space's) and `num_classes`."""

    cost: CostName
    low: float | None = None
    high: float | None = None
    resolution: int | None = None
    num_classes: int = 1000

    def allows(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the values lie within the bounds."""
        allowed = np.ones(values.shape, dtype=bool)
        if self.low is not None:
            allowed &= values >= self.low
        if self.high is not None:
            allowed &= values <= self.high
        return allowed

    def refusal(self, arch: Architecture, resolution: int) -> str | None:
        """Why `arch` is outside, as a sentence; None when it is inside. `resolution` is the space's."""
        value: int = getattr(cost(arch, self.resolution or resolution, self.num_classes), self.cost)
        if bool(self.allows(np.asarray(value))):
            return None
        return f"{self.cost} is {value:,}, outside the limit {self}"

    def __str__(self) -> str:
        at = f" at {self.resolution} px" if self.resolution is not None else ""
        bounds = [
            f"{self.cost} {sign} {bound:,.0f}"
            for sign, bound in ((">=", self.low), ("<=", self.high))
            if bound is not None
        ]
        return " and ".join(bounds) + at


class InfeasibleError(Exception):
    """No member was found within the limits; says how many were tried and what came nearest."""
