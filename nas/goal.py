"""What a search is for: objectives, bounds and the reward, from how a configuration says it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas.config import SearchConfig
from nas.errors import ConfigError
from nas.objectives import Bound, estimated_bounds, estimated_objectives, parse_bounds, parse_objectives
from nas.reward import (
    EFFICIENTNETV2_REWARD,
    Reward,
    TargetReward,
    WeightedProduct,
    mnasnet_hard,
    mnasnet_soft,
)
from results.pareto import Objective

DEFAULT_REWARD = "effnetv2"
TARGET_OBJECTIVES = ("accuracy",)
_FACTOR = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\^\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*)?")
_MNASNET = re.compile(r"mnasnet-(soft|hard):(\w+)=([0-9.eE+_-]+)")
_EXPONENTS = {"step_ms": -0.07, "params": -0.05}
_FIRST_EXPONENT, _NEXT_EXPONENT = -0.07, -0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The objectives of the front, the bounds that every member keeps, and what single-objective strategies
    climb.
    """

    objectives: tuple[Objective, ...]
    bounds: tuple[Bound, ...]
    reward: Reward


def aimed(config: SearchConfig) -> SearchConfig:
    """The configuration with the objectives of a target written out, as it is to be kept and resumed."""
    if config.target is None or "objectives" in config.model_fields_set:
        return config
    return config.model_copy(update={"objectives": TARGET_OBJECTIVES})


def goal_of(config: SearchConfig, *, task_reward: str | None = None) -> Goal:
    """What the configuration asks for.

    A `target` such as step_ms<=40 asks for the most accurate network within it: it is a bound, accuracy
    becomes the only objective unless others were named, and strategies of one objective climb MnasNet's hard
    reward. The reward is the configuration's, else the target's, else the task's, else that of the
    objectives.

    Raises:
        ConfigError: one of them cannot be read; says which.
    """
    target = None if config.target is None else _target(config.target)
    objectives = parse_objectives(aimed(config).objectives)
    bounds = (*parse_bounds(config.limits), *([target] if target is not None else []))
    reward: Reward
    if config.reward is not None:
        reward = parse_reward(config.reward)
    elif target is not None:
        reward = mnasnet_hard(target.name, target.value)
    elif task_reward not in (None, DEFAULT_REWARD):
        reward = parse_reward(str(task_reward))
    else:
        reward = reward_of(objectives)
    if config.estimate:
        return Goal(
            objectives=estimated_objectives(objectives),
            bounds=estimated_bounds(bounds),
            reward=_of_estimates(reward),
        )
    return Goal(objectives=objectives, bounds=bounds, reward=reward)


def reward_of(objectives: Sequence[Objective]) -> WeightedProduct:
    """The product of the objectives: the first maximised one as it is, the others to small powers.

    With accuracy, step_ms and params it is EfficientNetV2's reward. A minimised quantity that it does not
    have gets the step time's exponent if it is the first, else that of the parameters; one that is maximised
    beside the gain, such as parameters as a benefit, the opposite of that.
    """
    gains = [each for each in objectives if each.direction == "maximize"]
    exponents = []
    others = [each for each in objectives if not gains or each is not gains[0]]
    for position, each in enumerate(others):
        exponent = _EXPONENTS.get(each.name, _NEXT_EXPONENT if position else _FIRST_EXPONENT)
        exponents.append((each.name, exponent * each.sign))
    return WeightedProduct(gain=gains[0].name if gains else None, exponents=tuple(exponents))


def parse_reward(text: str) -> Reward:
    """A reward from its name or formula.

        effnetv2                            accuracy * step_ms^-0.07 * params^-0.05
        accuracy * step_ms^-0.1             weights of one's own; the factor without a power is the gain
        mnasnet-soft:step_ms=40             accuracy * (step_ms / 40)^-0.07
        mnasnet-hard:step_ms=40             accuracy, times 40 / step_ms beyond 40

    Raises:
        ConfigError: none of these.
    """
    if text == DEFAULT_REWARD:
        return EFFICIENTNETV2_REWARD
    if match := _MNASNET.fullmatch(text.strip()):
        make = mnasnet_soft if match[1] == "soft" else mnasnet_hard
        try:
            return make(match[2], float(match[3]))
        except ValueError as error:
            raise ConfigError(f"reward {text!r}: {error}") from error
    factors = [_FACTOR.fullmatch(part) for part in text.split("*")]
    gains = [match[1] for match in factors if match and match[2] is None]
    if None in factors or len(gains) > 1 or (len(gains) == len(factors) and gains[0] != "accuracy"):
        raise ConfigError(
            f"reward {text!r} is not effnetv2, mnasnet-soft:step_ms=40, mnasnet-hard:step_ms=40 or a product "
            "such as accuracy*step_ms^-0.07*params^-0.05, with one factor without a power"
        )
    exponents = tuple((match[1], float(match[2])) for match in factors if match and match[2] is not None)
    return WeightedProduct(gain=gains[0] if gains else None, exponents=exponents)


def _of_estimates(reward: Reward) -> Reward:
    """The same reward of estimated times; their unit cancels in a ranking, so the forms hold."""

    def renamed(name: str) -> str:
        return estimated_objectives([Objective(name=name, direction="minimize")])[0].name

    if isinstance(reward, TargetReward):
        return replace(reward, cost=renamed(reward.cost))
    if isinstance(reward, WeightedProduct):
        return replace(reward, exponents=tuple((renamed(name), power) for name, power in reward.exponents))
    return reward


def _target(text: str) -> Bound:
    (bound,) = parse_bounds([text])
    if bound.sign != "<=":
        raise ConfigError(f"target {text!r}: a target is an upper bound, such as step_ms<=40")
    return bound
