"""Convolutions whose kernel is a sum of parallel branches while they train."""

# Shapes: B batch, N branches (the first included), C channels in, O channels out, G channels in a group,
# K kernel, P = G K K weights of one output channel, H height, W width.

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.weight import Reparam
from search_spaces.layers.padding import padded_as_tensorflow
from search_spaces.spec import Padding


class ReparamConv2d(nn.Module):
    """A convolution by the scaled sum of its branches' kernels; a bias is no part of them.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        spec: Reparam,
        *,
        kernel: int,
        stride: int,
        padding: Padding,
        groups: int = 1,
        has_bias: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.stride, self.groups = in_width, stride, groups
        self.padding: Padding = padding
        self.pads_as_tensorflow = padding == "same" and stride > 1
        self.kernel_shape = (width, in_width // groups, kernel, kernel)
        count = spec.branches + 1
        self.branches = nn.Parameter(torch.empty(count, width, math.prod(self.kernel_shape[1:])))  # (N, O, P)
        self.scales = nn.Parameter(
            torch.full((count, width), 1.0 / math.sqrt(count))
        )  # the sum varies as one
        self.bias = nn.Parameter(torch.zeros(width)) if has_bias else None
        with torch.no_grad():  # each branch as `init_conv` initialises a static convolution
            nn.init.normal_(self.branches, 0.0, math.sqrt(2.0 / (kernel**2 * width // groups)))

    def merged_kernel(self) -> Tensor:
        """The kernel that the branches come to, (O, G, K, K)."""
        scales_O1N, branches_ONP = self.scales.t().unsqueeze(1), self.branches.transpose(0, 1)
        kernel_OGKK: Tensor = torch.bmm(scales_O1N, branches_ONP).view(self.kernel_shape)
        return kernel_OGKK

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Sum the kernels, convolve."""
        kernel = self.kernel_shape[2]
        padding = ((kernel - 1) // 2, (kernel - 1) // 2)
        if self.pads_as_tensorflow:
            x_BCHW, padding = padded_as_tensorflow(x_BCHW, kernel, self.stride)
        return functional.conv2d(
            x_BCHW, self.merged_kernel(), self.bias, self.stride, padding, groups=self.groups
        )

    def extra_repr(self) -> str:
        """Number of branches, shape of the kernel, stride and groups."""
        branches = f"branches={self.branches.shape[0] - 1}, kernel={self.kernel_shape}"
        return f"{branches}, stride={self.stride}, groups={self.groups}"
