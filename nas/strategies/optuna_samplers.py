"""Optuna's samplers over the choices of a space: NSGA-II, TPE and Gaussian processes.

The study lives in memory and is replayed from what is told. Proposals are asked of a copy of it, so no trial
is ever left running, and they follow from what was told and from the generator given, as every strategy's do.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.objectives import Bound
from nas.strategies.protocol import Evaluation
from results.pareto import Objective
from search_spaces.counting import read_genes
from search_spaces.space import Genes, Space

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 20
"""Suggestions outside the rules or limits before a random member is taken instead."""

SamplerFactory = Callable[[int], "optuna.samplers.BaseSampler"]


def nsga2(population: int) -> SamplerFactory:
    """NSGA-II (Deb et al. 2002) with Optuna's defaults but for the size of its population."""

    def make(seed: int) -> "optuna.samplers.BaseSampler":
        import optuna

        return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)

    return make


def tpe(seed: int) -> "optuna.samplers.BaseSampler":
    """Multivariate tree-structured Parzen estimators (Ozaki et al. 2022)."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def gp(seed: int) -> "optuna.samplers.BaseSampler":
    """Optuna's Gaussian-process sampler, with deterministic choice of hyperparameters."""
    import optuna

    return optuna.samplers.GPSampler(seed=seed)


class OptunaStrategy:
    """One of Optuna's samplers, asked for the option of every gene that is active, top down."""

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        make_sampler: SamplerFactory,
        *,
        bounds: Sequence[Bound] = (),
        seeds: Sequence[Genes] = (),
    ) -> None:
        self._space = space
        self._objectives = tuple(objectives)
        self._make_sampler = make_sampler
        self._bounds = tuple(bound for bound in bounds if not bound.is_exact)
        self._seeds = list(seeds)
        self._study = _quiet_study([objective.direction for objective in objectives])

    def ask(self, rng: np.random.Generator) -> Genes:
        """A seed, or what the sampler suggests; a random member when that keeps outside rules or limits."""
        if self._seeds:
            return self._seeds.pop(0).copy()
        for _ in range(ATTEMPTS):
            genes = self._suggested(int(rng.integers(2**31)))
            if self._space.is_admissible(genes):
                return genes
        return self._space.sample(rng)

    def tell(self, evaluation: Evaluation) -> None:
        """Add a trial with what was measured; without a value of every objective it has failed."""
        import optuna

        values = [evaluation.values.get(objective.name) for objective in self._objectives]
        sites = [gene.site for gene in self._space.genes]
        self._study.sampler = self._make_sampler(evaluation.index % 2**31)
        self._study.enqueue_trial(
            {site: int(option) for site, option in zip(sites, evaluation.genes, strict=True) if option >= 0}
        )
        trial = self._study.ask()
        self._read(trial)
        if isinstance(self._study.sampler, optuna.samplers.BaseGASampler):
            # A trial with given parameters is not sampled, and so would belong to no generation.
            self._study.sampler.get_trial_generation(self._study, self._study.get_trials(deepcopy=False)[-1])
        for bound in self._bounds:
            measured = evaluation.values.get(bound.name)
            if measured is not None:
                beyond = measured - bound.value if bound.sign == "<=" else bound.value - measured
                trial.set_constraint(str(bound), beyond)
        if any(value is None for value in values):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, [float(value) for value in values if value is not None])

    def _suggested(self, seed: int) -> Genes:
        """What the sampler suggests to a copy of the study, since samplers keep notes in the one asked."""
        asked = _quiet_study([objective.direction for objective in self._objectives])
        asked.add_trials(self._study.get_trials(deepcopy=False))
        asked.sampler = self._make_sampler(seed)
        return self._read(asked.ask())

    def _read(self, trial: Any) -> Genes:
        """The genotype of a trial, by asking it for each gene that its earlier answers have made active."""
        genes = np.full(len(self._space.genes), -1, dtype=np.int64)
        given: dict[int, int] = {}
        for tree in (self._space.fixed, *(slot.tree for slot in self._space.slots)):
            for gene in read_genes(tree, given):
                if gene not in given:
                    kind = self._space.genes[gene]
                    given[gene] = trial.suggest_categorical(kind.site, list(range(len(kind.labels))))
                genes[gene] = given[gene]
        return genes


def _quiet_study(directions: Sequence[str]) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=list(directions))
