"""Squeeze-and-excitation as a module."""

# Shapes: B batch, C channels, R reduced channels, H height, W width.

from torch import Tensor, nn

from search_spaces.layers.activation import activation
from search_spaces.layers.convolution import init_conv
from search_spaces.spec import ActivationName


class SqueezeExciteLayer(nn.Module):
    """Scale each channel by a gate in (0, 1) computed from the channel means.

    Shape: (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, width: int, reduced: int, act: ActivationName, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, reduced, 1)
        self.act = activation(act)
        self.restore = nn.Conv2d(reduced, width, 1)
        self.gate = nn.Sigmoid() if gate is None else gate
        init_conv(self.reduce)
        init_conv(self.restore)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pool, reduce, restore, gate."""
        pooled_BC11 = x_BCHW.mean((2, 3), keepdim=True)
        gate_BC11: Tensor = self.gate(self.restore(self.act(self.reduce(pooled_BC11))))
        return x_BCHW * gate_BC11
