"""What is particular to regularised evolution."""

import numpy as np
import pytest

from nas.config import SearchConfig
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.protocol import Evaluation
from nas.strategies.registry import DEFAULT_STRATEGY, STRATEGIES, StrategyInputs, make_strategy
from search_spaces.space import Genes
from search_spaces.space_document import load_space

TINY = load_space("tiny")


def by_accuracy(values: object) -> float | None:
    return values["accuracy"]  # type: ignore[index, no-any-return]


def tell(strategy: RegularizedEvolution, genes: Genes, index: int, accuracy: float) -> None:
    strategy.tell(Evaluation(index=index, genes=genes, digest=str(index), values={"accuracy": accuracy}))


def distance(first: Genes, second: Genes) -> int:
    return int(np.sum(first != second))


def test_seeds_are_proposed_first_and_in_order() -> None:
    seeds = list(TINY.sample(np.random.default_rng(5), 3))
    strategy = RegularizedEvolution(TINY, by_accuracy, seeds=seeds)
    for seed in seeds:
        assert np.array_equal(strategy.ask(np.random.default_rng(0)), seed)


def test_children_descend_from_the_fittest() -> None:
    rng = np.random.default_rng(0)
    strategy = RegularizedEvolution(TINY, by_accuracy, population=10, tournament=10, crossover=0.0)
    members = list(TINY.sample(rng, 10))
    for index, genes in enumerate(members):
        tell(strategy, genes, index, accuracy=0.9 if index == 4 else 0.1)
    for _ in range(20):
        child = strategy.ask(rng)
        nearest = min(range(10), key=lambda index: distance(child, members[index]))
        assert nearest == 4


def test_the_oldest_member_dies_however_fit_it_is() -> None:
    rng = np.random.default_rng(0)
    strategy = RegularizedEvolution(TINY, by_accuracy, population=3, tournament=3, crossover=0.0)
    best, *others = TINY.sample(rng, 4)
    tell(strategy, best, 0, accuracy=0.99)
    for index, genes in enumerate(others, start=1):
        tell(strategy, genes, index, accuracy=0.5)
    for _ in range(20):
        child = strategy.ask(rng)
        assert min(others, key=lambda genes: distance(child, genes)) is not best
        assert distance(child, best) > min(distance(child, genes) for genes in others)


def test_evolution_beats_random_search_on_a_smooth_objective() -> None:
    """Accuracy is the share of genes that agree with a hidden member."""
    gained = []
    for seed in range(5):
        hidden = TINY.sample(np.random.default_rng(100 + seed))
        best = {}
        for name in ("random", "evolution"):
            inputs = StrategyInputs(space=TINY, reward=by_accuracy, budget=150)
            strategy = make_strategy(name, inputs)
            scores = []
            for index in range(150):
                genes = strategy.ask(np.random.default_rng([seed, index]))
                scores.append(float(np.mean(genes == hidden)))
                strategy.tell(
                    Evaluation(index=index, genes=genes, digest=str(index), values={"accuracy": scores[-1]})
                )
            best[name] = max(scores)
        gained.append(best["evolution"] - best["random"])
    assert min(gained) > 0.0


@pytest.mark.parametrize("options", [{"population": 0}, {"tournament": 0}, {"crossover": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"population .* tournament .* crossover"):
        RegularizedEvolution(TINY, by_accuracy, **options)  # type: ignore[arg-type]


def test_an_unknown_strategy_names_the_nearest() -> None:
    inputs = StrategyInputs(space=TINY, reward=by_accuracy, budget=1)
    with pytest.raises(
        ValueError, match=r"strategy 'evolutoin' is unknown; did you mean 'evolution'\? known: "
    ):
        make_strategy("evolutoin", inputs)
    assert next(iter(STRATEGIES)) == DEFAULT_STRATEGY == SearchConfig().strategy
