"""Random search: the baseline of every other strategy, and one of the two that EfficientNetV2 names."""

import numpy as np

from nas.strategies.protocol import Evaluation
from search_spaces.space import Genes, Space


class RandomSearch:
    """Draws members of the space independently, uniformly for each gene."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def ask(self, rng: np.random.Generator) -> Genes:
        """A random member."""
        return self._space.sample(rng)

    def tell(self, evaluation: Evaluation) -> None:
        """Nothing is learned."""
