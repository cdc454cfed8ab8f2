"""The module of `search_spaces.blocks.attention`."""

# Shapes: B batch, C channels in, O channels out, H height, W width, N positions, M heads, D head width.

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.attention import Attention
from search_spaces.layers.context import LayerContext
from search_spaces.layers.dense import LAYER_NORM_EPS, dense, downsampling, pointwise
from search_spaces.layers.drop_path import DropPath


class RelativeAttention(nn.Module):
    """Multi-head self-attention with a trained bias for each head and offset, before the softmax.

    Written out rather than left to a fused kernel: the bias is trained, which rules the fast ones out, and
    what is kept for the backward pass is then the same on every device.

    Shape: (B, C, H, W) -> (B, O, H, W).
    """

    def __init__(self, in_width: int, width: int, head_dim: int, side: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = dense(in_width, width)
        self.key = dense(in_width, width)
        self.value = dense(in_width, width)
        self.project = dense(width, width)
        self.table = nn.Parameter(torch.zeros(width // head_dim, 2 * side - 1, 2 * side - 1))

    def bias(self, height: int, width: int) -> Tensor:
        """The bias of each pair of positions, (M, N, N): entry [i, j] depends on the offset i - j alone."""
        table: Tensor = self.table
        wanted = (2 * height - 1, 2 * width - 1)
        if tuple(table.shape[1:]) != wanted:
            table = functional.interpolate(table[None], wanted, mode="bilinear", align_corners=True)[0]
        rows = table.unfold(1, height, 1).unfold(2, width, 1).flip(3, 4)
        return rows.reshape(-1, height * width, height * width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Attend over all positions."""
        height, width = x_BCHW.shape[2:]
        x_BNC = x_BCHW.flatten(2).transpose(1, 2).contiguous()
        q_BMND, k_BMND, v_BMND = (self._heads(layer(x_BNC)) for layer in (self.query, self.key, self.value))
        scores_BMNN = (q_BMND * self.head_dim**-0.5) @ k_BMND.transpose(2, 3) + self.bias(height, width)
        mixed_BMND = scores_BMNN.softmax(-1) @ v_BMND
        y_BNO: Tensor = self.project(mixed_BMND.transpose(1, 2).flatten(2))
        return y_BNO.transpose(1, 2).reshape(x_BCHW.shape[0], -1, height, width)

    def _heads(self, x_BNO: Tensor) -> Tensor:
        batch, positions, _ = x_BNO.shape
        return x_BNO.reshape(batch, positions, -1, self.head_dim).transpose(1, 2).contiguous()


class AttentionLayer(nn.Module):
    """Relative self-attention and a feed-forward pair, each behind a layer norm and beside a shortcut.

    Shape: (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, spec: Attention, context: LayerContext) -> None:
        super().__init__()
        width, hidden = context.width, context.width * spec.expand
        self.norm = nn.LayerNorm(context.in_width, LAYER_NORM_EPS)
        self.pool = downsampling(spec.pool, context.stride)
        self.attend = RelativeAttention(context.in_width, width, spec.head_dim, context.side)
        self.shortcut = nn.Sequential(downsampling(spec.pool, context.stride))
        if context.in_width != width:
            self.shortcut.append(pointwise(context.in_width, width))
        self.feed_norm = nn.LayerNorm(width, LAYER_NORM_EPS)
        self.feed = nn.Sequential(dense(width, hidden), nn.GELU(), dense(hidden, width))
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Attend, add, feed forward, add."""
        normed_BCHW = self.norm(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x_BOHW = self.shortcut(x_BCHW) + self.drop_path(self.attend(self.pool(normed_BCHW)))
        y_BHWO = self.feed(self.feed_norm(x_BOHW.permute(0, 2, 3, 1)))
        out_BOHW: Tensor = x_BOHW + self.drop_path(y_BHWO.permute(0, 3, 1, 2))
        return out_BOHW
