"""Regularised evolution: tournament selection on a scalar reward, and death by age."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from nas.reward import Reward
from nas.strategies.protocol import Evaluation
from search_spaces.space import Genes, Space


class RegularizedEvolution:
    """Ages out the oldest member of a population, and mutates the best of a random sample.

    The population starts from `seeds` (members worth knowing) and random members. Failures never enter it.
    Source: Real et al. 2019, arXiv:1802.01548, algorithm 1; here without waiting for whole generations.
    """

    def __init__(
        self,
        space: Space,
        reward: Reward,
        *,
        seeds: Sequence[Genes] = (),
        population: int = 25,
        tournament: int = 5,
        crossover: float = 0.25,
    ) -> None:
        """`crossover` is the probability that a child also takes genes from a second parent.

        Raises:
            ValueError: an option out of its range.
        """
        if population < 1 or not tournament >= 1 or not 0.0 <= crossover <= 1.0:
            raise ValueError(
                f"evolution: population {population} and tournament {tournament} must be at least 1, "
                f"crossover {crossover} between 0 and 1"
            )
        self._space = space
        self._reward = reward
        self._seeds = list(seeds)
        self._tournament = tournament
        self._crossover = crossover
        self._initial = population
        self._told = 0
        self._members: deque[tuple[Evaluation, float]] = deque(maxlen=population)

    def ask(self, rng: np.random.Generator) -> Genes:
        """A seed, a random member, or a child of the fittest of a random few."""
        if self._seeds:
            return self._seeds.pop(0)
        if self._told < self._initial or not self._members:
            return self._space.sample(rng)
        parent = self._select(rng)
        if rng.random() < self._crossover:
            parent = self._space.crossover(parent, self._select(rng), rng)
        return self._space.mutate(parent, rng)

    def tell(self, evaluation: Evaluation) -> None:
        """Let a measured member join as the youngest; the oldest leaves a full population."""
        self._told += 1
        fitness = self._reward(evaluation.values) if evaluation.is_complete else None
        if fitness is not None:
            self._members.append((evaluation, fitness))

    def _select(self, rng: np.random.Generator) -> Genes:
        count = min(self._tournament, len(self._members))
        chosen = rng.choice(len(self._members), size=count, replace=False)
        return max((self._members[index] for index in chosen), key=lambda member: member[1])[0].genes
