"""Successive halving by non-dominated sorting: rungs, who goes on, and what is kept apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.halving import NonDominatedHalving
from nas.hypervolume_gain import non_dominated_ranks
from nas.objectives import parse_objectives

OBJECTIVES = parse_objectives(["accuracy", "step_ms"])


def halving(**settings) -> NonDominatedHalving:
    return NonDominatedHalving(objectives=OBJECTIVES, **{"reduction": 3.0, "first": 1, **settings})


def values(accuracy: float, step_ms: float) -> dict[str, float]:
    return {"accuracy": accuracy, "step_ms": step_ms}


@pytest.mark.parametrize(
    ("settings", "rungs"),
    [
        ({}, [1, 3, 9, 27]),
        ({"reduction": 2.0}, [1, 2, 4, 8, 16]),
        ({"reduction": 2.0, "first": 3}, [3, 6, 12, 24]),
        ({"reduction": 1.5, "first": 2}, [2, 3, 4, 7, 10, 15, 23]),
    ],
)
def test_rungs_are_powers_of_the_reduction(settings, rungs):
    judge = halving(**settings)
    assert [step for step in range(1, 30) if judge.concerns(step)] == rungs


def test_the_last_report_is_not_judged():
    judge = halving(last=9)
    assert [step for step in range(1, 30) if judge.concerns(step)] == [1, 3]
    judge.judge("a", 0, 9, values(0.5, 10.0))
    assert judge.judge("b", 0, 9, values(0.4, 11.0)) is None


def test_the_first_to_arrive_goes_on_and_the_dominated_do_not():
    judge = halving()
    assert judge.judge("a", 0, 1, values(0.5, 10.0)) is None
    reason = judge.judge("b", 0, 1, values(0.4, 11.0))
    assert reason == "after step 1 it stood in front 2, behind 1 of 2"
    assert judge.judge("c", 0, 1, values(0.1, 1.0)) is None, "nothing is as fast"


def test_a_third_of_a_ranking_goes_on():
    """With one order of merit (all equally fast) it is plain successive halving."""
    judge = halving(first=1)
    order = np.random.default_rng(0).permutation(90)
    went_on = [rank for rank in order if judge.judge(str(rank), 0, 1, values(1.0 - rank / 100, 10.0)) is None]
    assert 20 <= len(went_on) <= 45
    assert 0 in went_on
    assert np.mean(went_on) < 30


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_who_is_on_the_first_front_of_a_rung_goes_on(points):
    judge = halving()
    for index, (accuracy, step_ms) in enumerate(points):
        answer = judge.judge(str(index), 0, 3, values(accuracy, step_ms))
        losses = np.array([[-a, s] for a, s in points[: index + 1]], dtype=float)
        ranks = non_dominated_ranks(losses)
        better = int((ranks < ranks[index]).sum())
        assert (answer is None) == (better < (index + 1) / 3.0)
        assert answer is None or ranks[index] > 0


def test_pools_and_rungs_do_not_meet():
    judge = halving()
    judge.judge("good", 0, 1, values(0.9, 1.0))
    assert judge.judge("bad", 1, 1, values(0.1, 9.0)) is None
    assert judge.judge("bad", 0, 3, values(0.1, 9.0)) is None
    assert judge.judge("bad", 0, 1, values(0.1, 9.0)) is not None


def test_a_report_that_comes_twice_counts_once():
    judge = halving()
    judge.judge("a", 0, 1, values(0.5, 10.0))
    first = judge.judge("b", 0, 1, values(0.4, 11.0))
    assert judge.judge("b", 0, 1, values(0.4, 11.0)) == first


def test_what_lacks_an_objective_or_is_between_rungs_goes_on():
    judge = halving()
    judge.judge("a", 0, 1, values(0.5, 10.0))
    assert judge.judge("b", 0, 1, {"accuracy": 0.1}) is None
    assert judge.judge("b", 0, 2, values(0.1, 90.0)) is None


@pytest.mark.parametrize("settings", [{"reduction": 1.0}, {"first": 0}, {"reduction": float("nan")}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match="halving: the reduction is"):
        halving(**settings)
