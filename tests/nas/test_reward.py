"""Rewards: published values and laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.reward import EFFICIENTNETV2_REWARD, WeightedProduct, mnasnet_hard, mnasnet_soft

POSITIVE = st.floats(1e-3, 1e9)
ACCURACY = st.floats(0.01, 1.0)


def reward(accuracy: float, step_ms: float, params: float) -> float:
    value = EFFICIENTNETV2_REWARD({"accuracy": accuracy, "step_ms": step_ms, "params": params})
    assert value is not None
    return value


def test_doubled_costs_weigh_what_the_paper_says() -> None:
    """Tan & Le 2021, section 3.2: exponents -0.07 and -0.05, so 2 ** -0.07 and 2 ** -0.05."""
    base = reward(0.8, 10.0, 1e7)
    assert reward(0.8, 20.0, 1e7) / base == pytest.approx(0.952638, abs=1e-6)
    assert reward(0.8, 10.0, 2e7) / base == pytest.approx(0.965936, abs=1e-6)


def test_the_published_networks_rank_as_computed_from_table_7() -> None:
    """Accuracy, training hours and parameters of table 7; the reward falls as networks grow."""
    table = {
        "V2-S": (0.839, 7.1, 22e6),
        "B3": (0.815, 10.0, 12e6),
        "V2-M": (0.851, 13.0, 54e6),
        "B4": (0.829, 21.0, 19e6),
        "V2-L": (0.857, 24.0, 120e6),
        "B6": (0.843, 75.0, 43e6),
        "B7": (0.847, 139.0, 66e6),
    }
    ranked = sorted(table, key=lambda name: -reward(*table[name]))
    assert ranked == ["V2-S", "B3", "V2-M", "B4", "V2-L", "B6", "B7"]


@given(ACCURACY, POSITIVE, POSITIVE, ACCURACY, POSITIVE, POSITIVE, st.floats(0.1, 10.0))
def test_units_change_no_ranking(
    a: float, s: float, p: float, b: float, t: float, q: float, unit: float
) -> None:
    first, second = reward(a, s, p), reward(b, t, q)
    if abs(first - second) > 1e-9 * first:
        assert (first > second) == (reward(a, unit * s, p) > reward(b, unit * t, q))


@given(ACCURACY, POSITIVE, POSITIVE, st.floats(1.0, 100.0))
def test_slower_or_larger_never_scores_higher(a: float, s: float, p: float, factor: float) -> None:
    assert reward(a, factor * s, p) <= reward(a, s, p)
    assert reward(a, s, factor * p) <= reward(a, s, p)


@given(ACCURACY, st.floats(1.0, 200.0))
def test_mnasnets_forms_agree_at_the_target_and_differ_around_it(accuracy: float, target: float) -> None:
    soft, hard = mnasnet_soft("step_ms", target), mnasnet_hard("step_ms", target)
    at = {"accuracy": accuracy, "step_ms": target}
    assert soft(at) == pytest.approx(accuracy)
    assert hard(at) == pytest.approx(accuracy)
    within, beyond = ({"accuracy": accuracy, "step_ms": factor * target} for factor in (0.5, 2.0))
    assert hard(within) == pytest.approx(accuracy)
    assert hard(beyond) == pytest.approx(accuracy / 2.0)
    assert soft(within) == pytest.approx(accuracy * 2.0**0.07)
    assert soft(beyond) == pytest.approx(accuracy * 2.0**-0.07)


@pytest.mark.parametrize("missing", ["accuracy", "step_ms", "params"])
def test_a_missing_value_gives_no_reward(missing: str) -> None:
    values = {"accuracy": 0.5, "step_ms": 1.0, "params": 10.0}
    del values[missing]
    assert EFFICIENTNETV2_REWARD(values) is None


def test_a_cost_of_zero_gives_no_reward_rather_than_infinity() -> None:
    assert EFFICIENTNETV2_REWARD({"accuracy": 0.5, "step_ms": 0.0, "params": 10.0}) is None
    assert mnasnet_hard("step_ms", 5.0)({"accuracy": 0.5, "step_ms": 0.0}) is None


def test_weights_are_the_users() -> None:
    memory = WeightedProduct(exponents=(("peak_memory_bytes", -1.0),))
    assert memory({"accuracy": 0.5, "peak_memory_bytes": 4.0}) == pytest.approx(0.125)


def test_a_target_must_be_positive() -> None:
    with pytest.raises(ValueError, match="target of step_ms is 0"):
        mnasnet_soft("step_ms", 0.0)
