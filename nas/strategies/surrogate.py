"""Surrogate-assisted evolution, the default: children of the front, ranked by what is expected of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.features import NetworkFeatures
from nas.hypervolume_gain import HypervolumeGain, non_dominated_ranks
from nas.objective_models import ObjectiveModels
from nas.objectives import Bound
from nas.strategies.learning_curves import with_extrapolated_accuracy
from nas.strategies.protocol import Evaluation
from results.pareto import Objective
from search_spaces.space import Genes, Space
from search_spaces.variation import Variation

Floats = npt.NDArray[np.float64]

HOPES = (0.0, 1.0, 0.0, 2.0)
"""A generation each: children rank by the mean bettered by so many standard deviations."""
CHILDREN = 400
PARENTS = 80
FINALISTS = 120
CROSSOVER = 0.4
MOST_CHANGES = 3
SPREAD_SAMPLES = 64
OPTIMISM = 1.0
"""Finalists are valued at the mean bettered by this many standard deviations. With less a search settles near
what it knows: networks that are truly better lie where the models expect too little of them."""
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
    counted as found when the next is chosen, so that the proposals of one batch differ.

    Every model learns from whatever has its quantity: step times also from what was refused, gated or
    stopped, and accuracies of stopped trainings are extrapolated (`nas.strategies.learning_curves`). What
    probably breaks a measured bound ranks behind all that does not, and a gain counts with the probability
    that the bounds are kept; until something has kept them that probability alone counts.

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
    _own: int = field(default=0, init=False)
    """How many of them are of this search, not of earlier ones."""
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
        number = self._own + self._asked - 1
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
        self._own += evaluation.index >= 0
        self._asked = 0
        known = len(self._told)
        is_due = known >= self.initial and known - self._fitted >= self._batch_size(known)
        if is_due and sum(bool(each.values) for each in self._told) >= FEWEST_TO_FIT:
            self._fitted, self._batch = known, None

    def _batch_size(self, known: int) -> int:
        return max(self.parallel, min(known**2 // REFIT_SQUARE, known // REFIT_SHARE))

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
        informative = [each for each in self._told[: self._fitted] if each.values]
        values = with_extrapolated_accuracy(informative)
        models = ObjectiveModels.fitted(
            self.space,
            self.objectives,
            self.bounds,
            np.stack([each.genes for each in informative]),
            values,
            self._features,
        )
        complete = [each for each in informative if each.is_complete]
        rng = np.random.default_rng([self.seed, self._fitted])
        finalists = self._evolved(self._parents(informative, models), models, rng)
        if not len(finalists):
            return []
        count = 2 * self._batch_size(self._fitted) + SPARE
        feasibility = models.feasibility(finalists)
        if not complete:
            return list(finalists[np.argsort(-feasibility, kind="stable")[:count]])
        expected = models.losses(finalists, optimism=OPTIMISM)
        gain = HypervolumeGain(np.array([self._losses(each.values) for each in complete]))
        return [finalists[index] for index in gain.greedy(expected, count, feasibility)]

    def _losses(self, values: Mapping[str, float]) -> list[float]:
        return [objective.sign * values[objective.name] for objective in self.objectives]

    def _parents(
        self, informative: Sequence[Evaluation], models: ObjectiveModels
    ) -> tuple[Genes, Floats, Floats]:
        """What the children come from, with losses and doubts: what has kept all bounds, if enough has."""
        complete = [each for each in informative if each.is_complete]
        if len(complete) >= FEWEST_TO_FIT:
            losses = np.array([self._losses(each.values) for each in complete])
            return np.stack([each.genes for each in complete]), losses, np.zeros(len(complete))
        genes = np.stack([each.genes for each in informative])
        return genes, models.losses(genes), models.doubts(genes)

    def _evolved(
        self,
        parents: tuple[Genes, Floats, Floats],
        models: ObjectiveModels,
        rng: np.random.Generator,
    ) -> Genes:
        """Unknown members that are best by prediction after a few generations."""
        seen = {each.genes.tobytes() for each in self._told}
        pool = _fittest(*parents, PARENTS, rng)
        found = (pool[0][:0], pool[1][:0], pool[2][:0])
        for hope in HOPES:
            children = np.unique(self._children(pool[0], rng), axis=0)
            children = children[[row.tobytes() not in seen for row in children]]
            if not len(children):
                continue
            seen.update(row.tobytes() for row in children)
            expected = (children, models.losses(children, optimism=hope), models.doubts(children))
            found, pool = _joined(found, expected), _fittest(*_joined(pool, expected), PARENTS, rng)
        return _fittest(*found, FINALISTS, rng)[0]

    def _children(self, pool: Genes, rng: np.random.Generator) -> Genes:
        first, second = (pool[rng.integers(len(pool), size=CHILDREN)] for _ in range(2))
        is_crossed = rng.random(CHILDREN) < CROSSOVER
        parents = np.where(is_crossed[:, None], self._variation.crossover(first, second, rng), first)
        few, more = rng.integers(0, 2, size=CHILDREN), rng.integers(1, MOST_CHANGES + 1, size=CHILDREN)
        return self._variation.mutate(parents, rng, changes=np.where(is_crossed, few, more))


def _fittest(
    genes: Genes, losses: Floats, doubts: Floats, count: int, rng: np.random.Generator
) -> tuple[Genes, Floats, Floats]:
    """The least doubtful, then the first by dominance, ties broken by chance."""
    if not len(genes):
        return genes, losses, doubts
    chosen = np.lexsort((rng.random(len(losses)), non_dominated_ranks(losses), doubts))[:count]
    return genes[chosen], losses[chosen], doubts[chosen]


def _joined(
    first: tuple[Genes, Floats, Floats], second: tuple[Genes, Floats, Floats]
) -> tuple[Genes, Floats, Floats]:
    return (
        np.concatenate([first[0], second[0]]),
        np.concatenate([first[1], second[1]]),
        np.concatenate([first[2], second[2]]),
    )
