"""Laws of fronts and hypervolume, and their agreement with independent implementations."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW

from results.pareto import (
    DEFAULT_OBJECTIVES,
    Objective,
    default_reference,
    dominates,
    hypervolume,
    non_dominated,
)

NAMES = ("a", "b", "c", "d")
# Few distinct values, so that ties and duplicates are common; quarters, so that scaling is exact.
VALUE = st.one_of(st.none(), st.integers(-20, 20).map(lambda n: n / 4))
KNOWN = st.integers(-20, 20).map(lambda n: n / 4)


@st.composite
def problems(draw, value=VALUE, max_points=12):
    count = draw(st.integers(1, len(NAMES)))
    directions = draw(st.lists(st.sampled_from(["maximize", "minimize"]), min_size=count, max_size=count))
    objectives = [Objective(name=n, direction=d) for n, d in zip(NAMES, directions, strict=False)]
    names = NAMES[:count]
    points = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, value)), max_size=max_points))
    return points, objectives


def corner_of(objectives):
    """Worse than every value that is drawn."""
    return {o.name: -10.0 if o.direction == "maximize" else 10.0 for o in objectives}


@LAW
@given(problems())
def test_members_do_not_dominate_one_another_and_dominate_everyone_else(problem):
    points, objectives = problem
    front = set(non_dominated(points, objectives))
    for i, point in enumerate(points):
        is_dominated = any(dominates(points[j], point, objectives) for j in front)
        complete = all(point[o.name] is not None for o in objectives)
        assert (i in front) == (complete and not is_dominated)
    assert bool(front) == any(None not in p.values() for p in points)


@LAW
@given(problems(), st.randoms(use_true_random=False), st.integers(-3, 3))
def test_order_and_scale_do_not_matter(problem, random, exponent):
    points, objectives = problem
    front = set(non_dominated(points, objectives))

    order = list(range(len(points)))
    random.shuffle(order)
    shuffled = non_dominated([points[i] for i in order], objectives)
    assert {order[i] for i in shuffled} == front
    assert list(shuffled) == sorted(shuffled)

    first = objectives[0].name
    scaled = [p | {first: None if p[first] is None else p[first] * 2.0**exponent} for p in points]
    assert set(non_dominated(scaled, objectives)) == front


@LAW
@given(problems(KNOWN, max_points=8), st.integers(-3, 3))
def test_hypervolume_scales_with_its_unit_and_grows_with_points(problem, exponent):
    points, objectives = problem
    corner = corner_of(objectives)
    volumes = [hypervolume(points[:count], objectives, corner) for count in range(len(points) + 1)]
    assert volumes[0] == 0.0
    assert all(after >= before - 1e-9 for before, after in pairwise(volumes))

    front = [points[i] for i in non_dominated(points, objectives)]
    assert hypervolume(front, objectives, corner) == pytest.approx(volumes[-1])

    scale, first = 2.0**exponent, objectives[0].name
    scaled = [p | {first: p[first] * scale} for p in points]
    assert hypervolume(scaled, objectives, corner | {first: corner[first] * scale}) == pytest.approx(
        volumes[-1] * scale
    )


@LAW
@given(st.lists(st.tuples(KNOWN, KNOWN), max_size=12), st.sampled_from(["maximize", "minimize"]))
def test_two_objectives_agree_with_a_sort_and_a_sum(pairs, direction):
    objectives = [Objective(name="a", direction=direction), Objective(name="b", direction="minimize")]
    corner = corner_of(objectives)
    sign = -1 if direction == "maximize" else 1
    area, best_b = 0.0, corner["b"]
    for loss, b in sorted((sign * a, b) for a, b in pairs):
        area += max(sign * corner["a"] - loss, 0.0) * max(best_b - b, 0.0)
        best_b = min(best_b, b)
    points = [{"a": a, "b": b} for a, b in pairs]
    assert hypervolume(points, objectives, corner) == pytest.approx(area)


@LAW
@given(problems())
def test_the_default_reference_is_at_least_as_bad_as_every_complete_point(problem):
    points, objectives = problem
    corner = default_reference(points, objectives)
    complete = [p for p in points if None not in p.values()]
    assert (corner is None) == (not complete)
    for point in complete:
        assert not dominates(corner, point, objectives)
        assert all(o.sign * corner[o.name] >= o.sign * point[o.name] for o in objectives)


def test_equal_points_are_all_members():
    points = [{"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 2.0}]
    objectives = [Objective.parse("a:min"), Objective.parse("b:min")]
    assert non_dominated(points, objectives) == (0, 1)


def test_values_that_make_no_sense_are_refused():
    cost = Objective.parse("a:min")
    with pytest.raises(ValueError, match="a is nan"):
        non_dominated([{"a": math.nan}], [cost])
    with pytest.raises(ValueError, match="at least one objective"):
        non_dominated([{"a": 1.0}], [])
    with pytest.raises(ValueError, match="named once"):
        non_dominated([{"a": 1.0}], [cost, cost])
    with pytest.raises(ValueError, match="lacks a"):
        hypervolume([{"a": 1.0}], [cost], {"b": 1.0})


def test_the_default_reference_by_example():
    points = [
        {"accuracy": 0.5, "step_ms": 40.0, "params": 10},
        {"accuracy": 0.9, "step_ms": 20.0, "params": 30},
    ]
    reference = default_reference(points, DEFAULT_OBJECTIVES)
    assert reference == pytest.approx({"accuracy": 0.0, "step_ms": 44.0, "params": 33.0})


@pytest.mark.parametrize("text", ["accuracy", "step_ms", "f1:max", "loss: minimize"])
def test_an_objective_reads_back_from_its_text(text):
    objective = Objective.parse(text)
    assert Objective.parse(str(objective)) == objective


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step_m", "did you mean step_ms"),
        ("f1", "write f1:max or f1:min"),
        ("f1:up", "not maximize or minimize"),
        (":max", "not a name"),
    ],
)
def test_an_objective_that_cannot_be_read_says_why(text, message):
    with pytest.raises(ValueError, match=message):
        Objective.parse(text)
