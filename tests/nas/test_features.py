"""The views of a network that predictors see."""

import numpy as np
import pytest

from nas.features import NetworkFeatures
from nas.objectives import parse_bounds, with_limits
from search_spaces.space_document import load_space, space_names


@pytest.mark.parametrize("name", space_names())
def test_every_shipped_space_has_finite_features(name):
    found = load_space(name)
    features = NetworkFeatures(found)(found.sample(np.random.default_rng(1), 20))
    for view in (features.choices, features.work, features.totals):
        assert len(view) == len(features) == 20
        assert view.shape[1] > 0
        assert np.isfinite(view).all()


def test_distances_follow_from_inner_products():
    found = load_space("tiny")
    features = NetworkFeatures(found)(found.sample(np.random.default_rng(2), 12))
    for weight in (0.0, 0.3, 1.0):
        inner = features.inner(features, weight)
        assert np.allclose(np.diag(inner), features.norms(weight))
        assert np.linalg.eigvalsh(inner).min() > -1e-9
    assert np.allclose(features.inner(features, 1.0), features.choices @ features.choices.T)
    some = features.rows(np.array([3, 5]))
    assert np.array_equal(some.work, features.work[[3, 5]])
    assert len(some) == 2


def test_limits_do_not_move_the_features():
    """A search with a limit and one without see the same network alike."""
    free = load_space("tiny")
    limited = with_limits(free, parse_bounds(["params<=200000"]))
    genes = limited.sample(np.random.default_rng(3), 5)
    assert np.array_equal(NetworkFeatures(free)(genes).work, NetworkFeatures(limited)(genes).work)


def test_a_space_of_one_network_has_no_features_and_no_error():
    from search_spaces.space_document import space

    one = space(
        {
            "name": "one",
            "stem": {"width": 8},
            "stages": [{"stride": 2, "depth": 1, "width": 8, "block": {"op": "mbconv", "expand": 2}}],
            "head": {"width": 16},
        }
    )
    features = NetworkFeatures(one)(one.sample(np.random.default_rng(0), 4))
    assert features.choices.shape == (4, 0)
    assert features.norms(0.5).tolist() == [0.0] * 4
