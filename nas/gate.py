"""The gate before training: time first, train what can matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from nas.features import NetworkFeatures
from nas.objective_models import Predictor
from nas.strategies.protocol import Evaluation
from results.pareto import Objective, dominates, non_dominated
from search_spaces.space import Genes, Space

Values = Mapping[str, float]


class Gate(Protocol):
    """Decides before a training whether it can matter."""

    def refuses(self, genes: Genes, values: Values, known: Sequence[Evaluation]) -> str | None:
        """A sentence why a network of these costs and this step time is not to be trained; None: train it.

        `known` are the complete evaluations so far, in the order of proposal.
        """


@dataclass(slots=True)
class OptimisticGate:
    """Refuses what a known network would dominate even if its training went as well as it plausibly can.

    What plausibly is at best: a Gaussian process' prediction, bettered by two standard deviations or by the
    97.5 % quantile of its own errors (`Predictor.hoped`), whichever is more; an accuracy ends at 1. With
    fewer than `fewest` complete evaluations nothing is refused.
    """

    space: Space
    objectives: tuple[Objective, ...]
    fewest: int = 16
    deviations: float = 2.0
    quantile: float = 0.975
    _features: NetworkFeatures = field(init=False)
    _predictors: dict[str, Predictor] = field(default_factory=dict, init=False)
    _fitted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._features = NetworkFeatures(self.space)

    def refuses(self, genes: Genes, values: Values, known: Sequence[Evaluation]) -> str | None:
        """See `Gate`."""
        unknown = [objective for objective in self.objectives if objective.name not in values]
        if len(known) < self.fewest or not unknown:
            return None
        self._fit(known, unknown)
        hoped = {**values, **{each.name: self._best(genes, each) for each in unknown}}
        for position in non_dominated([each.values for each in known], self.objectives):
            if dominates(known[position].values, hoped, self.objectives):
                best = ", ".join(f"{each.name} {hoped[each.name]:.4g}" for each in unknown)
                return f"at best {best} is expected, and {known[position].digest[:12]} is better even then"
        return None

    def _fit(self, known: Sequence[Evaluation], unknown: Sequence[Objective]) -> None:
        """Fit anew once a sixteenth more is known: a fit costs the square of their number."""
        if self._fitted and len(known) < self._fitted + max(1, self._fitted // 16):
            return
        self._fitted = len(known)
        features = self._features(np.stack([each.genes for each in known]))
        for objective in unknown:
            column = np.array([each.values[objective.name] for each in known])
            is_ratio = objective.direction == "minimize"
            self._predictors[objective.name] = Predictor.fitted(features, column, is_ratio=is_ratio)

    def _best(self, genes: Genes, objective: Objective) -> float:
        predictor = self._predictors[objective.name]
        best = predictor.hoped(
            self._features(genes[None]),
            -objective.sign,
            deviations=self.deviations,
            quantile=self.quantile,
        )
        return min(float(best[0]), 1.0) if objective.name == "accuracy" else float(best[0])
