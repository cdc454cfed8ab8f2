import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.step_statistics import (
    MIN_PAIRS,
    drift,
    halves_difference,
    is_steady,
    judge,
    median_interval,
    paired_ratios,
)

TIMES = st.lists(st.floats(0.1, 1000.0), min_size=2, max_size=40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noisy(median_ms: float, pairs: int, *, noise: float = 0.02, seed: int = 0) -> list[float]:
    return list(median_ms * np.exp(noise * rng(seed).standard_normal(pairs)))


@settings(deadline=None, max_examples=50)
@given(times=TIMES, scale=st.floats(0.01, 100.0))
def test_what_slows_both_sides_leaves_the_ratio_and_its_interval(times, scale):
    """Law: a pair measured on a machine `scale` times slower is the same pair."""
    candidate, reference = times, times[::-1]
    slow = [time * scale for time in candidate], [time * scale for time in reference]
    one = judge(candidate, reference, tolerance=0.03, rng=rng())
    two = judge(*slow, tolerance=0.03, rng=rng())
    assert two.ratio == pytest.approx(one.ratio)
    assert (two.ratio_low, two.ratio_high) == pytest.approx((one.ratio_low, one.ratio_high))
    assert two.half_width == pytest.approx(one.half_width, abs=1e-9)
    assert two.reference_ms == pytest.approx(scale * one.reference_ms)


@settings(deadline=None, max_examples=50)
@given(times=TIMES, scale=st.floats(0.01, 100.0))
def test_a_slower_candidate_is_slower_by_its_factor(times, scale):
    """Law: scaling the candidate scales ratio and interval, and no judgement changes."""
    one = judge(times, times[::-1], tolerance=0.03, rng=rng())
    two = judge([time * scale for time in times], times[::-1], tolerance=0.03, rng=rng())
    assert two.ratio == pytest.approx(scale * one.ratio)
    assert two.half_width == pytest.approx(one.half_width, abs=1e-9)
    assert two.halves_difference == pytest.approx(one.halves_difference, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(times=TIMES)
def test_the_interval_holds_the_ratio_and_lies_within_the_values(times):
    ratios = paired_ratios(times, times[::-1])
    low, high = median_interval(ratios, rng())
    assert ratios.min() <= low <= np.median(ratios) <= high <= ratios.max()


def test_a_judgement_is_a_function_of_its_seed():
    series = noisy(20.0, 30, seed=1), noisy(10.0, 30, seed=2)
    assert judge(*series, tolerance=0.03, rng=rng(7)) == judge(*series, tolerance=0.03, rng=rng(7))


@pytest.mark.parametrize("pairs", [MIN_PAIRS, 25])
def test_the_interval_covers_the_truth_as_often_as_it_says(pairs):
    """On simulated pairs of true ratio 2 with 5 % noise; a 95 % interval that covers 90 to 99 % is honest."""

    def coverage(shrink: float) -> float:
        hits = 0
        for seed in range(300):
            ratios = np.exp(0.05 * rng(seed).standard_normal(pairs)) * 2.0
            low, high = median_interval(ratios, rng(seed))
            centre = (low + high) / 2
            hits += abs(centre - 2.0) <= (high - low) / 2 * shrink
        return hits / 300

    assert 0.90 <= coverage(1.0) <= 0.995
    assert coverage(0.5) < 0.85  # negative control: the test can fail


def test_stalls_in_one_step_of_twenty_hardly_move_the_ratio():
    """Law: a fivefold stall in 5 % of the steps of either side moves the median by less than 2 %."""
    pairs = 200
    candidate, reference = np.array(noisy(20.0, pairs, seed=1)), np.array(noisy(10.0, pairs, seed=2))
    calm = judge(candidate, reference, tolerance=0.03, rng=rng())
    for seed, side in enumerate((candidate, reference)):
        side[rng(seed + 3).random(pairs) < 0.05] *= 5
    stalled = judge(candidate, reference, tolerance=0.03, rng=rng())
    assert stalled.ratio == pytest.approx(calm.ratio, rel=0.02)
    assert stalled.reasons == ()
    assert np.mean(candidate) / np.mean(noisy(20.0, pairs, seed=1)) > 1.1  # the mean is moved a lot


def test_a_step_change_of_the_candidate_alone_is_seen_by_the_halves():
    factor = np.where(np.arange(40) < 20, 1.0, 1.05)
    candidate, reference = (
        np.array(noisy(20.0, 40, noise=0.002)),
        np.array(noisy(10.0, 40, noise=0.002, seed=1)),
    )
    changed = judge(candidate * factor, reference, tolerance=0.03, rng=rng())
    assert any("the halves differ by" in reason for reason in changed.reasons)
    together = judge(candidate * factor, reference * factor, tolerance=0.03, rng=rng())
    assert together.reasons == ()


def test_each_reason_is_given():
    wide = judge(noisy(20.0, 20, noise=0.5), [10.0] * 20, tolerance=0.03, rng=rng())
    assert any("the interval is ±" in reason and "more than ±3%" in reason for reason in wide.reasons)
    few = judge([20.0] * 3, [10.0] * 3, tolerance=0.03, rng=rng())
    assert few.reasons == (f"only 3 pairs of at least {MIN_PAIRS} fitted into the budget",)
    good = judge([20.0] * MIN_PAIRS, [10.0] * MIN_PAIRS, tolerance=0.03, rng=rng())
    assert (good.ratio, good.half_width, good.halves_difference, good.reasons) == (2.0, 0.0, 0.0, ())
    assert (good.candidate_ms, good.reference_ms, good.pairs) == (20.0, 10.0, MIN_PAIRS)


@pytest.mark.parametrize("sides", [([], []), ([1.0], []), ([1.0, 2.0], [1.0]), ([[1.0]], [[1.0]])])
def test_what_is_not_pairs_is_refused(sides):
    with pytest.raises(ValueError, match="are not pairs"):
        paired_ratios(*sides)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_no_time_is_refused(bad):
    with pytest.raises(ValueError, match="the clock does not advance"):
        paired_ratios([1.0, bad], [1.0, 1.0])


def test_halves_of_a_single_value_do_not_differ():
    assert halves_difference(np.array([1.5])) == 0.0
    assert halves_difference(np.array([1.0, 99.0, 3.0])) == pytest.approx(2.0 / 3.0)


def test_warm_up_is_over_when_steps_no_longer_get_faster():
    assert is_steady([50, 30, 12, 11, 10, 10, 10, 10], tolerance=0.05)
    assert not is_steady([50, 40, 30, 20, 15, 12, 10, 8], tolerance=0.05)
    assert is_steady([10, 10, 10, 10, 10, 10, 12, 12], tolerance=0.05)  # slower is not colder
    assert not is_steady([10, 10, 10], tolerance=0.05)


def test_drift_is_relative_to_the_baseline():
    assert drift(11.0, 10.0) == pytest.approx(0.1)
