"""RMSProp as TensorFlow has it, decay on kernels alone, and the average of weights."""

import numpy as np
import pytest
import torch
from torch import nn

from proxies.optimizers import RMSpropTF, averaged, make_optimizer
from proxies.recipe import TrainingRecipe


def numpy_rmsprop(start, gradients, *, rates, rho=0.9, eps=1e-3, momentum=0.9, decay=0.0):
    """TensorFlow 1's ApplyRMSProp, written out."""
    value, square, buffer = start.astype(np.float64), np.ones_like(start, np.float64), np.zeros_like(start)
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + decay * value
        square = rho * square + (1 - rho) * g * g
        buffer = momentum * buffer + rate * g / np.sqrt(square + eps)
        value = value - buffer
    return value


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rmsprop_is_tensorflows(decay: float) -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(6, 3, 4))
    rates = [0.1, 0.1, 0.01, 0.01, 0.2, 0.05]
    parameter = nn.Parameter(torch.tensor(start))
    optimizer = RMSpropTF([parameter], lr=0.1, weight_decay=decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    expected = numpy_rmsprop(start, gradients, rates=rates, decay=decay)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12)


def test_it_is_not_pytorchs() -> None:
    ours, theirs = (nn.Parameter(torch.ones(3)) for _ in range(2))
    for parameter, optimizer in (
        (ours, RMSpropTF([ours], lr=0.1)),
        (theirs, torch.optim.RMSprop([theirs], lr=0.1, alpha=0.9, eps=1e-3, momentum=0.9)),
    ):
        parameter.grad = torch.full((3,), 0.5)
        optimizer.step()
    # square 1 -> 0.925: a step of 0.05 / sqrt(0.926); PyTorch's square 0 -> 0.025.
    torch.testing.assert_close(ours.detach(), torch.full((3,), 1 - 0.05 / 0.926**0.5))
    assert not torch.allclose(ours, theirs)


def test_a_parameter_without_gradient_stays() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = RMSpropTF([used, unused], lr=0.1)
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw", "rmsprop_tf"])
def test_decay_is_on_kernels_alone(name) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    recipe = TrainingRecipe(epochs=1, optimizer=name, weight_decay=0.5, rho=0.8)
    groups = make_optimizer(network, recipe).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(network[0].weight), id(network[3].weight)}
    assert sum(len(group["params"]) for group in groups) == 6


def test_the_average_warms_up_and_holds_statistics() -> None:
    """Update n moves it by 1 - min(decay, (1 + n) / (10 + n)), batch norm's statistics included."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = averaged(network, 0.5)
    expected = {key: value.clone().double() for key, value in network.state_dict().items()}
    for update in range(1, 12):
        with torch.no_grad():
            for value in network.parameters():
                value += torch.randn_like(value)
        network(torch.randn(8, 2))
        average.update_parameters(network)
        decay = min(0.5, (1 + update) / (10 + update))
        for key, value in network.state_dict().items():
            expected[key] = expected[key] * decay + value.double() * (1 - decay)
    found = average.module.state_dict()
    for key in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(found[key].double(), expected[key], rtol=1e-5, atol=1e-6)
    assert found["1.num_batches_tracked"] == 11
    assert decay == 0.5
