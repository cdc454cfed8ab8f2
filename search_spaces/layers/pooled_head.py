"""What heads do on the pooled vector."""

# Shapes: B batch, C channels, F features, H height, W width.

from torch import Tensor, nn

from search_spaces.layers.activation import activation
from search_spaces.layers.convolution import init_linear
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


class FeatureLayer(nn.Module):
    """Global average pooling of what is still a map, linear layer, activation.

    Shape: (B, C, H, W) or (B, C) -> (B, F).
    Source: Howard et al. 2019, arXiv:1905.02244 (MobileNetV3), as GhostNet has it.
    """

    def __init__(self, in_width: int, width: int, act: HeadActivationName) -> None:
        super().__init__()
        self.dense = nn.Linear(in_width, width)
        self.act = activation(act)
        init_linear(self.dense)

    def forward(self, x: Tensor) -> Tensor:
        """Pool, then transform the vector."""
        pooled_BC = x.mean((2, 3)) if x.dim() == 4 else x
        features_BF: Tensor = self.act(self.dense(pooled_BC))
        return features_BF
