"""The module of `search_spaces.blocks.ghost`."""

# Shapes: B batch, C channels in, E hidden channels, O channels out, H height, W width.

import torch
from torch import Tensor, nn

from search_spaces.blocks.ghost import Ghost
from search_spaces.layers.activation import activation
from search_spaces.layers.context import LayerContext
from search_spaces.layers.convolution import conv2d
from search_spaces.layers.drop_path import DropPath
from search_spaces.layers.squeeze_excite import SqueezeExciteLayer


class GhostModule(nn.Module):
    """Half of the channels by a 1x1 convolution, the other half from these by a depthwise one.

    Shape: (B, C, H, W) -> (B, O, H, W).
    """

    def __init__(self, in_width: int, width: int, spec: Ghost, context: LayerContext, *, acts: bool) -> None:
        super().__init__()
        half, padding, weights = width // 2, context.padding, spec.weights

        def after() -> list[nn.Module]:
            normed = nn.BatchNorm2d(half, context.norm_eps, context.norm_momentum)
            return [normed, activation(spec.act)] if acts else [normed]

        self.primary = nn.Sequential(
            conv2d(in_width, half, kernel=1, stride=1, padding=padding, weight=weights.primary), *after()
        )
        self.cheap = nn.Sequential(
            conv2d(
                half,
                half,
                kernel=spec.cheap_kernel,
                stride=1,
                padding=padding,
                groups=half,
                weight=weights.cheap,
            ),
            *after(),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve, add the ghosts."""
        first = self.primary(x_BCHW)
        return torch.cat((first, self.cheap(first)), dim=1)


class GhostLayer(nn.Module):
    """Ghost bottleneck.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, spec: Ghost, context: LayerContext) -> None:
        super().__init__()
        in_width, width, hidden = context.in_width, context.width, spec.hidden
        eps, momentum, padding = context.norm_eps, context.norm_momentum, context.padding
        self.expand = GhostModule(in_width, hidden, spec, context, acts=True)
        self.depthwise = nn.Sequential()
        if context.stride > 1:
            self.depthwise = nn.Sequential(
                conv2d(
                    hidden,
                    hidden,
                    kernel=spec.kernel,
                    stride=context.stride,
                    padding=padding,
                    groups=hidden,
                    weight=spec.weights.depthwise,
                ),
                nn.BatchNorm2d(hidden, eps, momentum),
            )
        self.excite: nn.Module = nn.Identity()
        if spec.se != "none":
            self.excite = SqueezeExciteLayer(
                hidden, spec.se.reduced_width(hidden), "relu", gate=nn.Hardsigmoid()
            )
        self.project = GhostModule(hidden, width, spec, context, acts=False)
        self.shortcut = nn.Sequential()
        if not context.has_residual:
            self.shortcut = nn.Sequential(
                conv2d(
                    in_width,
                    in_width,
                    kernel=spec.kernel,
                    stride=context.stride,
                    padding=padding,
                    groups=in_width,
                    weight=spec.weights.shortcut,
                ),
                nn.BatchNorm2d(in_width, eps, momentum),
                conv2d(in_width, width, kernel=1, stride=1, padding=padding, weight=spec.weights.shortcut),
                nn.BatchNorm2d(width, eps, momentum),
            )
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Expand, stride, excite, project, add."""
        h_BEHW = self.depthwise(self.expand(x_BCHW))
        y_BOHW: Tensor = self.project(self.excite(h_BEHW))
        out_BOHW: Tensor = self.shortcut(x_BCHW) + self.drop_path(y_BOHW)
        return out_BOHW
