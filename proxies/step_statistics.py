"""What a series of interleaved step times says: the ratio of two networks, its interval, its steadiness.

Pure functions of numbers. The unit is the *pair*: one time of the candidate and one of the reference, taken
next to each other. Whatever slows the machine slows both sides of a pair, so ratios stay where times wander:
on a contended machine the mean step time moved by 30 % between two runs and the median ratio by 0.7 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

Ratios = npt.NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
MIN_PAIRS = 6
"""Fewer pairs are never accepted. With 6, the whole range of the values covers the median with 97 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a series of pairs says. Times are medians in milliseconds; without `reasons` it is accepted."""

    pairs: int
    ratio: float
    ratio_low: float
    ratio_high: float
    half_width: float
    """Half the 95 % interval, relative to the ratio."""
    halves_difference: float
    """How far the medians of the first and of the second half are apart, relative to the ratio."""
    candidate_ms: float
    reference_ms: float
    reasons: tuple[str, ...]
    is_only_wide: bool = False
    """Whether the width of the interval is the only reason: more pairs would mend it."""


def judge(
    candidate_ms: Sequence[float],
    reference_ms: Sequence[float],
    *,
    tolerance: float,
    rng: np.random.Generator,
) -> Verdict:
    """Judge pairs in the order they were taken; `candidate_ms[i]` and `reference_ms[i]` are pair `i`.

    Accepted (no reasons) when there are at least `MIN_PAIRS`, the half-width of the interval is at most
    `tolerance`, and so is the difference between the halves.

    Raises:
        ValueError: no pairs, sides of unequal length, or a time that is not positive.
    """
    ratios = paired_ratios(candidate_ms, reference_ms)
    ratio = float(np.median(ratios))
    low, high = median_interval(ratios, rng)
    half_width = (high - low) / 2 / ratio
    difference = halves_difference(ratios)
    reasons = []
    if len(ratios) < MIN_PAIRS:
        reasons.append(f"only {len(ratios)} pairs of at least {MIN_PAIRS} fitted into the budget")
    if half_width > tolerance:
        reasons.append(f"the interval is ±{half_width:.1%} wide, more than ±{tolerance:.0%}")
    if difference > tolerance:
        reasons.append(f"the halves differ by {difference:.1%}, more than {tolerance:.0%}")
    return Verdict(
        pairs=len(ratios),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        half_width=half_width,
        halves_difference=difference,
        candidate_ms=median(candidate_ms),
        reference_ms=median(reference_ms),
        reasons=tuple(reasons),
        is_only_wide=half_width > tolerance and len(reasons) == 1,
    )


def paired_ratios(candidate_ms: Sequence[float], reference_ms: Sequence[float]) -> Ratios:
    """Candidate over reference, pair by pair.

    Raises:
        ValueError: no pairs, sides of unequal length, or a time that is not positive and finite.
    """
    candidate = np.asarray(candidate_ms, dtype=np.float64)
    reference = np.asarray(reference_ms, dtype=np.float64)
    if candidate.shape != reference.shape or candidate.ndim != 1 or not candidate.size:
        raise ValueError(
            f"{candidate.size} candidate times and {reference.size} reference times are not pairs"
        )
    times = np.concatenate([candidate, reference])
    if not (np.isfinite(times).all() and (times > 0).all()):
        raise ValueError("a step time is not positive; the clock does not advance")
    return candidate / reference


def median_interval(values: Ratios, rng: np.random.Generator) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of the median."""
    picks = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    medians = np.median(values[picks], axis=1)
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def halves_difference(values: Ratios) -> float:
    """|median of the first half - median of the second| over the median of all; 0 for a single value."""
    half = len(values) // 2
    if not half:
        return 0.0
    first, second = np.median(values[:half]), np.median(values[-half:])
    return float(abs(first - second) / np.median(values))


def is_steady(times_ms: Sequence[float], *, tolerance: float) -> bool:
    """Whether warm-up is over: the last quarter of the steps is not faster than the quarter before it.

    Lazy initialisation, autotuning and cold caches make early steps slow, so only a fall counts; steps that
    get slower are for the halves test to see.
    """
    quarter = len(times_ms) // 4
    if not quarter:
        return False
    before, last = median(times_ms[-2 * quarter : -quarter]), median(times_ms[-quarter:])
    return last >= before * (1 - tolerance)


def drift(reference_ms: float, baseline_ms: float) -> float:
    """How far the reference is from its baseline, relative to the baseline; positive is slower."""
    return reference_ms / baseline_ms - 1
