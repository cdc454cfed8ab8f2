"""How well a column of a table is predicted from a few of its rows, over random splits.

Three ways: a predictor fitted to the rows; a roofline, to which the rows give one scale factor and nothing
else; and a predictor of another column, fitted to the rows and carried over by a few anchors among them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.features import NetworkFeatures
from nas.predictor import COVERAGE, Prediction, fit_predictor
from nas.transfer import MOST_ANCHORS, choose_anchors, transfer
from proxies.estimates import profile_to_estimate, raw_seconds
from proxies.roofline import Mode
from results.table import Column, Table
from search_spaces.space import Space
from search_spaces.workload import PHYSICAL_QUANTITIES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MIN_TEST_ROWS = 10
NUM_TOTALS = len(PHYSICAL_QUANTITIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Mean over splits of what held-out rows say; errors and widths are fractions."""

    kendall_tau: float
    median_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionBench:
    """A predictor beside the bar it has to clear: time = a MACs + b elements, fitted to the same rows.

    `method` says how it came about. A transfer has a second bar, one ratio between the devices.
    """

    method: str
    column: str
    rows: int
    splits: int
    test_rows: int
    predictor: Accuracy
    coverage: float
    lowest_coverage: float
    half_width: float
    two_term: Accuracy
    others: dict[str, Accuracy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Positions among the rows of the column: those seen, and those to predict."""

    seen: Ints
    unseen: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Predictions for a split's unseen rows, and simpler ones by name to compare with."""

    prediction: Prediction
    others: dict[str, Floats] = field(default_factory=dict)


Method = Callable[[_Split], _Answer]


def bench_prediction(table: Table, space: Space, column: str, *, rows: int, splits: int) -> PredictionBench:
    """Fit on `rows` random rows, test on all others, `splits` times (split i is drawn from seed i).

    `coverage` is the fraction of held-out rows within their 90 % intervals, `half_width` half the mean
    relative width of those.

    Raises:
        TableError: see `results.table.Table.column`.
        ValueError: too few rows in the table or for the fit, or values that are not positive.
    """
    found = table.column(column)
    features = space.physical_features(table.genes[found.rows])

    network = NetworkFeatures(space)(table.genes[found.rows])

    def learned(split: _Split) -> _Answer:
        fitted = fit_predictor(
            features[split.seen],
            found.values[split.seen],
            num_totals=NUM_TOTALS,
            network=network.rows(split.seen),
        )
        return _Answer(prediction=fitted.predict(features[split.unseen], network.rows(split.unseen)))

    return _bench(table, found, features, learned, method="learned", rows=rows, splits=splits)


def bench_roofline(
    table: Table, space: Space, column: str, profile: str, *, rows: int, splits: int
) -> PredictionBench:
    """The roofline of a hardware profile, which is fitted to nothing; the rows give it one factor.

    The factor makes up for the batch and the software that the table's times are of. A column whose name has
    `inference` in it is of forward passes, any other of training steps.

    Raises:
        TableError, UnknownHardwareError: no such column or profile.
        ValueError: as `bench_prediction`, or the profile states no rates.
    """
    found = table.column(column)
    chosen, _ = profile_to_estimate(profile)
    mode: Mode = "inference" if "inference" in column else "training"
    estimated = np.array(
        [
            raw_seconds(
                space.decode(genes),
                chosen,
                resolution=space.resolution,
                batch_size=chosen.defaults.batch_size,
                precision=chosen.defaults.precision,
                mode=mode,
            )
            for genes in table.genes[found.rows]
        ]
    )

    def scaled(split: _Split) -> _Answer:
        ratios = np.log(found.values[split.seen] / estimated[split.seen])
        middle = float(np.median(ratios))
        width = float(np.quantile(np.abs(ratios - middle), COVERAGE, method="higher"))
        values = np.exp(middle) * estimated[split.unseen]
        return _Answer(
            prediction=Prediction(values=values, low=values * np.exp(-width), high=values * np.exp(width))
        )

    features = space.physical_features(table.genes[found.rows])
    method = f"roofline of {chosen.name}, {mode}"
    return _bench(table, found, features, scaled, method=method, rows=rows, splits=splits)


def bench_transfer(
    table: Table,
    space: Space,
    column: str,
    source: str,
    *,
    anchors: int = MOST_ANCHORS,
    rows: int,
    splits: int,
) -> PredictionBench:
    """A predictor of `source`, fitted to the rows, carried over to `column` by `anchors` of the same rows.

    Raises:
        TableError, ValueError: as `bench_prediction`, of both columns; or too few anchors.
    """
    target, other = table.column(column), table.column(source)
    both, positions, others = np.intersect1d(target.rows, other.rows, return_indices=True)
    found = Column(name=target.name, values=target.values[positions], rows=both)
    before = other.values[others]
    features = space.physical_features(table.genes[both])

    def carried(split: _Split) -> _Answer:
        known = features[split.seen]
        fitted = fit_predictor(known, before[split.seen], num_totals=NUM_TOTALS)
        chosen = split.seen[choose_anchors(fitted, known, anchors)]
        moved = transfer(fitted, features[chosen], found.values[chosen], known=known)
        ratio = np.median(found.values[chosen] / fitted.predict(features[chosen]).values)
        single = ratio * fitted.predict(features[split.unseen]).values
        return _Answer(prediction=moved.predict(features[split.unseen]), others={"single_ratio": single})

    method = f"{anchors} anchors from {other.name}"
    return _bench(table, found, features, carried, method=method, rows=rows, splits=splits)


def _bench(
    table: Table,
    found: Column,
    features: Floats,
    method_of: Method,
    *,
    method: str,
    rows: int,
    splits: int,
) -> PredictionBench:
    """Run a method over the splits and score it."""
    values = found.values
    if len(values) < rows + MIN_TEST_ROWS:
        raise ValueError(
            f"{table.path}: {found.name} has {len(values)} rows; {rows} to fit and {MIN_TEST_ROWS} or more"
            " to test are needed; ask for fewer with --rows"
        )
    if not (values > 0).all():
        raise ValueError(
            f"{table.path}: {found.name} has values that are not above 0; leave them out with --drop"
        )
    terms = _two_terms(features)
    scores: list[tuple[float, ...]] = []
    others: dict[str, list[tuple[float, float]]] = {}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(values))
        split = _Split(seen=order[:rows], unseen=order[rows:])
        truth = values[split.unseen]
        answer = method_of(split)
        predicted = answer.prediction
        simple = terms[split.unseen] @ _fit_two_terms(terms[split.seen], values[split.seen])
        inside = (predicted.low <= truth) & (truth <= predicted.high)
        width = (predicted.high - predicted.low) / (2.0 * predicted.values)
        scores.append((*_score(predicted.values, truth), inside.mean(), width.mean(), *_score(simple, truth)))
        for name, each in answer.others.items():
            others.setdefault(name, []).append(_score(each, truth))
    mean, lowest = np.mean(scores, axis=0).tolist(), np.min(scores, axis=0).tolist()
    return PredictionBench(
        method=method,
        column=found.name,
        rows=rows,
        splits=splits,
        test_rows=len(values) - rows,
        predictor=Accuracy(kendall_tau=mean[0], median_error=mean[1]),
        coverage=mean[2],
        lowest_coverage=lowest[2],
        half_width=mean[3],
        two_term=Accuracy(kendall_tau=mean[4], median_error=mean[5]),
        others={
            name: Accuracy(
                kendall_tau=float(np.mean([tau for tau, _ in each])),
                median_error=float(np.mean([error for _, error in each])),
            )
            for name, each in others.items()
        },
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
