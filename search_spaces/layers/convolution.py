"""Convolutions with the two paddings, and the initialisers of the EfficientNets."""

# Shapes: B batch, C channels in, O channels out, H height, W width.

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.weight import Dynamic, Reparam, Weight
from search_spaces.layers.dynamic import DynamicConv2d
from search_spaces.layers.padding import padded_as_tensorflow
from search_spaces.layers.reparam import ReparamConv2d
from search_spaces.spec import Padding


class Conv2dSame(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, which depends on the input size.

    Odd totals put the extra row at the bottom and the extra column at the right. Where the total is even
    it is ordinary symmetric padding, and no padded copy of the input is made.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pad by what this input's height and width ask for, then convolve."""
        x_BCHW, padding = padded_as_tensorflow(x_BCHW, self.kernel_size[0], self.stride[0])
        return functional.conv2d(
            x_BCHW, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


def conv2d(
    in_width: int,
    width: int,
    *,
    kernel: int,
    stride: int,
    padding: Padding,
    groups: int = 1,
    weight: Weight = "static",
) -> nn.Module:
    """A bias-free convolution whose output side is ceil(side / stride), initialised as `init_conv` says."""
    if isinstance(weight, Dynamic):
        return DynamicConv2d(
            in_width, width, weight, kernel=kernel, stride=stride, padding=padding, groups=groups
        )
    if isinstance(weight, Reparam):
        return ReparamConv2d(
            in_width, width, weight, kernel=kernel, stride=stride, padding=padding, groups=groups
        )
    if padding == "same" and stride > 1:
        conv: nn.Conv2d = Conv2dSame(in_width, width, kernel, stride, groups=groups, bias=False)
    else:
        conv = nn.Conv2d(
            in_width, width, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False
        )
    init_conv(conv)
    return conv


def init_conv(conv: nn.Conv2d) -> None:
    """Normal with variance 2 / fan-out, fan-out per group; biases zero (EfficientNet's released code)."""
    fan_out = conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels // conv.groups
    with torch.no_grad():
        nn.init.normal_(conv.weight, 0.0, math.sqrt(2.0 / fan_out))
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def init_linear(linear: nn.Linear) -> None:
    """Uniform within 1 / sqrt(outputs); bias zero (EfficientNet's released code)."""
    bound = 1.0 / math.sqrt(linear.out_features)
    with torch.no_grad():
        nn.init.uniform_(linear.weight, -bound, bound)
        nn.init.zeros_(linear.bias)
