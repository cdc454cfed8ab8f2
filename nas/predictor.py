"""A learned predictor of a positive quantity (step time, latency, accuracy) with intervals.

Models that err differently are averaged in the logarithm. The share of each, and the width of the interval,
come from predictions for rows that were held out of the fit.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from nas.features import Features
from nas.predictor_members import Model, Rows, fit_members

Floats = npt.NDArray[np.float64]

MIN_ROWS = 20
NUM_FOLDS = 8
COVERAGE = 0.9
TENTHS = 10
"""Shares are multiples of a tenth: finer ones would follow the noise of a hundred rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Predicted values with the ends of their intervals; no measurement, and never stored as one."""

    values: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A fitted predictor; `half_width` is that of its intervals, in the logarithm (0.02: about 2 %)."""

    half_width: float
    shares: Floats
    """Of each model in the mean."""
    scaler: "_Scaler"
    models: tuple[Model, ...]
    has_network: bool

    def predict(self, features: Floats, network: Features | None = None) -> Prediction:
        """Values and intervals for rows of the features that the fit saw.

        Raises:
            ValueError: `network` is missing though the fit saw it, or given though it did not.
        """
        if (network is not None) != self.has_network:
            raise ValueError("a predictor predicts from what it was fitted to; give network features to both")
        rows = self.scaler(features, network)
        used = [(share, model) for share, model in zip(self.shares, self.models, strict=True) if share > 0]
        logs = np.asarray(sum(share * model.logs(rows) for share, model in used))
        scale = self.scaler.scale
        return Prediction(
            values=scale * np.exp(logs),
            low=scale * np.exp(logs - self.half_width),
            high=scale * np.exp(logs + self.half_width),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scaler:
    """Standardises the columns that vary; `scale` is the mean of the fitted values."""

    kept: npt.NDArray[np.bool_]
    mean: Floats
    deviation: Floats
    num_totals: int
    scale: float

    def __call__(self, features: Floats, network: Features | None) -> Rows:
        kept = features[:, self.kept]
        return Rows(
            work=(kept - self.mean) / self.deviation,
            logs=np.log1p(np.maximum(kept, 0.0)),
            num_totals=self.num_totals,
            network=network,
        )


def _scaler(features: Floats, values: Floats, num_totals: int) -> _Scaler:
    kept = features.std(axis=0) > 1e-9 * (1.0 + np.abs(features).max(axis=0))
    return _Scaler(
        kept=kept,
        mean=features[:, kept].mean(axis=0),
        deviation=features[:, kept].std(axis=0),
        num_totals=int(kept[:num_totals].sum()),
        scale=float(values.mean()),
    )


def fit_predictor(
    features: Floats, values: Floats, *, num_totals: int, network: Features | None = None
) -> Predictor:
    """Fit on measured rows; the first `num_totals` columns are the network's totals, the rest its runs'.

    `network`, the same rows as `nas.features.NetworkFeatures` sees them, adds models that know the choices:
    of use for what is not nearly linear in the work, such as accuracy.

    The half-width is the (n + 1) 0.9 / n quantile of the held-out errors of n rows in folds, as logarithms,
    so that about 90 % of new rows of the same kind are within it (cross-conformal; Barber et al. 2021,
    arXiv:1905.02928). Deterministic.

    Raises:
        ValueError: fewer than 20 rows, values that are not positive, or features that do not vary.
    """
    features, values = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(values) < MIN_ROWS:
        raise ValueError(f"{len(values)} rows are too few to fit a predictor; {MIN_ROWS} or more are needed")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("values to predict must be finite and above 0; leave out failed measurements")
    scaler = _scaler(features, values, num_totals)
    if not scaler.kept.any():
        raise ValueError("all rows have the same features, so nothing can be learned from them")
    rows, targets = scaler(features, network), values / scaler.scale
    members = fit_members(rows, targets)
    truth = np.log(targets)
    held_out = _held_out(members, rows, targets)
    shares = _best_shares(held_out, truth)
    level = min(1.0, np.ceil((len(rows) + 1) * COVERAGE) / len(rows))
    return Predictor(
        half_width=float(np.quantile(np.abs(truth - shares @ held_out), level, method="higher")),
        shares=shares,
        scaler=scaler,
        models=members,
        has_network=network is not None,
    )


def _held_out(members: tuple[Model, ...], rows: Rows, targets: Floats) -> Floats:
    """(members, N) logarithms, each of a model that did not see the row."""
    found = np.zeros((len(members), len(rows)))
    fold = np.random.default_rng(0).permutation(len(rows)) % NUM_FOLDS
    for number in range(NUM_FOLDS):
        seen, unseen = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        known, asked = rows.take(seen), rows.take(unseen)
        for index, member in enumerate(members):
            found[index, unseen] = member.refitted(known, targets[seen]).logs(asked)
    return found


def _best_shares(held_out: Floats, truth: Floats) -> Floats:
    """The shares with the least held-out error, clipped so that a few outliers do not choose them."""
    first = product(range(TENTHS + 1), repeat=len(held_out) - 1)
    grid = np.array([(*each, TENTHS - sum(each)) for each in first if sum(each) <= TENTHS]) / TENTHS
    errors = np.abs(truth - grid @ held_out)
    clipped = np.minimum(errors, 3.0 * np.median(errors, axis=1, keepdims=True))
    result: Floats = grid[int(np.argmin(clipped.mean(axis=1)))]
    return result
