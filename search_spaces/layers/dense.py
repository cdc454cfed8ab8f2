"""Linear layers and pointwise convolutions with bias, as CoAtNet has them."""

from typing import Literal

import torch
from torch import nn

from search_spaces.blocks.weight import Dynamic, Reparam, Weight
from search_spaces.layers.dynamic import DynamicConv2d
from search_spaces.layers.reparam import ReparamConv2d

LAYER_NORM_EPS = 1e-5
DEVIATION = 0.02


def dense(in_width: int, width: int) -> nn.Linear:
    """A linear layer with bias: weights normal with deviation 0.02, bias zero (MaxViT's released code)."""
    layer = nn.Linear(in_width, width)
    _init(layer)
    return layer


def pointwise(in_width: int, width: int, weight: Weight = "static") -> nn.Module:
    """A 1x1 convolution with bias, initialised like `dense`."""
    if isinstance(weight, Dynamic):
        dynamic = DynamicConv2d(
            in_width, width, weight, kernel=1, stride=1, padding="symmetric", has_bias=True
        )
        with torch.no_grad():
            nn.init.normal_(dynamic.experts, 0.0, DEVIATION)
        return dynamic
    if isinstance(weight, Reparam):
        summed = ReparamConv2d(
            in_width, width, weight, kernel=1, stride=1, padding="symmetric", has_bias=True
        )
        with torch.no_grad():
            nn.init.normal_(summed.branches, 0.0, DEVIATION)
        return summed
    layer = nn.Conv2d(in_width, width, 1)
    _init(layer)
    return layer


def downsampling(pool: Literal["max", "avg"], stride: int) -> nn.Module:
    """2x2 pooling to half the side, rounded up; the identity at stride 1."""
    if stride == 1:
        return nn.Identity()
    if pool == "max":
        return nn.MaxPool2d(2, ceil_mode=True)
    return nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)


def _init(layer: nn.Linear | nn.Conv2d) -> None:
    with torch.no_grad():
        nn.init.normal_(layer.weight, 0.0, DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
