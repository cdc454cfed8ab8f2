"""What a stopped training would have come to, from the curves of complete ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.strategies.learning_curves import with_extrapolated_accuracy
from nas.strategies.protocol import Evaluation


def complete(then: float, end: float, step: int = 2) -> Evaluation:
    return Evaluation(
        index=0, genes=np.zeros(1), digest="c", values={"accuracy": end}, curve={step: then, 9: end}
    )


def stopped(then: float, step: int = 2) -> Evaluation:
    return Evaluation(
        index=1, genes=np.zeros(1), digest="s", values={"step_ms": 3.0}, ending="stopped", curve={step: then}
    )


def test_a_line_through_complete_curves_is_followed():
    known = [complete(then, 0.2 + 0.5 * then) for then in (0.1, 0.2, 0.3, 0.4, 0.5)]
    values = with_extrapolated_accuracy([*known, stopped(0.35)])
    assert values[-1] == {"step_ms": 3.0, "accuracy": pytest.approx(0.375)}
    assert values[:-1] == [each.values for each in known]


def test_one_strange_curve_does_not_matter():
    known = [complete(then, 0.2 + 0.5 * then) for then in (0.1, 0.2, 0.3, 0.4, 0.5)]
    values = with_extrapolated_accuracy([*known, complete(0.45, 0.01), stopped(0.35)])
    assert values[-1]["accuracy"] == pytest.approx(0.375, abs=0.02)


@pytest.mark.parametrize(
    "known",
    [
        [complete(0.1, 0.2)] * 3,
        [complete(0.1, 0.2, step=3)] * 9,
    ],
    ids=["too few", "another step"],
)
def test_where_nothing_can_be_said_the_accuracy_stays_unknown(known):
    assert "accuracy" not in with_extrapolated_accuracy([*known, stopped(0.35)])[-1]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_it_is_a_fraction_and_grows_with_the_curve(points, low, high):
    known = [complete(*point) for point in points]
    first, second = (
        with_extrapolated_accuracy([*known, stopped(then)])[-1]["accuracy"] for then in sorted((low, high))
    )
    assert 0.0 <= first <= second <= 1.0
