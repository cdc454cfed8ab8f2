"""The strategies by name."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.reward import Reward
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.protocol import Strategy
from nas.strategies.random_search import RandomSearch
from search_spaces.space import Genes, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyInputs:
    """What a strategy may be made from. `budget` is the number of candidates to be evaluated."""

    space: Space
    reward: Reward
    budget: int
    seeds: Sequence[Genes] = ()


def _random(inputs: StrategyInputs) -> Strategy:
    return RandomSearch(inputs.space)


def _evolution(inputs: StrategyInputs) -> Strategy:
    # A third of a small budget explores; a large one has the usual population.
    population = max(2, min(25, inputs.budget // 3))
    return RegularizedEvolution(inputs.space, inputs.reward, seeds=inputs.seeds, population=population)


STRATEGIES: dict[str, Callable[[StrategyInputs], Strategy]] = {
    "evolution": _evolution,
    "random": _random,
}


def make_strategy(name: str, inputs: StrategyInputs) -> Strategy:
    """The strategy called `name`.

    Raises:
        ValueError: no strategy has this name; the nearest is given.
    """
    check_strategy(name)
    return STRATEGIES[name](inputs)


def check_strategy(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: the nearest known name is given.
    """
    if name not in STRATEGIES:
        near = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"strategy {name!r} is unknown; {hint}known: {', '.join(STRATEGIES)}")
