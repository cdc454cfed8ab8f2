"""What a predictor is stacked from: models that err differently, all of the logarithm of a quantity."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas.features import Features
from nas.gaussian_process import GaussianProcess
from nas.linear_model import LinearModel, fit_linear
from nas.smooth_process import START, SmoothProcess, fit_process

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RUN_PENALTY = 10.0
"""How much more a run's departure from the network's totals is penalised than the totals themselves."""
SHRINKAGES = 10.0 ** np.arange(-5.0, 2.1, 0.5)
TREND_SHRINKAGES = np.array([1e-5, 1e-3, 1e-1])
REFIT_ITERATIONS = 5
TREES, TREE_DEPTH, LEARNING_RATE, ROWS_OF_TREE, COLUMNS_OF_SPLIT = 100, 3, 0.08, 0.6, 0.2
OUTLIER = 4.0
"""What departs from the linear model by more than so many medians is taken to depart by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Networks as the members see them: work, standardised and as logarithms, and the space's features."""

    work: Floats
    logs: Floats
    num_totals: int
    network: Features | None

    def __len__(self) -> int:
        return len(self.work)

    def take(self, chosen: Ints) -> "Rows":
        """Those of some networks."""
        return Rows(
            work=self.work[chosen],
            logs=self.logs[chosen],
            num_totals=self.num_totals,
            network=None if self.network is None else self.network.rows(chosen),
        )


class Model(Protocol):
    """A fitted member."""

    def logs(self, rows: Rows) -> Floats:
        """Expected logarithms, (N,)."""

    def refitted(self, rows: Rows, targets: Floats) -> "Model":
        """The same settings, fitted to other rows; cheaper than the first fit."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Right where the device is linear in the work it does."""

    model: LinearModel

    @classmethod
    def fitted(cls, rows: Rows, targets: Floats, shrinkages: Floats = SHRINKAGES) -> "Linear":
        """Fit to rows and (N,) positive targets."""
        penalty = np.where(np.arange(rows.work.shape[1]) < rows.num_totals, 1.0, RUN_PENALTY)
        return cls(fit_linear(rows.work, targets, penalty, shrinkages * len(rows) / 100.0))

    def logs(self, rows: Rows) -> Floats:
        """See `Model`."""
        return self.model.log(rows.work)

    def refitted(self, rows: Rows, targets: Floats) -> "Linear":
        """See `Model`."""
        same = np.array([self.model.shrinkage]) * 100.0 / len(rows)
        return Linear.fitted(rows, targets, same)


@dataclass(frozen=True, slots=True)
class Smooth:
    """Learns where the device saturates."""

    process: SmoothProcess

    @classmethod
    def fitted(cls, rows: Rows, targets: Floats, start: Floats = START, iterations: int = 60) -> "Smooth":
        """Fit to rows and (N,) positive targets, from `start`."""
        return cls(fit_process(*_split(rows), np.log(targets), start, iterations))

    def logs(self, rows: Rows) -> Floats:
        """See `Model`."""
        return self.process.log(*_split(rows))

    def refitted(self, rows: Rows, targets: Floats) -> "Smooth":
        """See `Model`."""
        return Smooth.fitted(rows, targets, self.process.parameters, REFIT_ITERATIONS)


@dataclass(frozen=True, slots=True)
class Boosted:
    """Shallow trees on what the linear model leaves: thresholds, such as widths that a unit pads to."""

    linear: Linear
    trees: Any

    @classmethod
    def fitted(cls, rows: Rows, targets: Floats, linear: Linear) -> "Boosted":
        """Fit to what `linear` leaves of the rows' targets. Deterministic."""
        from sklearn.ensemble import GradientBoostingRegressor

        trees = GradientBoostingRegressor(
            n_estimators=TREES,
            max_depth=TREE_DEPTH,
            learning_rate=LEARNING_RATE,
            subsample=ROWS_OF_TREE,
            max_features=COLUMNS_OF_SPLIT,
            random_state=0,
        )
        left = np.log(targets) - linear.logs(rows)
        bound = OUTLIER * float(np.median(np.abs(left)))
        return cls(linear, trees.fit(_trees_see(rows), np.clip(left, -bound, bound)))

    def logs(self, rows: Rows) -> Floats:
        """See `Model`."""
        left: Floats = self.trees.predict(_trees_see(rows))
        return self.linear.logs(rows) + left

    def refitted(self, rows: Rows, targets: Floats) -> "Boosted":
        """See `Model`."""
        return Boosted.fitted(rows, targets, self.linear.refitted(rows, targets))


@dataclass(frozen=True, slots=True)
class OfNetwork:
    """The search's own Gaussian process over choices and work, of the logarithm or of what a trend leaves."""

    process: GaussianProcess
    trend: LinearModel | None

    @classmethod
    def fitted(
        cls, rows: Rows, targets: Floats, *, has_trend: bool, shrinkages: Floats = TREND_SHRINKAGES
    ) -> "OfNetwork":
        """Fit to rows that have network features, and (N,) positive targets."""
        seen, left, trend = _network(rows), np.log(targets), None
        if has_trend:
            penalty = np.ones(seen.totals.shape[1])
            trend = fit_linear(seen.totals, targets, penalty, shrinkages * len(targets))
            left = left - trend.log(seen.totals)
        return cls(GaussianProcess(seen, left), trend)

    def logs(self, rows: Rows) -> Floats:
        """See `Model`."""
        seen = _network(rows)
        found = self.process.mean(seen)
        return found if self.trend is None else found + self.trend.log(seen.totals)

    def refitted(self, rows: Rows, targets: Floats) -> "OfNetwork":
        """See `Model`."""
        seen, left, trend = _network(rows), np.log(targets), None
        if self.trend is not None:
            penalty = np.ones(seen.totals.shape[1])
            trend = fit_linear(seen.totals, targets, penalty, np.array([self.trend.shrinkage]))
            left = left - trend.log(seen.totals)
        return OfNetwork(self.process.refitted(seen, left), trend)


def fit_members(rows: Rows, targets: Floats) -> tuple[Model, ...]:
    """Every member that the rows have features for."""
    linear = Linear.fitted(rows, targets)
    members: tuple[Model, ...] = (linear, Smooth.fitted(rows, targets))
    if rows.network is None:
        return members
    return (
        *members,
        Boosted.fitted(rows, targets, linear),
        OfNetwork.fitted(rows, targets, has_trend=False),
        OfNetwork.fitted(rows, targets, has_trend=True),
    )


def _network(rows: Rows) -> Features:
    assert rows.network is not None
    return rows.network


def _trees_see(rows: Rows) -> Floats:
    return np.column_stack([rows.logs, _network(rows).choices])


def _split(rows: Rows) -> tuple[Floats, Floats]:
    """Totals and runs' quantities, each scaled so that rows have about unit length."""
    totals, runs = rows.work[:, : rows.num_totals], rows.work[:, rows.num_totals :]
    return totals / max(totals.shape[1], 1) ** 0.5, runs / max(runs.shape[1], 1) ** 0.5
