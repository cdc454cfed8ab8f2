"""Reinforcement learning in its simplest honest form: independent choices, a policy gradient, a baseline."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.reward import Reward
from nas.strategies.protocol import Evaluation
from search_spaces.counting import read_genes
from search_spaces.space import Genes, Space

Floats = npt.NDArray[np.float64]

LEARNING_RATE = 0.15
BASELINE_DECAY = 0.9
ATTEMPTS = 50


class Reinforce:
    """A categorical policy with one vector of logits a gene, moved along (reward - baseline) * grad log p.

    The reward is standardised by what was seen so far. MnasNet's controller is a recurrent network trained
    by PPO (Tan et al. 2019, arXiv:1807.11626); factorised policies do as well on such spaces at a fraction
    of the machinery (Bender et al. 2020, arXiv:2008.06120). Source of the rule: Williams 1992.
    """

    def __init__(self, space: Space, reward: Reward, *, seeds: Sequence[Genes] = ()) -> None:
        self._space = space
        self._reward = reward
        self._seeds = list(seeds)
        self._logits = [np.zeros(len(gene.labels)) for gene in space.genes]
        self._rewards: list[float] = []
        self._baseline = 0.0

    def ask(self, rng: np.random.Generator) -> Genes:
        """A seed, or a draw from the policy; a random member when draws keep outside rules or limits."""
        if self._seeds:
            return self._seeds.pop(0).copy()
        for _ in range(ATTEMPTS):
            genes = self._drawn(rng)
            if self._space.is_admissible(genes):
                return genes
        return self._space.sample(rng)

    def tell(self, evaluation: Evaluation) -> None:
        """Make the choices of a good network likelier, of a poor one less likely; failures teach nothing."""
        reward = self._reward(evaluation.values) if evaluation.is_complete else None
        if reward is None:
            return
        self._rewards.append(reward)
        spread = float(np.std(self._rewards)) or 1.0
        if len(self._rewards) == 1:
            self._baseline = reward
        advantage = (reward - self._baseline) / spread
        self._baseline = BASELINE_DECAY * self._baseline + (1.0 - BASELINE_DECAY) * reward
        for gene in np.flatnonzero(evaluation.genes >= 0).tolist():
            gradient = -_probabilities(self._logits[gene])
            gradient[evaluation.genes[gene]] += 1.0
            self._logits[gene] += LEARNING_RATE * advantage * gradient

    def _drawn(self, rng: np.random.Generator) -> Genes:
        genes = np.full(len(self._space.genes), -1, dtype=np.int64)
        given: dict[int, int] = {}
        for tree in (self._space.fixed, *(slot.tree for slot in self._space.slots)):
            for gene in read_genes(tree, given):
                if gene not in given:
                    given[gene] = int(
                        rng.choice(len(self._logits[gene]), p=_probabilities(self._logits[gene]))
                    )
                genes[gene] = given[gene]
        return genes


def _probabilities(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max())
    probabilities: Floats = shifted / shifted.sum()
    return probabilities
