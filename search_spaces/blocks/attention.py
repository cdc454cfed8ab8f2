"""The transformer block of CoAtNet: relative self-attention and a feed-forward pair."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from search_spaces.blocks.shortcut import (
    PoolName,
    pooling_kept,
    shortcut_kept,
    shortcut_macs,
    shortcut_operations,
    shortcut_params,
)
from search_spaces.cost import Cost, output_side, static_cost
from search_spaces.operations import Operation, activation, add, downsampling, norm, pointwise
from search_spaces.spec import Expand, HeadDim, Spec

MAX_TOKENS = 4_096
"""Attention keeps heads * tokens^2 numbers an image: past 64x64 positions that is beyond any device."""


class Attention(Spec):
    """x + Attention(Norm(x)), then x + FeedForward(Norm(x)).

    The softmax is of q.k / sqrt(head_dim) + bias, with one trained bias for each head and each offset between
    two positions: the input-independent part works like a global depthwise convolution. The table has
    (2 H - 1)^2 entries a head for an H x H map, so *the parameters depend on the resolution* the network is
    built for; at any other the table is interpolated. A first block with a stride pools after the norm and
    on the shortcut. Multiply-adds grow with the square of the number of positions.

    Source: Dai et al. 2021, arXiv:2106.04803, equations 3 to 5 and appendix A.1.
    """

    constrained_by: ClassVar[frozenset[str]] = frozenset({"head_dim"})

    op: Literal["attention"] = "attention"
    head_dim: HeadDim = 32
    expand: Expand = 4
    pool: PoolName = "max"

    def canonical(self, in_width: int, width: int, *, stride: int) -> "Attention":
        """Without a stride nothing is pooled."""
        if stride == 1 and self.pool != "max":
            return self.model_copy(update={"pool": "max"})
        return self

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        """Paths of the fields that make no difference to the network."""
        return frozenset({"pool"}) if stride == 1 else frozenset()

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        """Whole heads, and no more positions than attention can be paid to."""
        if width % fields["head_dim"]:
            return f"width {width} is not divisible by head_dim {fields['head_dim']}"
        if side * side > MAX_TOKENS:
            return f"attention over a map of {side} x {side} is more than {MAX_TOKENS:,} positions"
        return None

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Closed form, with i in, o out, f = expand * o, g heads, H output side, n = H^2 positions.

        params = [i o + o if i != o] + 2 i + 3 (i o + o) + o^2 + o + g (2 H - 1)^2 + 2 o + 2 o f + f + o
        macs   = n ([i o if i != o] + 3 i o + o^2 + 2 o f) + 2 n^2 o
        """
        out = output_side(side, stride)
        tokens, heads, hidden = out * out, width // self.head_dim, width * self.expand
        weights = 3 * in_width * width + width * width + 2 * width * hidden
        params = shortcut_params(in_width, width) + weights + heads * (2 * out - 1) ** 2
        params += 2 * in_width + 3 * width + width + 2 * width + hidden + width
        macs = shortcut_macs(in_width, width, tokens) + tokens * weights + 2 * tokens**2 * width

        kept = shortcut_kept(in_width, width, side=side, stride=stride, pool=self.pool)
        # First norm: its input, mean and deviation; then the normed map, pooled, is what q, k and v read.
        kept += side * side * (in_width + 2) + tokens * in_width
        if stride > 1:
            kept += in_width * side * side + pooling_kept(in_width * tokens, self.pool)
        # q, k and v, the probabilities, and the heads' outputs that the projection reads.
        kept += 3 * tokens * width + heads * tokens**2 + tokens * width
        # Second norm, its output, and the hidden layer before and after the activation.
        kept += tokens * (width + 2) + tokens * width + 2 * tokens * hidden
        return static_cost(params=params, macs=macs, kept=kept)

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        """Norm, pooling, attention, shortcut, and the feed-forward pair, in order."""
        out = output_side(side, stride)
        tokens, heads, hidden = out * out, width // self.head_dim, width * self.expand
        scores, products = heads * tokens**2, tokens**2 * width
        found = [norm(in_width, side * side)]
        if stride > 1:
            found.append(downsampling(in_width, side * side, tokens))
        found += [pointwise(in_width, width, tokens)] * 3
        found += [
            Operation("matmul", products, 2 * width * tokens, scores, 0),
            Operation("add", 0, scores, scores, heads * (2 * out - 1) ** 2),
            activation(heads, tokens**2),
            Operation("matmul", products, scores + width * tokens, width * tokens, 0),
            pointwise(width, width, tokens),
            *shortcut_operations(in_width, width, side=side, stride=stride),
            norm(width, tokens),
            pointwise(width, hidden, tokens),
            activation(hidden, tokens),
            pointwise(hidden, width, tokens),
            add(width, tokens),
        ]
        return tuple(found)
