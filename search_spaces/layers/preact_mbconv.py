"""The module of `search_spaces.blocks.preact_mbconv`."""

# Shapes: B batch, C channels in, E expanded channels, O channels out, H height, W width.

from torch import Tensor, nn

from search_spaces.blocks.preact_mbconv import PreactMBConv
from search_spaces.layers.activation import activation
from search_spaces.layers.context import LayerContext
from search_spaces.layers.convolution import conv2d
from search_spaces.layers.dense import downsampling, pointwise
from search_spaces.layers.drop_path import DropPath
from search_spaces.layers.squeeze_excite import SqueezeExciteLayer


class PreactMBConvLayer(nn.Module):
    """Pre-activation inverted bottleneck.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, spec: PreactMBConv, context: LayerContext) -> None:
        super().__init__()
        hidden = context.width * spec.expand
        eps, momentum, padding = context.norm_eps, context.norm_momentum, context.padding
        at = {spec.stride_at: context.stride}
        self.norm = nn.BatchNorm2d(context.in_width, eps, momentum)
        self.pool = downsampling(spec.pool, at.get("pool", 1))
        self.expand = nn.Sequential(
            conv2d(
                context.in_width,
                hidden,
                kernel=1,
                stride=at.get("expand", 1),
                padding=padding,
                weight=spec.weights.expand,
            ),
            nn.BatchNorm2d(hidden, eps, momentum),
            activation(spec.act),
        )
        self.depthwise = nn.Sequential(
            conv2d(
                hidden,
                hidden,
                kernel=spec.kernel,
                stride=at.get("depthwise", 1),
                padding=padding,
                groups=hidden,
                weight=spec.weights.depthwise,
            ),
            nn.BatchNorm2d(hidden, eps, momentum),
            activation(spec.act),
        )
        self.excite: nn.Module = nn.Identity()
        if spec.se != "none":
            self.excite = SqueezeExciteLayer(hidden, spec.se.reduced_width(context.width), spec.act)
        self.project = pointwise(hidden, context.width, spec.weights.project)
        self.shortcut = nn.Sequential(downsampling(spec.pool, context.stride))
        if context.in_width != context.width:
            self.shortcut.append(pointwise(context.in_width, context.width, spec.weights.shortcut))
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Norm, pool, expand, convolve depthwise, excite, project, add."""
        h_BEHW = self.expand(self.pool(self.norm(x_BCHW)))
        y_BOHW: Tensor = self.project(self.excite(self.depthwise(h_BEHW)))
        out_BOHW: Tensor = self.shortcut(x_BCHW) + self.drop_path(y_BOHW)
        return out_BOHW
