"""A learned predictor of a positive quantity (step time, latency) from physical features, with intervals.

Two models that err differently are averaged in the logarithm: a robust linear one, right where the device
is linear in the work it does, and a Gaussian process, which learns where it saturates. The share of each, and
the width of the interval, come from predictions for rows that were held out of the fit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MIN_ROWS = 20
NUM_FOLDS = 8
COVERAGE = 0.9
RUN_PENALTY = 10.0
"""How much more a run's departure from the network's totals is penalised than the totals themselves."""
HUBER = 1.5
SHRINKAGES = 10.0 ** np.arange(-5.0, 2.1, 0.5)
SHARES = np.linspace(0.0, 1.0, 11)
SMALLEST = 1e-3
"""No prediction is below this part of the mean of the fitted values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Predicted values with the ends of their intervals; no measurement, and never stored as one."""

    values: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Ridge with Huber's loss on relative errors: squared errors weighted by 1 / value^2, outliers less."""

    shrinkage: float
    coefficients: Floats

    def log(self, rows: Floats) -> Floats:
        """The logarithms of the predicted values, which are positive."""
        values = self.coefficients[0] + rows @ self.coefficients[1:]
        result: Floats = np.log(np.maximum(values, SMALLEST))
        return result


def fit_linear(rows: Floats, values: Floats, penalty: Floats, shrinkages: Floats) -> LinearModel:
    """The shrinkage with the least leave-one-out error, clipped so that a few outliers do not choose it."""
    design = np.column_stack([np.ones(len(rows)), rows])
    best: tuple[float, float, Floats] | None = None
    for shrinkage in shrinkages.tolist():
        weights = base = 1.0 / values**2
        ridge = np.diag(np.concatenate([[1e-9], penalty * shrinkage]))
        for _ in range(8):
            hat = np.linalg.solve(
                design.T @ (design * weights[:, None]) + ridge, (design * weights[:, None]).T
            )
            coefficients = hat @ values
            errors = np.abs(values - design @ coefficients) * np.sqrt(base)
            spread = 1.4826 * float(np.median(errors)) + 1e-12
            weights = base * np.minimum(1.0, HUBER * spread / np.maximum(errors, 1e-12))
        leverage = np.einsum("ij,ji->i", design, hat)
        left_out = errors / (1.0 - np.minimum(leverage, 0.99))
        score = float(np.minimum(left_out, 3.0 * np.median(left_out)).mean())
        if best is None or score < best[0]:
            best = (score, shrinkage, coefficients)
    assert best is not None
    return LinearModel(shrinkage=best[1], coefficients=best[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """Gaussian process of the logarithm: linear and smooth in totals, and in the runs' quantities."""

    parameters: Floats
    totals: Floats
    runs: Floats
    offset: float
    weights: Floats

    def log(self, totals: Floats, runs: Floats) -> Floats:
        kernel = _kernel(self.parameters, _products(totals, runs, self.totals, self.runs))
        result: Floats = self.offset + kernel @ self.weights
        return result


def _products(totals: Floats, runs: Floats, to_totals: Floats, to_runs: Floats) -> tuple[Floats, ...]:
    def squared(left: Floats, right: Floats) -> Floats:
        distance = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2.0 * left @ right.T
        result: Floats = np.maximum(distance, 0.0)
        return result

    return totals @ to_totals.T, runs @ to_runs.T, squared(totals, to_totals), squared(runs, to_runs)


def _kernel(parameters: Floats, products: tuple[Floats, ...]) -> Floats:
    """Parameters are logarithms: linear scales of totals and runs, smooth scale and length of each, noise."""
    linear, run_linear, smooth, length, run_smooth, run_length, _ = np.exp(parameters)
    totals, runs, distance, run_distance = products
    result: Floats = (
        linear * totals
        + run_linear * runs
        + smooth * np.exp(-distance / (2.0 * length**2))
        + run_smooth * np.exp(-run_distance / (2.0 * run_length**2))
    )
    return result


START = np.array([-1.0, -3.0, -2.0, 1.0, -3.0, 1.0, -6.0])
BOUNDS = [(-12.0, 4.0)] * 6 + [(-14.0, 0.0)]


def _fit_process(
    totals: Floats, runs: Floats, logs: Floats, start: Floats = START, iterations: int = 60
) -> _Process:
    """The parameters of the greatest marginal likelihood, from `start`, under a weak prior around 1."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.optimize import minimize

    products = _products(totals, runs, totals, runs)
    offset = float(logs.mean())
    centred = logs - offset

    def noisy(parameters: Floats) -> Floats:
        noise: Floats = (np.exp(parameters[-1]) + 1e-8) * np.eye(len(logs))
        return _kernel(parameters, products) + noise

    def objective(parameters: Floats) -> float:
        try:
            factor = cho_factor(noisy(parameters), lower=True)
        except LinAlgError:
            return 1e6
        fit = 0.5 * float(centred @ cho_solve(factor, centred))
        return fit + float(np.log(np.diag(factor[0])).sum()) + 0.002 * float((parameters**2).sum())

    found = minimize(objective, start, method="L-BFGS-B", bounds=BOUNDS, options={"maxiter": iterations})
    parameters: Floats = np.asarray(found.x if iterations else start)
    weights = cho_solve(cho_factor(noisy(parameters), lower=True), centred)
    return _Process(parameters=parameters, totals=totals, runs=runs, offset=offset, weights=weights)


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A fitted predictor; `half_width` is that of its intervals, in the logarithm (0.02: about 2 %)."""

    half_width: float
    share: float
    """Of the linear model in the mean of the two."""
    scaler: Any
    models: tuple[LinearModel, _Process]

    def predict(self, features: Floats) -> Prediction:
        """Values and intervals for rows of the features that the fit saw."""
        logs = _mixed(self.share, *_logs(self.models, self.scaler(features), self.scaler.num_totals))
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

    def __call__(self, features: Floats) -> Floats:
        result: Floats = (features[:, self.kept] - self.mean) / self.deviation
        return result


def _scaler(features: Floats, values: Floats, num_totals: int) -> _Scaler:
    kept = features.std(axis=0) > 1e-9 * (1.0 + np.abs(features).max(axis=0))
    return _Scaler(
        kept=kept,
        mean=features[:, kept].mean(axis=0),
        deviation=features[:, kept].std(axis=0),
        num_totals=int(kept[:num_totals].sum()),
        scale=float(values.mean()),
    )


def _logs(models: tuple[LinearModel, _Process], rows: Floats, num_totals: int) -> tuple[Floats, Floats]:
    linear, process = models
    return linear.log(rows), process.log(*_split(rows, num_totals))


def _split(rows: Floats, num_totals: int) -> tuple[Floats, Floats]:
    """Totals and runs' quantities, each scaled so that rows have about unit length."""
    totals, runs = rows[:, :num_totals], rows[:, num_totals:]
    return totals / max(totals.shape[1], 1) ** 0.5, runs / max(runs.shape[1], 1) ** 0.5


def _mixed(share: float, linear: Floats, process: Floats) -> Floats:
    return share * linear + (1.0 - share) * process


def fit_predictor(features: Floats, values: Floats, *, num_totals: int) -> Predictor:
    """Fit on measured rows; the first `num_totals` columns are the network's totals, the rest its runs'.

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
    rows, targets = scaler(features), values / scaler.scale
    penalty = np.where(np.arange(rows.shape[1]) < scaler.num_totals, 1.0, RUN_PENALTY)
    linear = fit_linear(rows, targets, penalty, SHRINKAGES * len(rows) / 100.0)
    process = _fit_process(*_split(rows, scaler.num_totals), np.log(targets))

    held_out = np.zeros((2, len(rows)))
    fold = np.random.default_rng(0).permutation(len(rows)) % NUM_FOLDS
    for number in range(NUM_FOLDS):
        seen = fold != number
        models = (
            fit_linear(rows[seen], targets[seen], penalty, np.array([linear.shrinkage])),
            _fit_process(
                *_split(rows[seen], scaler.num_totals), np.log(targets[seen]), process.parameters, 5
            ),
        )
        held_out[:, ~seen] = _logs(models, rows[~seen], scaler.num_totals)
    truth = np.log(targets)
    errors = [np.abs(truth - _mixed(share, *held_out)) for share in SHARES]
    best = int(np.argmin([np.minimum(error, 3.0 * np.median(error)).mean() for error in errors]))
    level = min(1.0, np.ceil((len(rows) + 1) * COVERAGE) / len(rows))
    return Predictor(
        half_width=float(np.quantile(errors[best], level, method="higher")),
        share=float(SHARES[best]),
        scaler=scaler,
        models=(linear, process),
    )
