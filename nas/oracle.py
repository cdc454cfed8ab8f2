"""What stands for measuring when strategies are compared: a table of measured networks, or a model of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError
from results.pareto import Objective
from results.table import Table
from search_spaces.limits import COST_NAMES
from search_spaces.space import Genes, Space

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 50
HELD_OUT = 0.2
SKEWED = 2.0
"""A positive quantity whose largest value is this many times its median is modelled by its logarithm."""


class Oracle(Protocol):
    """Answers for networks as a measurement would, without noise."""

    space: Space

    def values(self, genes: Genes) -> dict[str, float] | None:
        """Every objective of one network; None where nothing is known of it."""

    def scatter(self, name: str) -> float:
        """The standard deviation of what the answers for a quantity leave unexplained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A model of one column, and how well it ranks rows that it has not seen."""

    model: Any
    is_logarithmic: bool
    kendall_tau: float
    scatter: float


class ModelOracle:
    """Gradient-boosted trees fitted to a table at run time; exact costs are counted, not modelled.

    Trees are no relative of what the strategies themselves fit. Single-threaded, and a function of the
    table alone.
    """

    def __init__(self, table: Table, space: Space, objectives: Sequence[Objective]) -> None:
        """Fit a model to each measured objective.

        Raises:
            ConfigError: fewer than 50 rows have a value.
            TableError: no such column.
        """
        self.space = space
        self._objectives = tuple(objectives)
        self.fits: dict[str, Fit] = {
            objective.name: self._fitted(table, objective.name)
            for objective in objectives
            if objective.name not in COST_NAMES
        }

    def values(self, genes: Genes) -> dict[str, float] | None:
        """The models' answers and the exact costs."""
        rows = self._inputs(genes[None])
        costs = self.space.costs(genes[None])
        found: dict[str, float] = {}
        for objective in self._objectives:
            if objective.name in COST_NAMES:
                found[objective.name] = float(getattr(costs, objective.name)[0])
            else:
                fit = self.fits[objective.name]
                value = float(fit.model.predict(rows)[0])
                found[objective.name] = float(np.exp(value)) if fit.is_logarithmic else value
        return found

    def scatter(self, name: str) -> float:
        """The standard deviation of the held-out errors, relative where the logarithm is modelled."""
        return self.fits[name].scatter if name in self.fits else 0.0

    def _inputs(self, genes: Genes) -> Floats:
        work = np.log1p(self.space.physical_features(genes))
        return np.concatenate([self.space.features(genes).astype(np.float64), work], axis=1)

    def _fitted(self, table: Table, name: str) -> Fit:
        from scipy.stats import kendalltau
        from sklearn.ensemble import GradientBoostingRegressor

        column = table.column(name) if name not in table.texts else table.written(name)
        if len(column.values) < FEWEST_ROWS:
            raise ConfigError(f"{name}: {len(column.values)} rows have a value; {FEWEST_ROWS} are needed")
        values = column.values
        is_logarithmic = bool((values > 0).all() and values.max() > SKEWED * np.median(values))
        targets = np.log(values) if is_logarithmic else values
        rows = self._inputs(table.genes[column.rows])

        def model() -> Any:
            return GradientBoostingRegressor(
                n_estimators=800,
                learning_rate=0.06,
                max_depth=3,
                subsample=0.5,
                max_features=0.3,
                random_state=0,
            )

        order = np.random.default_rng(0).permutation(len(values))
        seen, held_out = np.split(order, [round((1.0 - HELD_OUT) * len(values))])
        predicted = model().fit(rows[seen], targets[seen]).predict(rows[held_out])
        return Fit(
            model=model().fit(rows, targets),
            is_logarithmic=is_logarithmic,
            kendall_tau=float(kendalltau(predicted, targets[held_out]).statistic),
            scatter=float(np.std(predicted - targets[held_out])),
        )


class TableOracle:
    """The rows themselves: what is not in the table is not known."""

    def __init__(self, table: Table, space: Space, objectives: Sequence[Objective]) -> None:
        """Index the rows that have a value of every objective.

        Raises:
            ConfigError: there is no such row.
            TableError: no such column.
        """
        self.space = space
        self._values: dict[bytes, Mapping[str, float]] = {}
        costs = space.costs(table.genes)
        columns: dict[str, dict[int, float]] = {}
        for objective in objectives:
            if objective.name in COST_NAMES:
                exact = getattr(costs, objective.name)
                columns[objective.name] = {row: float(exact[row]) for row in range(len(table))}
            else:
                column = table.written(objective.name)
                columns[objective.name] = dict(zip(column.rows.tolist(), column.values.tolist(), strict=True))
        for row in range(len(table)):
            if all(row in column for column in columns.values()):
                known = {name: column[row] for name, column in columns.items()}
                self._values.setdefault(table.genes[row].tobytes(), known)
        if not self._values:
            raise ConfigError("no row of the table has a value of every objective")
        self.genes: Genes = np.stack([np.frombuffer(key, dtype=np.int64) for key in self._values])

    def values(self, genes: Genes) -> dict[str, float] | None:
        """The row of one network."""
        found = self._values.get(np.ascontiguousarray(genes, dtype=np.int64).tobytes())
        return dict(found) if found is not None else None

    def scatter(self, name: str) -> float:
        """Nothing is modelled."""
        return 0.0
