"""The strategies by name."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.objectives import Bound
from nas.reward import Reward
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.protocol import Strategy
from nas.strategies.random_search import RandomSearch
from results.pareto import DEFAULT_OBJECTIVES, Objective
from search_spaces.space import Genes, Space

DEFAULT_STRATEGY = "surrogate"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyInputs:
    """What a strategy may be made from.

    `budget` is the number of candidates to be evaluated, `parallel` how many are on their way at once;
    `reward` is what strategies of one objective climb.
    """

    space: Space
    reward: Reward
    budget: int
    objectives: Sequence[Objective] = DEFAULT_OBJECTIVES
    bounds: Sequence[Bound] = ()
    seeds: Sequence[Genes] = ()
    parallel: int = 1
    seed: int = 0


def _random(inputs: StrategyInputs) -> Strategy:
    return RandomSearch(inputs.space)


def _evolution(inputs: StrategyInputs) -> Strategy:
    # A third of a small budget explores; a large one has the usual population.
    population = max(2, min(25, inputs.budget // 3))
    return RegularizedEvolution(inputs.space, inputs.reward, seeds=inputs.seeds, population=population)


def _surrogate(inputs: StrategyInputs) -> Strategy:
    from nas.strategies.surrogate import SurrogateEvolution

    return SurrogateEvolution(
        space=inputs.space,
        objectives=inputs.objectives,
        bounds=inputs.bounds,
        seeds=inputs.seeds,
        initial=max(4, min(16, inputs.budget // 3)),
        parallel=inputs.parallel,
        seed=inputs.seed,
    )


def _reinforce(inputs: StrategyInputs) -> Strategy:
    from nas.strategies.reinforce import Reinforce

    return Reinforce(inputs.space, inputs.reward, seeds=inputs.seeds)


def _optuna(name: str) -> Callable[[StrategyInputs], Strategy]:
    def make(inputs: StrategyInputs) -> Strategy:
        from nas.strategies import optuna_samplers

        # NSGA-II needs a few generations; the usual 50 members would be all of a small budget.
        population = max(4, min(50, inputs.budget // 4))
        factories = {
            "nsga2": optuna_samplers.nsga2(population),
            "tpe": optuna_samplers.tpe,
            "gp": optuna_samplers.gp,
        }
        return optuna_samplers.OptunaStrategy(
            inputs.space, inputs.objectives, factories[name], bounds=inputs.bounds, seeds=inputs.seeds
        )

    return make


STRATEGIES: dict[str, Callable[[StrategyInputs], Strategy]] = {
    "surrogate": _surrogate,
    "evolution": _evolution,
    "nsga2": _optuna("nsga2"),
    "tpe": _optuna("tpe"),
    "gp": _optuna("gp"),
    "reinforce": _reinforce,
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
