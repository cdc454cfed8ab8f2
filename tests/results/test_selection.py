"""Which network is taken from a front."""

import math

import pytest
from given import result
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW

from nas.reward import WeightedProduct
from results.pareto import Objective, non_dominated
from results.selection import highest_reward, knee, within

TWO = (Objective.parse("accuracy"), Objective.parse("step_ms"))
THREE = (*TWO, Objective.parse("peak_memory_bytes"))


def front_of(points):
    return [result(i, accuracy=a, step_ms=s) for i, (a, s) in enumerate(points, 1)]


@pytest.mark.parametrize(
    ("points", "taken"),
    [
        ([(0.5, 10.0), (0.8, 12.0), (0.82, 30.0)], 2),  # the bend
        ([(0.5, 10.0), (0.52, 28.0), (0.82, 30.0)], 1),  # bent the other way: an end is better
        ([(0.5, 10.0)], 1),
        ([(0.5, 10.0), (0.5, 10.0)], 1),
        ([], None),
    ],
)
def test_the_knee_by_hand(points, taken):
    found = knee(front_of(points), TWO)
    assert (found and found.id) == taken


def test_the_knee_is_farthest_beyond_the_line_between_the_ends():
    points = [(math.sqrt(x), 10.0 + 90.0 * x) for x in (0.0, 0.05, 0.2, 0.25, 0.3, 0.6, 1.0)]
    # Scaled, the front is y = sqrt(x), whose distance from y = x is greatest at x = 1/4.
    assert knee(front_of(points), TWO).id == 4


@LAW
@given(
    st.lists(st.tuples(*[st.integers(0, 50)] * 3), min_size=1, max_size=10),
    st.tuples(*[st.sampled_from([0.25, 1.0, 8.0])] * 3),
    st.tuples(*[st.integers(0, 64)] * 3),
)
def test_scale_and_shift_do_not_move_the_knee_and_it_is_a_member(points, scales, shifts):
    def made(scaled):
        names = [objective.name for objective in THREE]
        return [
            result(i, **dict(zip(names, map(float, values), strict=True)))
            for i, values in enumerate(scaled, 1)
        ]

    plain = made(points)
    moved = made([[v * s + d for v, s, d in zip(p, scales, shifts, strict=True)] for p in points])
    kept = non_dominated([each.metrics for each in plain], THREE)
    before = knee([plain[i] for i in kept], THREE)
    after = knee([moved[i] for i in kept], THREE)
    assert before.id == after.id


def test_a_member_without_an_objective_is_refused_by_name():
    with pytest.raises(ValueError, match=r"candidate 1 has no step_ms; .*measured: accuracy"):
        knee([result(1, accuracy=0.5)], TWO)


def test_limits_are_the_worst_that_is_good_enough():
    results = [*front_of([(0.5, 10.0), (0.8, 20.0), (0.9, 30.0)]), result(4, accuracy=0.99)]
    assert [each.id for each in within(results, {"step_ms": 20.0}, TWO)] == [1, 2]
    assert [each.id for each in within(results, {"accuracy": 0.8}, TWO)] == [2, 3, 4]
    assert [each.id for each in within(results, {"accuracy": 0.8, "step_ms": 25}, TWO)] == [2]
    assert [each.id for each in within(results, {"params": 2000}, TWO)] == [1, 2]
    assert len(within(results, {}, TWO)) == 4


@pytest.mark.parametrize(
    ("limit", "text"),
    [({"step_ms": math.nan}, "limit of step_ms is nan"), ({"f1": 0.5}, "f1.*write f1:max or f1:min")],
)
def test_a_limit_that_says_nothing_is_refused(limit, text):
    with pytest.raises(ValueError, match=text):
        within([], limit, TWO)


def test_a_limit_takes_the_direction_of_the_run_s_own_objective():
    slow_is_good = (Objective.parse("step_ms:max"),)
    assert [
        each.id for each in within(front_of([(0.5, 10.0), (0.8, 20.0)]), {"step_ms": 15}, slow_is_good)
    ] == [2]


def test_rewards_of_the_public_face_take_candidates():
    results = front_of([(0.5, 10.0), (0.8, 20.0), (0.81, 3000.0)])
    assert highest_reward(results, WeightedProduct(exponents=(("step_ms", -0.07),))).id == 2
    assert highest_reward([*results, result(9)], WeightedProduct(exponents=(("step_ms", -9.0),))).id == 1
