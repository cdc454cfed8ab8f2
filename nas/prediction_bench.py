"""How well a column of a table is predicted from a few of its rows, over random splits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.predictor import fit_predictor
from results.table import Table
from search_spaces.space import Space
from search_spaces.workload import PHYSICAL_QUANTITIES

Floats = npt.NDArray[np.float64]
MIN_TEST_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Mean over splits of what held-out rows say; errors and widths are fractions."""

    kendall_tau: float
    median_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionBench:
    """A predictor beside the bar it has to clear: time = a MACs + b elements, fitted to the same rows."""

    column: str
    rows: int
    splits: int
    test_rows: int
    predictor: Accuracy
    coverage: float
    lowest_coverage: float
    half_width: float
    two_term: Accuracy


def bench_prediction(table: Table, space: Space, column: str, *, rows: int, splits: int) -> PredictionBench:
    """Fit on `rows` random rows, test on all others, `splits` times (split i is drawn from seed i).

    `coverage` is the fraction of held-out rows within their 90 % intervals, `half_width` half the mean
    relative width of those.

    Raises:
        TableError: see `results.table.Table.column`.
        ValueError: too few rows in the table or for the fit, or values that are not positive.
    """
    found = table.column(column)
    if len(found.values) < rows + MIN_TEST_ROWS:
        raise ValueError(
            f"{table.path}: {column} has {len(found.values)} rows; {rows} to fit and {MIN_TEST_ROWS} or more"
            " to test are needed; ask for fewer with --rows"
        )
    features, values = space.physical_features(table.genes[found.rows]), found.values
    terms = _two_terms(features)
    scores = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(values))
        seen, unseen = order[:rows], order[rows:]
        fitted = fit_predictor(features[seen], values[seen], num_totals=len(PHYSICAL_QUANTITIES))
        predicted, truth = fitted.predict(features[unseen]), values[unseen]
        simple = terms[unseen] @ _fit_two_terms(terms[seen], values[seen])
        inside = (predicted.low <= truth) & (truth <= predicted.high)
        width = (predicted.high - predicted.low) / (2.0 * predicted.values)
        scores.append(
            (*_score(predicted.values, truth), inside.mean(), width.mean(), *_score(simple, truth)),
        )
    mean, lowest = np.mean(scores, axis=0).tolist(), np.min(scores, axis=0).tolist()
    return PredictionBench(
        column=column,
        rows=rows,
        splits=splits,
        test_rows=len(values) - rows,
        predictor=Accuracy(kendall_tau=mean[0], median_error=mean[1]),
        coverage=mean[2],
        lowest_coverage=lowest[2],
        half_width=mean[3],
        two_term=Accuracy(kendall_tau=mean[4], median_error=mean[5]),
    )


def _two_terms(features: Floats) -> Floats:
    """Multiply-adds and elements of all kinds together."""
    columns = [
        [i for i, name in enumerate(PHYSICAL_QUANTITIES) if name.startswith(kind)]
        for kind in ("macs.", "elements.")
    ]
    return np.column_stack([features[:, kind].sum(axis=1) for kind in columns])


def _fit_two_terms(terms: Floats, values: Floats) -> Floats:
    """Least squares of relative errors with coefficients of at least 0."""
    from scipy.optimize import nnls

    scale = terms.max(axis=0)
    found, _ = nnls(terms / scale / values[:, None], np.ones(len(values)))
    result: Floats = found / scale
    return result


def _score(predicted: Floats, truth: Floats) -> tuple[float, float]:
    from scipy.stats import kendalltau

    tau = float(kendalltau(predicted, truth).statistic)
    return tau, float(np.median(np.abs(predicted / truth - 1.0)))
