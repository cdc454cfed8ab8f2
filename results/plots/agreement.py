"""Plots of how well one run's numbers foretell another's: a cheap proxy against a better one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from results.errors import RunError
from results.plots.chart import Chart
from results.plots.marks import Axis, Panel, Points
from results.quantities import quantity
from results.run import Run

MIN_SHARED = 5
RESAMPLES = 1000
MAX_RESAMPLED = 1000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Kendall's tau-b of two lists of numbers of the same networks, with a 95 % bootstrap interval.

    1: the same order; 0: unrelated; -1: the opposite order. None where a list does not vary.
    """

    tau: float | None
    low: float | None
    high: float | None
    count: int


def agreement(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Agreement:
    """How far two measurements rank the same networks alike."""
    from scipy.stats import kendalltau

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(a) < 2 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return Agreement(tau=None, low=None, high=None, count=len(a))
    low, high = _interval(a, b, np.random.default_rng(seed))
    return Agreement(tau=float(kendalltau(a, b).statistic), low=low, high=high, count=len(a))


def _interval(first: Floats, second: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of tau-b, at most `MAX_RESAMPLED` networks a time.

    With the signs S of all differences, tau-b is S1 : S2 over the norms of both; a network that is drawn c
    times counts c times in each sum.
    """
    if len(first) > MAX_RESAMPLED:  # of fewer networks the interval is wider, so this errs on the safe side
        kept = rng.choice(len(first), MAX_RESAMPLED, replace=False)
        first, second = first[kept], second[kept]
    signs = [np.sign(values[:, None] - values[None]) for values in (first, second)]
    counts = rng.multinomial(len(first), [1 / len(first)] * len(first), size=RESAMPLES).astype(np.float64)

    def summed(matrix: Floats) -> Floats:
        total: Floats = ((counts @ matrix) * counts).sum(axis=1)
        return total

    norms = np.sqrt(summed(signs[0] ** 2) * summed(signs[1] ** 2))
    ranked = norms > 0.0  # a resample in which one side is constant ranks nothing
    taus = summed(signs[0] * signs[1])[ranked] / norms[ranked]
    low, high = np.quantile(taus, [0.025, 0.975])
    return float(low), float(high)


def correlation(cheap: Run, costly: Run, metric: str = "accuracy") -> Chart:
    """A quantity as two runs measured it, for the networks that both measured, with Kendall's tau.

    The runs may differ in their proxies: that is what is asked here.

    Raises:
        RunError: they share fewer than five networks that have it.
    """
    others = {each.digest: each for each in costly.candidates() if each.is_measured}
    shared = [
        (each, here, there)
        for each in cheap.candidates()
        if each.is_measured
        and each.digest in others
        and (here := each.value(metric)) is not None
        and (there := others[each.digest].value(metric)) is not None
    ]
    if len(shared) < MIN_SHARED:
        raise RunError(
            f"{cheap.name} and {costly.name} share {len(shared)} networks with {metric}, of at least"
            f" {MIN_SHARED}; search the same space with the same seed"
        )
    across, up = [here for _, here, _ in shared], [there for _, _, there in shared]
    found = agreement(across, up)
    told = (
        "no rank correlation: one side does not vary"
        if found.tau is None
        else f"Kendall's tau {found.tau:.2f} (95 % interval {found.low:.2f} to {found.high:.2f})"
    )
    title = quantity(metric).title
    return Chart(
        title=f"{quantity(metric).label} in {cheap.name} and in {costly.name}",
        panels=(
            Panel(
                x=Axis(title=f"{title} in {cheap.name}"),
                y=Axis(title=f"{title} in {costly.name}"),
                marks=(
                    Points(
                        label=f"{len(shared)} networks",
                        x=across,
                        y=up,
                        texts=[f"candidate {each.id} of {cheap.name}" for each, _, _ in shared],
                    ),
                ),
            ),
        ),
        note=f"{told}, {found.count} networks that both measured",
    )
