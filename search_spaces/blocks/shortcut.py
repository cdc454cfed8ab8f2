"""The shortcut of pre-activation blocks: pooled where the block has a stride, projected where it widens."""

from typing import Literal

from search_spaces.blocks.weight import Weight, weight_operations
from search_spaces.cost import output_side
from search_spaces.operations import Operation, add, downsampling, pointwise

PoolName = Literal["max", "avg"]


def shortcut_params(in_width: int, width: int) -> int:
    """A 1x1 convolution with bias, where the width changes."""
    return 0 if in_width == width else in_width * width + width


def shortcut_macs(in_width: int, width: int, area_out: int) -> int:
    """The convolution follows the pooling."""
    return 0 if in_width == width else in_width * width * area_out


def shortcut_kept(in_width: int, width: int, *, side: int, stride: int, pool: PoolName) -> int:
    """Beside the block's input: what pooling keeps, and the pooled map where a convolution reads it."""
    if stride == 1:
        return 0
    pooled = in_width * output_side(side, stride) ** 2
    return pooling_kept(pooled, pool) + (0 if in_width == width else pooled)


def pooling_kept(pooled: int, pool: PoolName) -> int:
    """Elements of four bytes beside pooling's input: max pooling remembers an index of eight bytes each."""
    return 2 * pooled if pool == "max" else 0


def shortcut_operations(
    in_width: int, width: int, *, side: int, stride: int, weight: Weight = "static"
) -> tuple[Operation, ...]:
    """Pooling and projection where there are any, and the addition."""
    area_out = output_side(side, stride) ** 2
    found = [downsampling(in_width, side * side, area_out)] if stride > 1 else []
    if in_width != width:
        found += weight_operations(weight, pointwise(in_width, width, area_out), in_width, width)
    return (*found, add(width, area_out))
