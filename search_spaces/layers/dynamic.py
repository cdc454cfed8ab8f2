"""Convolutions whose kernels are mixed anew for every image."""

# Shapes: B batch, M experts, C channels in, O channels out, G channels in a group, K kernel, N positions,
# P = O G K K weights of one kernel, H height, W width.

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.weight import Dynamic
from search_spaces.layers.padding import padded_as_tensorflow
from search_spaces.spec import Padding


class Router(nn.Module):
    """One gate an expert for each image, from the means of its channels.

    Shape: (B, C, H, W) -> (B, M).
    """

    def __init__(self, in_width: int, spec: Dynamic) -> None:
        super().__init__()
        self.hidden = nn.Sequential()
        if spec.router == "mlp":
            self.hidden = nn.Sequential(nn.Linear(in_width, in_width, bias=False), nn.ReLU())
        self.gates = nn.Linear(in_width, spec.experts, bias=spec.router == "linear")
        self.act = nn.Sigmoid() if spec.activation == "sigmoid" else nn.Softmax(1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pool, route, squash."""
        alpha_BM: Tensor = self.act(self.gates(self.hidden(x_BCHW.mean((2, 3)))))
        return alpha_BM


class DynamicConv2d(nn.Module):
    """A convolution with a kernel for each image, the router's mixture of the experts'; a bias is not mixed.

    The experts are the rows of a matrix, as the mixing reads them: parameters of five dimensions cannot be
    brought into the channels_last format, and would take the whole network's with them.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        spec: Dynamic,
        *,
        kernel: int,
        stride: int,
        padding: Padding,
        groups: int = 1,
        has_bias: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.stride, self.groups = in_width, stride, groups
        self.pads_as_tensorflow = padding == "same" and stride > 1
        self.router = Router(in_width, spec)
        self.kernel_shape = (width, in_width // groups, kernel, kernel)
        self.experts = nn.Parameter(torch.empty(spec.experts, math.prod(self.kernel_shape)))  # (M, P)
        self.bias = nn.Parameter(torch.zeros(width)) if has_bias else None
        with torch.no_grad():  # each expert as `init_conv` initialises a static convolution
            nn.init.normal_(self.experts, 0.0, math.sqrt(2.0 / (kernel**2 * width // groups)))

    def mixed_kernels(self, x_BCHW: Tensor) -> Tensor:
        """The kernel of each image, (B, O, G, K, K)."""
        alpha_BM = self.router(x_BCHW)
        kernels_BOGKK: Tensor = (alpha_BM @ self.experts).view(-1, *self.kernel_shape)
        return kernels_BOGKK

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Mix, convolve each image with its own kernel, and add the bias if there is one."""
        # ONNX has no convolution with a number of groups that depends on the batch.
        is_symbolic = torch.compiler.is_exporting() and isinstance(x_BCHW.shape[0], torch.SymInt)
        y_BOHW = (
            self.summed_maps(x_BCHW) if is_symbolic else self._convolve(x_BCHW, self.mixed_kernels(x_BCHW))
        )
        return y_BOHW if self.bias is None else y_BOHW + self.bias[:, None, None]

    def _convolve(self, x_BCHW: Tensor, kernels_BOGKK: Tensor) -> Tensor:
        kernel = kernels_BOGKK.shape[-1]
        if kernel == 1 and self.stride == 1 and self.groups == 1:
            return multiplied(x_BCHW, kernels_BOGKK)
        x_BCHW, padding = self._padded(x_BCHW, kernel)
        return grouped(x_BCHW, kernels_BOGKK, stride=self.stride, padding=padding, groups=self.groups)

    def summed_maps(self, x_BCHW: Tensor) -> Tensor:
        """The same maps as the experts' maps, mixed: a convolution is linear in its kernel.

        It costs a convolution an expert, and none of its shapes depends on the batch.
        """
        alpha_BM = self.router(x_BCHW)
        kernels_MOGKK = self.experts.view(-1, *self.kernel_shape)
        x_BCHW, padding = self._padded(x_BCHW, self.kernel_shape[-1])
        maps_BOHW = [
            functional.conv2d(x_BCHW, kernel_OGKK, None, self.stride, padding, groups=self.groups)
            for kernel_OGKK in kernels_MOGKK.unbind(0)
        ]
        mixed = [alpha_BM[:, m].view(-1, 1, 1, 1) * each for m, each in enumerate(maps_BOHW)]
        y_BOHW: Tensor = torch.stack(mixed).sum(0)
        return y_BOHW

    def _padded(self, x_BCHW: Tensor, kernel: int) -> tuple[Tensor, tuple[int, int]]:
        """The map, and what a convolution is still to pad it by: as TensorFlow does it may be uneven."""
        if self.pads_as_tensorflow:
            return padded_as_tensorflow(x_BCHW, kernel, self.stride)
        return x_BCHW, ((kernel - 1) // 2, (kernel - 1) // 2)

    def extra_repr(self) -> str:
        """Number of experts, shape of a kernel, stride and groups."""
        experts = f"experts={self.experts.shape[0]}, kernel={self.kernel_shape}"
        return f"{experts}, stride={self.stride}, groups={self.groups}"


def grouped(
    x_BCHW: Tensor, kernels_BOGKK: Tensor, *, stride: int, padding: tuple[int, int], groups: int
) -> Tensor:
    """Every image with its own kernel, as one convolution whose groups are the images (and their groups)."""
    batch, width = kernels_BOGKK.shape[:2]
    y_1OHW = functional.conv2d(
        x_BCHW.reshape(1, -1, *x_BCHW.shape[2:]),
        kernels_BOGKK.reshape(batch * width, *kernels_BOGKK.shape[2:]),
        stride=stride,
        padding=padding,
        groups=batch * groups,
    )
    return y_1OHW.view(batch, width, *y_1OHW.shape[2:])


def multiplied(x_BCHW: Tensor, kernels_BOGKK: Tensor) -> Tensor:
    """The same for a dense 1x1 kernel of stride 1: a product of two matrices an image.

    The memory format of the map is kept, so that nothing is copied in either.
    """
    batch, _, height, columns = x_BCHW.shape
    kernels_BOC = kernels_BOGKK.flatten(2)
    if x_BCHW.is_contiguous():
        return torch.bmm(kernels_BOC, x_BCHW.flatten(2)).view(batch, -1, height, columns)
    x_BNC = x_BCHW.permute(0, 2, 3, 1).reshape(batch, height * columns, -1)
    y_BNO = torch.bmm(x_BNC, kernels_BOC.transpose(1, 2))
    return y_BNO.view(batch, height, columns, -1).permute(0, 3, 1, 2)
