"""Gaussian-process regression on network features: for every network a mean and a standard deviation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.features import Features

Floats = npt.NDArray[np.float64]

VIEWS = (0.15, 0.5, 0.85)
"""Weight of the choices in a distance; the rest is the work's."""
LENGTHS = (1.0, 2.0, 4.0)
"""Length scales in units of the root-mean-square distance over features; random members are 1.4 apart."""
LINEAR_SHARES = (0.0, 0.5, 0.9)
NOISES = (1e-3, 1e-2, 3e-2, 0.1, 0.3)
"""Variance of the noise relative to that of the signal."""
MOST_FOR_SELECTION = 120
MOST_AVERAGED = 3
LEAST_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """k(a, b) = (1 - linear) Matern52(|a - b| / length) + linear a.b, plus noise on the diagonal."""

    view: float
    length: float
    linear: float
    noise: float


class GaussianProcess:
    """Fitted to features and values; values are standardised within.

    The posterior is averaged over the hyperparameters of a grid that the data make most likely, three at
    most, each weighed by its marginal likelihood (on at most 120 of the values): with tens of values the
    likeliest alone is often wrong, and a search that trusts it climbs its errors. A fit is a function of
    the data alone.
    Source: Rasmussen & Williams 2006, algorithm 2.1 and section 5.2.
    """

    def __init__(
        self,
        features: Features,
        values: Floats,
        averaged: Sequence[tuple[float, Hyperparameters]] | None = None,
    ) -> None:
        """Fit to features of N networks and (N,) values, N at least 2; `averaged` if they are known."""
        self._mean = float(values.mean())
        self._scale = float(values.std()) or 1.0
        self._targets = (values - self._mean) / self._scale
        self.members = [
            (weight, _Member(features, self._targets, hyperparameters))
            for weight, hyperparameters in averaged or _likeliest(features, self._targets)
        ]

    def refitted(self, features: Features, values: Floats) -> "GaussianProcess":
        """Fitted to other values under these hyperparameters; the likeliest are not sought anew."""
        same = [(weight, member.hyperparameters) for weight, member in self.members]
        return GaussianProcess(features, values, averaged=same)

    def mean(self, features: Features) -> Floats:
        """The expected values, (M,)."""
        total = sum(weight * member.mean(features) for weight, member in self.members)
        return np.asarray(self._mean + self._scale * total)

    def mean_and_deviation(self, features: Features) -> tuple[Floats, Floats]:
        """The expected values and the standard deviations of the true (noise-free) ones, (M,) each."""
        found = [(weight, *member.mean_and_variance(features)) for weight, member in self.members]
        mean = np.asarray(sum(weight * each for weight, each, _ in found))
        second = np.asarray(sum(weight * (variance + each**2) for weight, each, variance in found))
        deviation = np.sqrt(np.maximum(second - mean**2, 1e-12))
        return self._mean + self._scale * mean, self._scale * deviation

    def left_out_errors(self) -> Floats:
        """Each value less what the others say of it, (N,); the hyperparameters are those of all.

        Source: Rasmussen & Williams 2006, equation 5.12.
        """
        total = sum(weight * member.left_out_mean(self._targets) for weight, member in self.members)
        return np.asarray(self._scale * (self._targets - total))


class _Member:
    """The posterior under one set of hyperparameters, of standardised values."""

    def __init__(self, features: Features, targets: Floats, hyper: Hyperparameters) -> None:
        from scipy.linalg import cho_factor, cho_solve

        self._features = features
        self.hyperparameters = hyper
        kernel = _kernel(features, features, hyper)
        kernel[np.diag_indices_from(kernel)] += hyper.noise
        self._factor: Any = cho_factor(kernel, lower=True, check_finite=False)
        self._weights: Floats = cho_solve(self._factor, targets, check_finite=False)
        # The signal's variance by maximum likelihood, given the shape of the kernel.
        self._variance = max(float(targets @ self._weights) / len(targets), 1e-6)

    def mean(self, features: Features) -> Floats:
        found: Floats = _kernel(features, self._features, self.hyperparameters) @ self._weights
        return found

    def left_out_mean(self, targets: Floats) -> Floats:
        from scipy.linalg import cho_solve

        inverse = cho_solve(self._factor, np.eye(len(targets)), check_finite=False)
        found: Floats = targets - self._weights / np.diag(inverse)
        return found

    def mean_and_variance(self, features: Features) -> tuple[Floats, Floats]:
        from scipy.linalg import solve_triangular

        across = _kernel(features, self._features, self.hyperparameters)
        solved = solve_triangular(self._factor[0], across.T, lower=True, check_finite=False)
        linear = self.hyperparameters.linear
        own = (1.0 - linear) + linear * features.norms(self.hyperparameters.view)
        variance: Floats = self._variance * np.maximum(own - (solved**2).sum(axis=0), 1e-9)
        return across @ self._weights, variance


def _kernel(first: Features, second: Features, hyper: Hyperparameters) -> Floats:
    """(N, M) covariances in units of the signal's variance."""
    inner = first.inner(second, hyper.view)
    squared = first.norms(hyper.view)[:, None] + second.norms(hyper.view)[None] - 2.0 * inner
    return _covariance(inner, np.maximum(squared, 0.0), hyper.length, hyper.linear)


def _covariance(inner: Floats, squared: Floats, length: float, linear: float) -> Floats:
    scaled = np.sqrt(5.0 * squared) / length
    matern: Floats = (1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled)
    return (1.0 - linear) * matern + linear * inner


def _likeliest(features: Features, targets: Floats) -> list[tuple[float, Hyperparameters]]:
    """The likeliest grid points with weights that sum to 1."""
    if len(targets) > MOST_FOR_SELECTION:
        spread = np.linspace(0, len(targets) - 1, MOST_FOR_SELECTION).round().astype(np.int64)
        features, targets = features.rows(spread), targets[spread]
    scored = sorted(_likelihoods(features, targets), key=lambda each: -each[0])[:MOST_AVERAGED]
    weights = np.exp([likelihood - scored[0][0] for likelihood, _ in scored])
    kept = weights >= LEAST_WEIGHT
    shares = weights[kept] / weights[kept].sum()
    return [(float(share), hyper) for share, (_, hyper) in zip(shares, scored, strict=False)]


def _likelihoods(features: Features, targets: Floats) -> Iterator[tuple[float, Hyperparameters]]:
    """The logarithm of each grid point's marginal likelihood; one decomposition serves every noise."""
    count = len(targets)
    for view in VIEWS:
        inner, norms = features.inner(features, view), features.norms(view)
        squared = np.maximum(norms[:, None] + norms[None] - 2.0 * inner, 0.0)
        for length, linear in product(LENGTHS, LINEAR_SHARES):
            values, vectors = np.linalg.eigh(_covariance(inner, squared, length, linear))
            projected = (vectors.T @ targets) ** 2
            for noise in NOISES:
                shifted = np.maximum(values, 0.0) + noise
                scale = max(float((projected / shifted).sum()) / count, 1e-12)
                likelihood = -0.5 * (count * np.log(scale) + float(np.log(shifted).sum()))
                yield likelihood, Hyperparameters(view, length, linear, noise)
