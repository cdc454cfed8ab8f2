"""What a device executes, operation by operation: the workload that step times are predicted from.

Counts are exact integers for one image and one forward pass. `macs` and `weights` follow
`search_spaces.cost`: summed over a block they equal its `cost`. Elements are those of activations; how many
bytes each has is the business of whoever knows the precision. Nothing is fused here: a batch norm reads and
writes its map, so that a model of a device can decide what its compiler would merge.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

OperationKind = Literal[
    "conv",  # dense convolution of more than one pixel
    "depthwise",  # one filter a channel, and grouped convolutions
    "pointwise",  # dense 1x1 convolution on a map
    "linear",  # on one vector an image: squeeze-and-excitation, routers, the classifier
    "matmul",  # product of two activations: attention
    "norm",
    "activation",  # any element-wise function of one map, softmax included
    "pool",  # mean or sum over a map
    "scale",  # product of a map with one number a channel
    "add",  # residual addition
    "copy",  # padding, partition into windows, concatenation
    "mix",  # weighted sum of experts' weights
]

OPERATION_KINDS: tuple[OperationKind, ...] = get_args(OperationKind)


class Operation(NamedTuple):
    """One operation of a network, for one image, forward."""

    kind: OperationKind
    macs: int
    """Multiply-adds as `cost` counts them; 0 for what it does not count."""
    read: int
    """Elements of activations read."""
    written: int
    """Elements of activations written."""
    weights: int
    """Trainable parameters that the operation owns, biases, norm scale and shift included."""


def convolution(
    in_width: int, width: int, *, kernel: int, area_in: int, area_out: int, groups: int = 1
) -> Operation:
    """A convolution without bias: macs = area_out k^2 i o / groups."""
    weights = kernel**2 * (in_width // groups) * width
    kind: OperationKind = "depthwise" if groups > 1 else "conv" if kernel > 1 else "pointwise"
    return Operation(kind, area_out * weights, in_width * area_in, width * area_out, weights)


def linear(in_width: int, width: int) -> Operation:
    """A linear layer with bias on one vector an image."""
    return Operation("linear", in_width * width, in_width, width, in_width * width + width)


def norm(width: int, area: int) -> Operation:
    """A norm with scale and shift for each channel."""
    return Operation("norm", 0, width * area, width * area, 2 * width)


def activation(width: int, area: int) -> Operation:
    """An element-wise function."""
    return Operation("activation", 0, width * area, width * area, 0)


def pool(width: int, area: int) -> Operation:
    """The mean of each channel."""
    return Operation("pool", 0, width * area, width, 0)


def pointwise(in_width: int, width: int, area: int) -> Operation:
    """A 1x1 convolution with bias, or a linear layer on each position of a map."""
    weights = in_width * width
    return Operation("pointwise", area * weights, in_width * area, width * area, weights + width)


def downsampling(width: int, area_in: int, area_out: int) -> Operation:
    """Pooling from one map to a smaller one."""
    return Operation("pool", 0, width * area_in, width * area_out, 0)


def scale(width: int, area: int) -> Operation:
    """A map times one number a channel."""
    return Operation("scale", 0, width * area + width, width * area, 0)


def add(width: int, area: int) -> Operation:
    """The sum of two maps."""
    return Operation("add", 0, 2 * width * area, width * area, 0)


def total_macs(operations: Iterable[Operation]) -> int:
    """Multiply-adds of them all; of a block's operations, what its `cost` says."""
    return sum(operation.macs for operation in operations)


def total_weights(operations: Iterable[Operation]) -> int:
    """Trainable parameters of them all; of a block's operations, what its `cost` says."""
    return sum(operation.weights for operation in operations)
