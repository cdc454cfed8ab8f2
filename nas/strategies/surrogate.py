"""Surrogate-assisted evolution, the default: children of the front, ranked by what is expected of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.features import NetworkFeatures
from nas.hypervolume_gain import HypervolumeGain, non_dominated_ranks
from nas.objective_models import ObjectiveModels
from nas.objectives import Bound
from nas.strategies.protocol import Evaluation
from results.pareto import Objective
from search_spaces.space import Genes, Space
from search_spaces.variation import Variation

Floats = npt.NDArray[np.float64]

GENERATIONS = 4
CHILDREN = 400
PARENTS = 80
FINALISTS = 120
CROSSOVER = 0.4
MOST_CHANGES = 3
SPREAD_SAMPLES = 64
OPTIMISM = 0.25
"""Finalists are valued at the mean bettered by this many standard deviations."""
FEWEST_TO_FIT = 4
SPARE = 4
"""Proposals beyond two batches, for those that turn out to be known."""
REFIT_SQUARE, REFIT_SHARE = 40_000, 32
"""After n evaluations the models are fitted anew when n^2 / 40,000 more have come in (one at 200, 25 at
1,000), and at least after a 32nd part of them. A fit costs n^2, so a proposal costs the same throughout."""


@dataclass(slots=True)
class SurrogateEvolution:
    """Evolution whose children cost nothing until they are worth it.

    It starts with `seeds` and with members far apart. Then, whenever `parallel` evaluations have come in: a
    Gaussian process is fitted to every measured objective (costs are exact, and not predicted); a few
    generations of mutations and crossovers of the best known are ranked by the predictions; and of the
    finalists those are proposed, one after another, that add most to the hypervolume of the front, each
    counted as found when the next is chosen, so that the proposals of one batch differ. A measured bound
    multiplies a gain by the probability that it is kept.

    Proposals are a function of the evaluations told and of how often it was asked since the last of them,
    so a resumed search goes on alike.
    Source: predictor-guided evolution (Wen et al. 2020, arXiv:1912.00848; White et al. 2021,
    arXiv:1910.11858) with hypervolume improvement as the acquisition (Emmerich et al. 2006).
    """

    space: Space
    objectives: Sequence[Objective]
    bounds: Sequence[Bound] = ()
    seeds: Sequence[Genes] = ()
    initial: int = 16
    parallel: int = 1
    seed: int = 0
    _told: list[Evaluation] = field(default_factory=list, init=False)
    _fitted: int = field(default=0, init=False)
    _asked: int = field(default=0, init=False)
    _batch: list[Genes] | None = field(default=None, init=False)
    _features: NetworkFeatures = field(init=False)
    _variation: Variation = field(init=False)

    def __post_init__(self) -> None:
        self._features = NetworkFeatures(self.space)
        self._variation = Variation(self.space)

    def ask(self, rng: np.random.Generator) -> Genes:
        """A seed; a member far from those known; or the next of the batch that promises most."""
        self._asked += 1
        number = len(self._told) + self._asked - 1
        if number < len(self.seeds):
            return self.seeds[number].copy()
        if not self._fitted:
            return self._far_member(rng)
        if self._batch is None:
            self._batch = self._best_children()
        position = len(self._told) - self._fitted + self._asked - 1
        if position < len(self._batch):
            return self._batch[position].copy()
        return self._far_member(rng)

    def tell(self, evaluation: Evaluation) -> None:
        """Learn; the models are fitted anew at the next proposal once a batch has come in."""
        self._told.append(evaluation)
        self._asked = 0
        known = len(self._told)
        is_due = known >= self.initial and known - self._fitted >= self._batch_size(known)
        if is_due and len(self._complete(known)) >= FEWEST_TO_FIT:
            self._fitted, self._batch = known, None

    def _batch_size(self, known: int) -> int:
        return max(self.parallel, min(known**2 // REFIT_SQUARE, known // REFIT_SHARE))

    def _complete(self, count: int) -> list[Evaluation]:
        """Those of the first `count` evaluations that have a value of every objective."""
        names = [objective.name for objective in self.objectives]
        return [each for each in self._told[:count] if all(name in each.values for name in names)]

    def _far_member(self, rng: np.random.Generator) -> Genes:
        """Of a few random members the one farthest from all that are known."""
        drawn = self.space.sample(rng, SPREAD_SAMPLES)
        if not self._told:
            return np.array(drawn[0])
        known = self._features(np.stack([each.genes for each in self._told]))
        fresh = self._features(drawn)
        squared = fresh.norms(0.5)[:, None] + known.norms(0.5)[None] - 2.0 * fresh.inner(known, 0.5)
        return np.array(drawn[int(squared.min(axis=1).argmax())])

    def _best_children(self) -> list[Genes]:
        """The next proposals, best first."""
        complete = self._complete(self._fitted)
        genes = np.stack([each.genes for each in complete])
        losses = np.array([[o.sign * each.values[o.name] for o in self.objectives] for each in complete])
        models = ObjectiveModels.fitted(
            self.space,
            self.objectives,
            self.bounds,
            genes,
            [each.values for each in complete],
            self._features,
        )
        rng = np.random.default_rng([self.seed, self._fitted])
        finalists = self._evolved(genes, losses, models, rng)
        if not len(finalists):
            return []
        expected = models.losses(finalists, optimism=OPTIMISM)
        gain = HypervolumeGain(losses)
        count = 2 * self._batch_size(self._fitted) + SPARE
        return [finalists[index] for index in gain.greedy(expected, count, models.feasibility(finalists))]

    def _evolved(
        self, genes: Genes, losses: Floats, models: ObjectiveModels, rng: np.random.Generator
    ) -> Genes:
        """Unknown members that are best by prediction after a few generations."""
        seen = {each.genes.tobytes() for each in self._told}
        best = _best(losses, PARENTS, rng)
        pool, pool_losses = genes[best], losses[best]
        found, found_losses = genes[:0], losses[:0]
        for _ in range(GENERATIONS):
            children = np.unique(self._children(pool, rng), axis=0)
            children = children[[row.tobytes() not in seen for row in children]]
            if not len(children):
                continue
            seen.update(row.tobytes() for row in children)
            expected = models.losses(children)
            found, found_losses = np.concatenate([found, children]), np.concatenate([found_losses, expected])
            pool, pool_losses = np.concatenate([pool, children]), np.concatenate([pool_losses, expected])
            best = _best(pool_losses, PARENTS, rng)
            pool, pool_losses = pool[best], pool_losses[best]
        return found[_best(found_losses, FINALISTS, rng)]

    def _children(self, pool: Genes, rng: np.random.Generator) -> Genes:
        first, second = (pool[rng.integers(len(pool), size=CHILDREN)] for _ in range(2))
        is_crossed = rng.random(CHILDREN) < CROSSOVER
        parents = np.where(is_crossed[:, None], self._variation.crossover(first, second, rng), first)
        few, more = rng.integers(0, 2, size=CHILDREN), rng.integers(1, MOST_CHANGES + 1, size=CHILDREN)
        return self._variation.mutate(parents, rng, changes=np.where(is_crossed, few, more))


def _best(losses: Floats, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of the first ranks by dominance, ties broken by chance."""
    if not len(losses):
        return np.empty(0, dtype=np.int64)
    return np.lexsort((rng.random(len(losses)), non_dominated_ranks(losses)))[:count]
