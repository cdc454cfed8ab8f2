"""Networks built for counting alone: on the meta device, without initial values, norms or activations."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.network import Network, build

INITIALISERS = ("normal_", "uniform_", "zeros_", "ones_", "kaiming_uniform_")
UNCOUNTED = (nn.BatchNorm2d, nn.SiLU, nn.ReLU, nn.GELU, nn.Hardswish, nn.Sigmoid, nn.LayerNorm, nn.Tanh)


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """Leave out what neither counts nor changes a shape, but takes most of the time on meta tensors."""
    with contextlib.ExitStack() as stack:
        for name in INITIALISERS:
            stack.enter_context(mock.patch.object(nn.init, name, lambda tensor, *_, **__: tensor))
        for module in UNCOUNTED:
            stack.enter_context(mock.patch.object(module, "forward", lambda _, x: x))
        yield


def build_bare(arch: Architecture, num_classes: int = 1000, resolution: int | None = None) -> Network:
    """The network on the meta device, without dropout or stochastic depth."""
    with torch.device("meta"):
        return build(arch, num_classes, dropout=0.0, drop_path=0.0, resolution=resolution).eval()
