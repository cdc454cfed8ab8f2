"""Squeeze-and-excitation: what it is computed from, and what it costs."""

from typing import Literal

from pydantic import Field

from search_spaces.operations import Operation, activation, linear, pool, scale
from search_spaces.spec import Ratio, Spec


class SqueezeExcite(Spec):
    """Channel attention: pool, reduce, activate, restore, sigmoid, multiply.

    Source: Hu et al. 2018, arXiv:1709.01507. The EfficientNets take the reduced width from the block's
    *input* channels (before expansion), which is the default here; MobileNetV3 takes the expanded width.
    """

    ratio: Ratio
    source: Literal["input", "expanded"] = Field(default="input", alias="from")

    def reduced_width(self, in_width: int, hidden: int) -> int:
        """Width between the two 1x1 convolutions: max(1, int(ratio * width)), as in the released code."""
        width = in_width if self.source == "input" else hidden
        return max(1, int(width * self.ratio))


def squeeze_excite_params(reduced: int, hidden: int) -> int:
    """Two 1x1 convolutions with bias: hidden -> reduced -> hidden."""
    return hidden * reduced + reduced + reduced * hidden + hidden


def squeeze_excite_macs(reduced: int, hidden: int) -> int:
    """On a 1x1 map, so independent of the resolution."""
    return 2 * reduced * hidden


def squeeze_excite_kept(reduced: int, hidden: int, area: int, act_maps: int) -> int:
    """Pooled input, reduced map(s), gate, and the product that the next convolution reads."""
    return 2 * hidden + act_maps * reduced + hidden * area


def squeeze_excite_operations(reduced: int, hidden: int, area: int) -> tuple[Operation, ...]:
    """Pool, reduce, activate, restore, sigmoid, multiply."""
    return (
        pool(hidden, area),
        linear(hidden, reduced),
        activation(reduced, 1),
        linear(reduced, hidden),
        activation(hidden, 1),
        scale(hidden, area),
    )
