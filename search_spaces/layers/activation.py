"""Activations by their document name."""

from torch import nn

from search_spaces.spec import HeadActivationName

ACTIVATIONS: dict[HeadActivationName, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "hard_swish": nn.Hardswish,
    "tanh": nn.Tanh,
}


def activation(name: HeadActivationName) -> nn.Module:
    """A fresh activation module; never in place, so that the norm's output survives for backward."""
    return ACTIVATIONS[name]()
