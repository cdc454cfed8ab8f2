"""Scalar rewards: views that rank a front, and what single-objective strategies climb."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

Values = Mapping[str, float]


class Reward(Protocol):
    """A number for one candidate's values, larger is better."""

    def __call__(self, values: Values) -> float | None:
        """The reward; None where a value it needs is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedProduct:
    """gain * prod(cost ** exponent), with accuracy as the gain unless another is named; without one it is 1.

    With exponents -0.07 (step time) and -0.05 (params) this is EfficientNetV2's reward (Tan & Le 2021,
    arXiv:2104.00298, sec. 3.2). There is no target in it, so a search that only climbs it drifts to small
    networks; the primary result of a search is its front.

    Law: dividing a cost by any reference multiplies every reward by one constant and changes no ranking;
    with exponents <= 0, slower or larger never scores higher.
    """

    exponents: tuple[tuple[str, float], ...] = (("step_ms", -0.07), ("params", -0.05))
    gain: str | None = "accuracy"

    def __call__(self, values: Values) -> float | None:
        """The product over the costs."""
        reward = 1.0 if self.gain is None else values.get(self.gain)
        for name, exponent in self.exponents:
            cost = values.get(name)
            if reward is None or cost is None or cost <= 0.0:
                return None
            reward *= cost**exponent
        return reward


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReward:
    """accuracy * (cost / target) ** (within if cost <= target else beyond).

    MnasNet's forms (Tan et al. 2019, arXiv:1807.11626, sec. 3.1): soft with -0.07 on both sides, hard with
    0 within the target and -1 beyond it. Soft samples trade around the target; hard ones gather below it.
    """

    cost: str
    target: float
    within: float
    beyond: float

    def __post_init__(self) -> None:
        if not self.target > 0.0:
            raise ValueError(f"the target of {self.cost} is {self.target}; it must be above 0")

    def __call__(self, values: Values) -> float | None:
        """Accuracy, weighed by how the cost compares with the target."""
        accuracy, cost = values.get("accuracy"), values.get(self.cost)
        if accuracy is None or cost is None or cost <= 0.0:
            return None
        ratio = cost / self.target
        factor: float = ratio ** (self.within if ratio <= 1.0 else self.beyond)
        return accuracy * factor


def mnasnet_soft(cost: str, target: float) -> TargetReward:
    """MnasNet's soft reward: a doubled cost needs 5 % more accuracy, on both sides of the target."""
    return TargetReward(cost=cost, target=target, within=-0.07, beyond=-0.07)


def mnasnet_hard(cost: str, target: float) -> TargetReward:
    """MnasNet's hard reward: no credit within the target, a steep price beyond it."""
    return TargetReward(cost=cost, target=target, within=0.0, beyond=-1.0)


EFFICIENTNETV2_REWARD = WeightedProduct()
