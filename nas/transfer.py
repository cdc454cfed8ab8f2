"""A predictor of one device carried to another by a few measurements there.

The other device's time is, first, a curve of the predicted time on this one: in proportion above a floor.
What is left depends on the mix of work, since devices differ in what they are good at. That is learned by a
Gaussian process whose kernel is what devices in general differ by: the spread of the times of many imagined
devices, each with its own price of multiply-adds, memory traffic and launches. So ten anchors suffice where a
model of its own needs a hundred.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.predictor import Prediction, Predictor
from search_spaces.workload import PHYSICAL_QUANTITIES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ANCHORS = 10
FEWEST_ANCHORS = 4
NUM_DEVICES = 64
PRICES = {"macs": 1.0, "elements": 1.0, "operations": 0.5, "weights": 0.3}
"""Typical shares of a network's time; a quantity that is not among them costs nothing."""
PRICE_SPREAD = 1.0
"""Standard deviation of the logarithm of a price, of the group's and again of the single quantity's."""
DEVICE_SPREAD = 0.04
"""How far two devices' times differ beyond the curve, root mean square over networks, as logarithms."""
SCATTER = 0.015
"""Of a measurement around all this, as a logarithm."""
LEVEL_SPREAD = 0.5
POWERS = (1.0, 2.0, 4.0)
IMPROVEMENT = 0.98
"""A curve with one more degree of freedom must leave less than this part of the error of a simpler one."""
COVERAGE = 0.9
TIME_WEIGHT = 1.0
LEVERAGE = 0.1


def choose_anchors(
    source: Predictor,
    features: Floats,
    count: int = MOST_ANCHORS,
    *,
    num_totals: int = len(PHYSICAL_QUANTITIES),
) -> Ints:
    """Rows of networks to measure on the other device, most telling first: each the least like those before.

    The likeness is a smooth kernel over the logarithms of the totals and of the predicted time; greedy choice
    of the largest posterior variance. Deterministic.

    Raises:
        ValueError: fewer networks than anchors.
    """
    if len(features) < count:
        raise ValueError(f"{count} anchors of {len(features)} networks; measure fewer, or name more networks")
    logs = np.log1p(features[:, :num_totals])
    logs = logs[:, logs.std(axis=0) > 1e-6]
    times = np.log(source.predict(features).values)
    columns = [_standard(logs) / max(logs.shape[1], 1) ** 0.5, TIME_WEIGHT * _standard(times[:, None])]
    rows = np.column_stack(columns)
    squared = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squared / (2.0 * float(np.median(squared)) + 1e-12))
    variance = kernel.diagonal().copy()
    chosen: list[int] = []
    explained = np.zeros((0, len(rows)))
    for _ in range(count):
        variance[chosen] = -1.0
        index = int(np.argmax(variance))
        chosen.append(index)
        left = kernel[index] - explained[:, index] @ explained
        left /= np.sqrt(max(left[index], 0.0) + LEVERAGE)
        explained = np.vstack([explained, left])
        variance = kernel.diagonal() - (explained**2).sum(axis=0)
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """time = (floor^power + (slope * source)^power)^(1 / power); without a floor, a ratio."""

    floor: float
    slope: float
    power: float

    def __call__(self, source: Floats) -> Floats:
        """Times on the other device."""
        powered = self.floor**self.power + (self.slope * source) ** self.power
        result: Floats = powered ** (1.0 / self.power)
        return result


def fit_curve(source: Floats, values: Floats) -> Curve:
    """The curve with the least error at anchors that it was not fitted to; a ratio where none is better."""
    best, least = _fitted(source, values, None), _left_out(source, values, None)
    for power in POWERS:
        error = _left_out(source, values, power)
        if error < IMPROVEMENT * least:
            best, least = _fitted(source, values, power), error
    return best


def _fitted(source: Floats, values: Floats, power: float | None) -> Curve:
    """Least squares of relative errors of the power, with neither floor nor slope below 0."""
    from scipy.optimize import nnls

    if power is None:
        return Curve(floor=0.0, slope=float(np.exp(np.median(np.log(values / source)))), power=1.0)
    design = np.column_stack([np.ones(len(source)), source**power]) / values[:, None] ** power
    scale = np.abs(design).max(axis=0)
    floor, slope = nnls(design / scale, np.ones(len(values)))[0] / scale
    return Curve(floor=float(floor) ** (1.0 / power), slope=float(slope) ** (1.0 / power), power=power)


def _left_out(source: Floats, values: Floats, power: float | None) -> float:
    errors = []
    for index in range(len(values)):
        kept = np.arange(len(values)) != index
        curve = _fitted(source[kept], values[kept], power)
        predicted = max(float(curve(source[index : index + 1])[0]), 1e-300)
        errors.append(abs(float(np.log(predicted / values[index]))))
    return float(np.minimum(errors, 3.0 * np.median(errors)).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginedDevices:
    """Prices of work on many devices, and what networks cost on them."""

    prices: Floats
    centre: Floats
    scale: float

    @classmethod
    def around(cls, totals: Floats) -> "ImaginedDevices":
        """Devices on which networks such as these spend their time in different ways. Deterministic."""
        rng = np.random.default_rng(0)
        groups = [name.partition(".")[0] for name in PHYSICAL_QUANTITIES]
        mean = totals.mean(axis=0)
        of_group = {
            group: sum(float(mean[i]) for i, each in enumerate(groups) if each == group) for group in groups
        }
        typical = np.array([PRICES.get(each, 0.0) / max(of_group[each], 1e-300) for each in groups])
        prices = []
        for _ in range(NUM_DEVICES):
            shared = {group: rng.normal() for group in PRICES}
            own = rng.normal(size=len(groups))
            logs = PRICE_SPREAD * (np.array([shared.get(each, 0.0) for each in groups]) + own)
            prices.append(typical * np.exp(logs))
        raw = cls(prices=np.array(prices).T, centre=np.zeros(NUM_DEVICES), scale=1.0)
        centred = cls(prices=raw.prices, centre=raw._logs(totals).mean(axis=0), scale=1.0)
        spread = float(np.sqrt((centred(totals) ** 2).sum(axis=1).mean()))
        return cls(prices=centred.prices, centre=centred.centre, scale=max(spread, 1e-12))

    def __call__(self, totals: Floats) -> Floats:
        """How each network's time departs from the others' on each device beside the devices' mean.

        Rows have unit length in the root mean square of the networks that the devices were imagined around.
        """
        centred = self._logs(totals) - self.centre
        result: Floats = (centred - centred.mean(axis=1, keepdims=True)) / self.scale
        return result

    def _logs(self, totals: Floats) -> Floats:
        result: Floats = np.log(np.maximum(totals @ self.prices, 1e-300))
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """A predictor of the other device; `half_width` is that of its intervals, in the logarithm."""

    source: Predictor
    curve: Curve
    devices: ImaginedDevices
    anchors: Floats
    weights: Floats
    half_width: float

    def predict(self, features: Floats) -> Prediction:
        """Times on the other device with intervals."""
        logs = np.log(self.curve(self.source.predict(features).values)) + _left(
            self.devices(_totals(features)), self.anchors, self.weights
        )
        return Prediction(
            values=np.exp(logs), low=np.exp(logs - self.half_width), high=np.exp(logs + self.half_width)
        )


def transfer(source: Predictor, features: Floats, values: Floats, *, known: Floats) -> Transferred:
    """Carry `source` over to the device on which networks of these features took `values`.

    `known` are the features that the source was fitted to. The half-width is Student's 95 % point times the
    root mean square error at anchors that were left out. Those are unlike each other on purpose, so that the
    interval is rather too wide; with ten of them it is uncertain itself.

    Raises:
        ValueError: fewer than 4 anchors, or values that are not positive.
    """
    features, values = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(values) < FEWEST_ANCHORS:
        raise ValueError(
            f"{len(values)} anchors are too few to transfer by; measure {FEWEST_ANCHORS} or more"
        )
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("times of anchors must be finite and above 0; leave out failed measurements")
    devices = ImaginedDevices.around(_totals(known))
    before = source.predict(features).values
    mixes = devices(_totals(features))
    curve, weights = _fit(before, mixes, values)
    errors = []
    for index in range(len(values)):
        kept = np.arange(len(values)) != index
        other, other_weights = _fit(before[kept], mixes[kept], values[kept])
        predicted = float(np.log(other(before[index : index + 1]))[0])
        predicted += float(_left(mixes[index : index + 1], mixes[kept], other_weights)[0])
        errors.append(abs(predicted - float(np.log(values[index]))))
    from scipy.stats import t as student

    spread = float(np.sqrt(np.mean(np.square(errors))))
    return Transferred(
        source=source,
        curve=curve,
        devices=devices,
        anchors=mixes,
        weights=weights,
        half_width=spread * float(student.ppf((1.0 + COVERAGE) / 2.0, len(values) - 1)),
    )


def _fit(before: Floats, mixes: Floats, values: Floats) -> tuple[Curve, Floats]:
    curve = fit_curve(before, values)
    left = np.log(values / np.maximum(curve(before), 1e-300))
    covariance = _covariance(mixes, mixes) + SCATTER**2 * np.eye(len(values))
    weights = np.asarray(np.linalg.solve(covariance, left), dtype=np.float64)
    return curve, weights


def _covariance(first: Floats, second: Floats) -> Floats:
    result: Floats = LEVEL_SPREAD**2 + DEVICE_SPREAD**2 * first @ second.T
    return result


def _left(mixes: Floats, anchors: Floats, weights: Floats) -> Floats:
    """What the mix of work adds to the logarithm of the curve."""
    result: Floats = _covariance(mixes, anchors) @ weights
    return result


def _totals(features: Floats) -> Floats:
    result: Floats = features[:, : len(PHYSICAL_QUANTITIES)]
    return result


def _standard(columns: Floats) -> Floats:
    result: Floats = (columns - columns.mean(axis=0)) / (columns.std(axis=0) + 1e-9)
    return result
