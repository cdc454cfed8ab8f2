"""The module of `search_spaces.blocks.fused_mbconv`."""

# Shapes: B batch, C channels in, E expanded channels, O channels out, H height, W width.

from torch import Tensor, nn

from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.layers.activation import activation
from search_spaces.layers.context import LayerContext
from search_spaces.layers.convolution import conv2d
from search_spaces.layers.drop_path import DropPath
from search_spaces.layers.squeeze_excite import SqueezeExciteLayer


class FusedMBConvLayer(nn.Module):
    """Dense expansion and projection; at expand 1 a single convolution whose activation precedes the sum.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, spec: FusedMBConv, context: LayerContext) -> None:
        super().__init__()
        hidden = context.in_width * spec.expand if spec.expand != 1 else context.width
        eps, momentum = context.norm_eps, context.norm_momentum
        self.fused = nn.Sequential(
            conv2d(
                context.in_width,
                hidden,
                kernel=spec.kernel,
                stride=context.stride,
                padding=context.padding,
                weight=spec.weights.fused,
            ),
            nn.BatchNorm2d(hidden, eps, momentum),
            activation(spec.act),
        )
        self.excite: nn.Module = nn.Identity()
        self.project = nn.Sequential()
        if spec.expand != 1:
            if spec.se != "none":
                reduced = spec.se.reduced_width(context.in_width, hidden)
                self.excite = SqueezeExciteLayer(hidden, reduced, spec.act)
            self.project = nn.Sequential(
                conv2d(
                    hidden,
                    context.width,
                    kernel=1,
                    stride=1,
                    padding=context.padding,
                    weight=spec.weights.project,
                ),
                nn.BatchNorm2d(context.width, eps, momentum),
            )
        self.has_residual = context.has_residual
        self.drop_path = DropPath(context.drop_path if context.has_residual else 0.0)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve, excite, project, add."""
        h_BEHW = self.fused(x_BCHW)
        y_BOHW: Tensor = self.project(self.excite(h_BEHW))
        return x_BCHW + self.drop_path(y_BOHW) if self.has_residual else y_BOHW
