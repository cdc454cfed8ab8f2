"""The policy-gradient strategy: it learns what pays, and nothing from what failed."""

import numpy as np
import pytest

from nas.reward import WeightedProduct
from nas.strategies.protocol import Evaluation
from nas.strategies.reinforce import Reinforce, _probabilities
from search_spaces.space_document import load_space

MNASNET = load_space("mnasnet")
REWARD = WeightedProduct(exponents=())


def evaluation(index, genes, accuracy):
    values = {} if accuracy is None else {"accuracy": accuracy}
    return Evaluation(index=index, genes=genes, digest=str(index), values=values)


def spent(strategy, count, worth):
    drawn = []
    for index in range(count):
        genes = strategy.ask(np.random.default_rng([5, index]))
        strategy.tell(evaluation(index, genes, worth(genes)))
        drawn.append(genes)
    return np.stack(drawn)


def test_a_choice_that_pays_becomes_likely():
    """Planted: the first option of the first gene that has three is worth 0.2 of accuracy."""
    gene = next(index for index, each in enumerate(MNASNET.genes) if len(each.labels) == 3)
    strategy = Reinforce(MNASNET, REWARD)
    drawn = spent(strategy, 150, lambda genes: 0.5 + 0.2 * (genes[gene] == 0))
    assert (drawn[:20, gene] == 0).mean() < 0.7
    assert (drawn[-40:, gene] == 0).mean() > 0.85
    others = [
        _probabilities(logits).max()
        for index, logits in enumerate(strategy._logits)
        if index != gene and len(logits) == 3
    ]
    assert np.median(others) < 0.8, "choices that make no difference stay open"


def test_equal_rewards_teach_nothing():
    strategy = Reinforce(MNASNET, REWARD)
    spent(strategy, 30, lambda genes: 0.5)
    assert all(np.allclose(logits, 0.0) for logits in strategy._logits)


def test_failures_teach_nothing():
    strategy = Reinforce(MNASNET, REWARD)
    spent(strategy, 30, lambda genes: None)
    assert all(np.array_equal(logits, np.zeros_like(logits)) for logits in strategy._logits)


def test_the_scale_of_rewards_makes_no_difference():
    small = spent(Reinforce(MNASNET, REWARD), 60, lambda genes: 0.01 * float(genes[0] + genes[5]))
    large = spent(Reinforce(MNASNET, REWARD), 60, lambda genes: 10.0 * float(genes[0] + genes[5]))
    assert np.array_equal(small, large)


def test_probabilities_are_probabilities_however_large_the_logits():
    for logits in (np.zeros(3), np.array([1e3, -1e3, 0.0]), np.array([5.0])):
        found = _probabilities(logits)
        assert found.sum() == pytest.approx(1.0)
        assert (found >= 0).all()


def test_seeds_come_first():
    seeds = MNASNET.sample(np.random.default_rng(0), 3)
    strategy = Reinforce(MNASNET, REWARD, seeds=list(seeds))
    assert np.array_equal(np.stack([strategy.ask(np.random.default_rng(0)) for _ in range(3)]), seeds)
