"""Activations by their document name."""

from torch import nn

from search_spaces.spec import ActivationName

ACTIVATIONS: dict[ActivationName, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "hard_swish": nn.Hardswish,
}


def activation(name: ActivationName) -> nn.Module:
    """A fresh activation module; never in place, so that the norm's output survives for backward."""
    return ACTIVATIONS[name]()
