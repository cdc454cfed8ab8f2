"""How a front came about."""

import pytest
from given import result
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW

from results.entries import Span
from results.pareto import Objective, hypervolume, non_dominated
from results.timeline import searched_seconds, timeline

OBJECTIVES = (Objective.parse("accuracy"), Objective.parse("step_ms"))
CORNER = {"accuracy": 0.0, "step_ms": 40.0}


@LAW
@given(
    st.lists(
        st.tuples(
            st.integers(0, 8).map(lambda n: n / 8),
            st.integers(1, 50).map(float),
            st.sampled_from(["ok", "unstable", "oom", "pending", "skipped"]),
        ),
        max_size=12,
    )
)
def test_every_moment_is_what_the_front_was_then(drawn):
    results = [result(i, status=s, accuracy=a, step_ms=t) for i, (a, t, s) in enumerate(drawn, 1)]
    moments = timeline(results, OBJECTIVES, CORNER)
    ended = [each for each in results if each.status in ("ok", "unstable", "oom")]
    assert [moment.id for moment in moments] == [each.id for each in ended]
    for count, moment in enumerate(moments, 1):
        points = [each.metrics for each in ended[:count] if each.status != "oom"]
        front = [points[i] for i in non_dominated(points, OBJECTIVES)]
        assert moment.evaluated == count
        assert moment.front_size == len(front)
        assert moment.hypervolume == pytest.approx(hypervolume(front, OBJECTIVES, CORNER))
        assert moment.best == max((point["accuracy"] for point in front), default=None)


def test_the_order_is_that_of_the_ends_not_of_the_proposals():
    late, early = result(1, finished_at=50.0, accuracy=0.5, step_ms=1.0), result(2, finished_at=20.0)
    assert [moment.id for moment in timeline([late, early], OBJECTIVES, None)] == [2, 1]
    assert [moment.hypervolume for moment in timeline([late], OBJECTIVES, None)] == [None]


def test_pauses_between_sessions_do_not_count():
    sessions = [Span(started_at=100.0, seconds=10.0), Span(started_at=1000.0, seconds=30.0)]
    assert [searched_seconds(at, sessions) for at in (90.0, 104.0, 500.0, 1005.0, 2000.0)] == [
        0,
        4,
        10,
        15,
        40,
    ]
    assert searched_seconds(104.0, []) is None
    assert searched_seconds(None, sessions) is None
