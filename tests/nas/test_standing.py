"""The front so far equals the front of everything so far."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nas.objectives import parse_objectives
from nas.standing import Standing
from results.pareto import default_reference, hypervolume, non_dominated

OBJECTIVES = parse_objectives(["accuracy", "step_ms", "params"])
VALUE = st.integers(1, 6).map(float)
POINT = st.fixed_dictionaries({"accuracy": VALUE, "step_ms": VALUE, "params": VALUE})


@given(st.lists(POINT, min_size=1, max_size=20))
def test_it_is_the_front_of_all(points: list[dict[str, float]]) -> None:
    standing = Standing(OBJECTIVES)
    for count, point in enumerate(points, start=1):
        standing.add(point)
        seen = points[:count]
        expected = [seen[position] for position in non_dominated(seen, OBJECTIVES)]
        assert sorted(map(str, standing.front)) == sorted(map(str, expected))
        reference = default_reference(seen, OBJECTIVES)
        assert reference is not None
        assert np.isclose(standing.hypervolume() or 0.0, hypervolume(seen, OBJECTIVES, reference))


@given(st.lists(st.lists(POINT, max_size=6), max_size=5))
def test_several_at_once_are_as_one_after_another(batches: list[list[dict[str, float]]]) -> None:
    at_once, singly = Standing(OBJECTIVES), Standing(OBJECTIVES)
    for batch in batches:
        at_once.extend(batch)
        for point in batch:
            singly.add(point)
        assert at_once.measured == singly.measured
        assert sorted(map(str, at_once.front)) == sorted(map(str, singly.front))
        assert at_once.hypervolume() == singly.hypervolume()


def test_a_point_that_lacks_a_value_is_counted_but_not_on_the_front() -> None:
    standing = Standing(OBJECTIVES)
    standing.add({"accuracy": 0.5})
    assert standing.measured == 1
    assert standing.front == []
    assert standing.hypervolume() is None
