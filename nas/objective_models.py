"""What is expected of networks that were not measured: a model of every objective and of every bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.features import Features, NetworkFeatures
from nas.gaussian_process import GaussianProcess
from nas.linear_model import LinearModel, fit_linear
from nas.objectives import Bound
from results.pareto import Objective
from search_spaces.limits import COST_NAMES
from search_spaces.space import Genes, Space

Floats = npt.NDArray[np.float64]

SHRINKAGES = np.array([1e-5, 1e-3, 1e-1])
"""Ridge penalties tried for the trend of a time, for each row."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A Gaussian process of one measured quantity.

    Times and sizes are positive and nearly linear in the work they are of: there the process learns the
    logarithm of what a robust linear model of the network's totals leaves.
    """

    process: GaussianProcess
    trend: LinearModel | None
    scale: float = 1.0

    @classmethod
    def fitted(cls, features: Features, values: Floats, *, is_ratio: bool) -> "Predictor":
        """Fit to features of N networks and (N,) values; `is_ratio`: times and sizes."""
        if not (is_ratio and (values > 0).all()):
            return cls(GaussianProcess(features, values), None)
        scale = float(values.mean())
        penalty = np.ones(features.totals.shape[1])
        trend = fit_linear(features.totals, values / scale, penalty, SHRINKAGES * len(values))
        left = np.log(values / scale) - trend.log(features.totals)
        return cls(GaussianProcess(features, left), trend, scale)

    def value(self, features: Features, deviations: float = 0.0) -> Floats:
        """The expected value, moved by some standard deviations. (M,)"""
        if deviations:
            mean, deviation = self.process.mean_and_deviation(features)
            mean = mean + deviations * deviation
        else:
            mean = self.process.mean(features)
        return mean if self.trend is None else self.scale * np.exp(mean + self.trend.log(features.totals))

    def hoped(self, features: Features, sign: float, *, deviations: float, quantile: float) -> Floats:
        """The best value to reckon with, (M,); `sign` is 1 where larger is better, -1 where smaller is.

        The expected one, bettered by some standard deviations or by a quantile of the errors that the model
        makes of what it was fitted to, each left out in turn, whichever is more.
        """
        mean, deviation = self.process.mean_and_deviation(features)
        errors = np.sort(sign * self.process.left_out_errors())
        margin = errors[min(int(np.ceil(quantile * (len(errors) + 1))), len(errors)) - 1]
        best: Floats = mean + sign * np.maximum(deviations * deviation, margin)
        return best if self.trend is None else self.scale * np.exp(best + self.trend.log(features.totals))

    def probability_below(self, features: Features, bound: float) -> Floats:
        """The probability that the value is at most `bound`. (M,)"""
        from scipy.stats import norm

        mean, deviation = self.process.mean_and_deviation(features)
        if self.trend is not None:
            if bound <= 0:
                return np.zeros(len(features))
            mean, bound = mean + self.trend.log(features.totals), float(np.log(bound / self.scale))
        probability: Floats = norm.cdf((bound - mean) / deviation)
        return probability


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveModels:
    """Every objective as an exact cost or a predictor, and every measured bound as a predictor."""

    space: Space
    features: NetworkFeatures
    objectives: Sequence[Objective]
    bounds: Sequence[Bound]
    predictors: Mapping[str, Predictor]

    @classmethod
    def fitted(
        cls,
        space: Space,
        objectives: Sequence[Objective],
        bounds: Sequence[Bound],
        genes: Genes,
        values: Sequence[Mapping[str, float]],
        features: NetworkFeatures,
    ) -> "ObjectiveModels":
        """Fit to what was measured of the networks `genes`, (N, G); each of `values` may lack some.

        What fewer than two networks have is not modelled.
        """
        known = features(genes)
        measured = [bound for bound in bounds if bound.name not in COST_NAMES]
        wanted = {objective.name: objective.direction == "minimize" for objective in objectives}
        wanted |= {bound.name: bound.sign == "<=" for bound in measured if bound.name not in wanted}
        predictors = {}
        for name, is_ratio in wanted.items():
            rows = [index for index, each in enumerate(values) if name in each]
            if name not in COST_NAMES and len(rows) >= 2:
                column = np.array([values[index][name] for index in rows])
                predictors[name] = Predictor.fitted(known.rows(np.array(rows)), column, is_ratio=is_ratio)
        return cls(
            space=space, features=features, objectives=objectives, bounds=measured, predictors=predictors
        )

    def losses(self, genes: Genes, *, optimism: float = 0.0) -> Floats:
        """(N, K) losses (smaller is better), bettered by `optimism` standard deviations.

        Of an objective without a model all are 0: it decides nothing.
        """
        features, costs = self.features(genes), self.space.costs(genes)
        losses = np.empty((len(genes), len(self.objectives)))
        for column, objective in enumerate(self.objectives):
            if objective.name in COST_NAMES:
                values = getattr(costs, objective.name).astype(np.float64)
            elif objective.name in self.predictors:
                values = self.predictors[objective.name].value(features, -objective.sign * optimism)
            else:
                values = np.zeros(len(genes))
            losses[:, column] = objective.sign * values
        return losses

    def feasibility(self, genes: Genes) -> Floats:
        """(N,) the probability that every measured bound is kept, taken as independent."""
        probability = np.ones(len(genes))
        if not self.bounds:
            return probability
        features = self.features(genes)
        for bound in self.bounds:
            predictor = self.predictors.get(bound.name)
            if predictor is not None:
                below = predictor.probability_below(features, bound.value)
                probability *= below if bound.sign == "<=" else 1.0 - below
        return probability

    def doubts(self, genes: Genes) -> Floats:
        """(N,) 0 where the bounds are more likely kept than not; else the probability that one is broken."""
        feasibility = self.feasibility(genes)
        return np.where(feasibility >= 0.5, 0.0, 1.0 - feasibility)
