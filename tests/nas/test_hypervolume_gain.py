"""Gains against an independent hypervolume, for any number of objectives."""

import moocore
import numpy as np
import pytest

from nas.hypervolume_gain import HypervolumeGain, non_dominated_ranks


def boxed(losses, by):
    return (losses - by.min(axis=0)) / (by.max(axis=0) - by.min(axis=0))


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_gain_is_the_difference_of_two_volumes(objectives):
    rng = np.random.default_rng(objectives)
    known = rng.random((20, objectives)) * [1.0, 50.0, 1e6][:objectives]
    points = rng.random((40, objectives)) * [1.2, 60.0, 1.2e6][:objectives] - 0.1 * known.min(axis=0)
    gains = HypervolumeGain(known)(points)
    corner = np.ones(objectives)
    before = moocore.hypervolume(boxed(known, known), ref=corner)
    for point, gain in zip(points, gains, strict=True):
        after = moocore.hypervolume(np.vstack([boxed(known, known), boxed(point, known)]), ref=corner)
        assert gain == pytest.approx(after - before, abs=1e-12)
    assert (gains > 0).any()
    assert (gains == 0).any()


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_greedy_choice_is_the_plain_one(objectives):
    """Without the shortcut: at every step the point that adds most."""
    rng = np.random.default_rng(7)
    known, points = rng.random((15, objectives)), rng.dirichlet(np.ones(objectives), 30)  # none dominates
    known += 0.5
    weights = rng.random(30)
    lazy = HypervolumeGain(known).greedy(points, 6, weights)
    plain, gain, left = [], HypervolumeGain(known), list(range(30))
    for _ in range(6):
        best = max(left, key=lambda index: gain(points[index][None])[0] * weights[index])
        plain.append(best)
        left.remove(best)
        gain.add(points[best])
    assert lazy == plain


def test_the_ends_of_a_front_are_worth_extending():
    """A box that only the front spans would give nothing for a point beyond its ends."""
    known = np.array([[0.4, 0.6], [0.6, 0.4], [0.9, 0.9]])
    gains = HypervolumeGain(known)(np.array([[0.3, 0.8], [0.8, 0.3]]))
    assert (gains > 0).all()


def test_ranks_are_fronts_of_what_is_left():
    losses = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]])
    assert non_dominated_ranks(losses).tolist() == [0, 0, 1, 2, 1]
    assert non_dominated_ranks(np.array([[3.0], [1.0], [1.0]])).tolist() == [1, 0, 0]
