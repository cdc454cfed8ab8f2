"""The head that pools first."""

# Shapes: B batch, C channels, F features, H height, W width.

from torch import Tensor, nn

from search_spaces.layers.activation import activation
from search_spaces.layers.dense import LAYER_NORM_EPS, dense
from search_spaces.spec import HeadActivationName


class PooledHead(nn.Module):
    """Global average pooling, layer norm, linear layer, activation.

    Shape: (B, C, H, W) -> (B, F).
    Source: MaxViT's released code, whose tanh layer CoAtNet's parameter counts ask for too.
    """

    def __init__(self, in_width: int, width: int, act: HeadActivationName) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_width, LAYER_NORM_EPS)
        self.dense = dense(in_width, width)
        self.act = activation(act)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pool, then transform the vector."""
        features_BF: Tensor = self.act(self.dense(self.norm(x_BCHW.mean((2, 3)))))
        return features_BF
