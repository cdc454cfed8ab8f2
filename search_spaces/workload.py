"""The operations of a whole network, and physical features of one part of it."""

from typing import NamedTuple

from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.weight import weight_operations
from search_spaces.cost import FLOAT32_BYTES, Cost, output_side
from search_spaces.operations import OPERATION_KINDS, Operation, activation, convolution, linear, norm, pool

MAC_KINDS = ("conv", "depthwise", "pointwise", "linear", "matmul", "mix")
"""Kinds that `cost` counts multiply-adds of."""

PHYSICAL_QUANTITIES = (
    *(f"macs.{kind}" for kind in MAC_KINDS),
    *(f"elements.{kind}" for kind in OPERATION_KINDS),
    "weights",
    "kept_elements",
    "operations",
)
"""What `physical_row` counts: multiply-adds by kind, elements read and written by kind, trainable parameters,
elements kept for the backward pass, and the number of operations."""


class Part(NamedTuple):
    """A part of a network: what it executes, and the side of the map it leaves."""

    operations: tuple[Operation, ...]
    side: int


def network_operations(arch: Architecture, resolution: int, num_classes: int = 1000) -> tuple[Operation, ...]:
    """Every operation of `arch` in order, for one square image of `resolution` pixels.

    Law: their macs and weights sum to those of `search_spaces.architecture.cost`.

    Raises:
        ValueError: a resolution or class count below 1.
    """
    if resolution < 1 or num_classes < 1:
        raise ValueError(f"resolution {resolution} and num_classes {num_classes} must be at least 1")
    found, side = stem_operations(arch.stem, arch.input.channels, resolution)
    operations = [*found]
    in_width = arch.stem.width
    for stage in arch.stages:
        found, side = stage_operations(stage, in_width, side, arch.padding)
        operations += found
        in_width = stage.width
    return (*operations, *head_operations(arch.head, in_width, side, num_classes))


def stem_operations(stem: Stem, channels: int, side: int) -> Part:
    """The stem's convolutions, norm and activation on a `side` x `side` image."""
    out = output_side(side, stem.stride)
    found = convolution(channels, stem.width, kernel=stem.kernel, area_in=side * side, area_out=out * out)
    area = out * out
    second = convolution(stem.width, stem.width, kernel=stem.kernel, area_in=area, area_out=area)
    rest = weight_operations(stem.weight, second, stem.width) if stem.depth > 1 else ()
    first = weight_operations(stem.weight, found, channels)
    return Part((*first, norm(stem.width, area), activation(stem.width, area), *rest), out)


def stage_operations(stage: Stage, in_width: int, side: int, padding: str) -> Part:
    """What all blocks of a stage execute that reads `in_width` channels of `side` pixels."""
    block, width = stage.block, stage.width
    first = block.operations(in_width, width, stride=stage.stride, side=side, padding=padding)
    side = output_side(side, stage.stride)
    if stage.depth == 1:
        return Part(first, side)
    rest = block.operations(width, width, stride=1, side=side, padding=padding)
    return Part(first + rest * (stage.depth - 1), side)


def head_operations(head: Head, in_width: int, side: int, num_classes: int) -> tuple[Operation, ...]:
    """Convolution, norm, activation and pooling, or what the pooled form has of them; linear layers."""
    area = side * side
    if head.form == "pooled":
        found = [
            pool(in_width, area),
            norm(in_width, 1),
            linear(in_width, head.width),
            activation(head.width, 1),
        ]
    else:
        convolved = convolution(in_width, head.width, kernel=1, area_in=area, area_out=area)
        found = [
            *weight_operations(head.weight, convolved, in_width),
            norm(head.width, area),
            activation(head.width, area),
            pool(head.width, area),
        ]
    if head.linear != "none":
        found += [linear(head.width, head.linear.width), activation(head.linear.width, 1)]
    return (*found, linear(head.features, num_classes))


def physical_row(operations: tuple[Operation, ...], cost: Cost) -> tuple[int, ...]:
    """Counts of `PHYSICAL_QUANTITIES` over operations that cost `cost`; additive over parts."""
    macs = dict.fromkeys(MAC_KINDS, 0)
    elements = dict.fromkeys(OPERATION_KINDS, 0)
    for operation in operations:
        elements[operation.kind] += operation.read + operation.written
        if operation.macs:
            macs[operation.kind] += operation.macs
    kept = cost.activation_bytes // FLOAT32_BYTES
    return (*macs.values(), *elements.values(), cost.params, kept, len(operations))
