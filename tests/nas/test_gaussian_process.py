"""Laws of the Gaussian process: what it must be whatever the hyperparameters that the data choose."""

import numpy as np
import pytest

from nas.features import Features
from nas.gaussian_process import MOST_AVERAGED, GaussianProcess, Hyperparameters, _kernel


def features(count, seed=0, *, width=6):
    rng = np.random.default_rng(seed)
    choices, work = rng.standard_normal((2, count, width)) / width**0.5
    return Features(choices, work, work)


def smooth(found):
    return 3.0 + found.choices[:, 0] + np.sin(2.0 * found.work[:, 1])


def test_far_from_all_data_the_mean_is_near_that_of_the_data_and_the_doubt_is_large():
    known = features(40)
    process = GaussianProcess(known, smooth(known))
    _, near = process.mean_and_deviation(known)
    far = Features(100.0 * known.choices[:5], 100.0 * known.work[:5], known.totals[:5])
    _, doubt = process.mean_and_deviation(far)
    assert doubt.min() > 3.0 * near.max()


def test_what_it_has_seen_it_knows():
    known = features(60)
    values = smooth(known)
    mean, deviation = GaussianProcess(known, values).mean_and_deviation(known)
    assert np.sqrt(np.mean((mean - values) ** 2)) < 0.2 * values.std()
    assert deviation.max() < 0.5 * values.std()


def test_more_data_leave_less_error():
    everything, asked = features(200), features(50, seed=9)
    errors = []
    for count in (20, 80, 200):
        some = everything.rows(np.arange(count))
        errors.append(np.abs(GaussianProcess(some, smooth(some)).mean(asked) - smooth(asked)).mean())
    assert errors[0] > errors[1] > errors[2]


def test_the_unit_of_the_values_makes_no_difference():
    known, asked = features(50), features(20, seed=3)
    plain = GaussianProcess(known, smooth(known)).mean_and_deviation(asked)
    scaled = GaussianProcess(known, 1000.0 * smooth(known) - 7.0).mean_and_deviation(asked)
    assert np.allclose(scaled[0], 1000.0 * plain[0] - 7.0)
    assert np.allclose(scaled[1], 1000.0 * plain[1])


def test_the_order_of_the_data_makes_no_difference():
    known, asked = features(50), features(20, seed=3)
    order = np.random.default_rng(1).permutation(50)
    first = GaussianProcess(known, smooth(known)).mean(asked)
    second = GaussianProcess(known.rows(order), smooth(known)[order]).mean(asked)
    assert np.allclose(first, second)


def test_the_view_that_matters_is_found():
    """Values that follow from the work alone: nearly all weight goes to distances in work."""
    known = features(100)
    process = GaussianProcess(known, np.sin(2.0 * known.work[:, 0]) + known.work[:, 1])
    assert sum(weight for weight, member in process.members if member.hyperparameters.view < 0.5) > 0.9


def test_weights_are_of_a_few_and_sum_to_one():
    for count in (2, 5, 30):
        process = GaussianProcess(features(count), smooth(features(count)))
        assert 1 <= len(process.members) <= MOST_AVERAGED
        assert sum(weight for weight, _ in process.members) == pytest.approx(1.0)


def test_equal_values_are_predicted_as_they_are():
    known = features(12)
    mean, deviation = GaussianProcess(known, np.full(12, 0.7)).mean_and_deviation(features(4, seed=2))
    assert np.allclose(mean, 0.7)
    assert np.isfinite(deviation).all()


@pytest.mark.parametrize("linear", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("view", [0.15, 0.85])
def test_every_kernel_is_positive_semidefinite(linear, view):
    known = features(30)
    kernel = _kernel(known, known, Hyperparameters(view, 2.0, linear, 0.01))
    assert np.allclose(kernel, kernel.T)
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
