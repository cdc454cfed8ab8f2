"""A roofline over exact operations: how long a device would take, from its rates alone. Loads no torch.

Each operation takes the longer of its arithmetic and its traffic, and a launch. Nothing is fused: a norm or
an activation moves its map through memory, as an eager framework does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveFloat

from search_spaces.operations import Operation, OperationKind
from search_spaces.spec import Name, Resolution, Spec

Mode = Literal["training", "inference"]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]

UNCALIBRATED_SCALE = 1.6
UNCALIBRATED_FACTOR = 1.8
"""For profiles without anchors: about the middle of the calibrated scales (1.11 to 2.08), and how far the
anchors of those profiles are from it."""

OPTIMIZER_BYTES = 26
"""Bytes that an SGD step with momentum moves for a parameter: weight, gradient and momentum are read and
two of them written in fp32, and a half-precision copy and gradient are cast."""


class Passes(NamedTuple):
    """What one forward operation becomes in a training step, in multiples of itself."""

    macs: float
    traffic: float
    launches: int


_PRODUCT = Passes(3.0, 3.0, 3)  # forward, gradient of the input, gradient of the weights
TRAINING: dict[OperationKind, Passes] = {
    "conv": _PRODUCT,
    "depthwise": _PRODUCT,
    "pointwise": _PRODUCT,
    "linear": _PRODUCT,
    "matmul": _PRODUCT,
    "mix": _PRODUCT,
    # Forward reads the map twice (moments, then the result) and writes it; backward reads the map and its
    # gradient twice and writes once: 8 passes, where `Operation` counts 2.
    "norm": Passes(1.0, 4.0, 2),
    "activation": Passes(1.0, 2.5, 2),  # backward reads input and gradient, writes one
    "scale": Passes(1.0, 3.0, 3),
    "pool": Passes(1.0, 2.0, 2),
    "add": Passes(1.0, 2.0, 2),
    "copy": Passes(1.0, 2.0, 2),
}
INFERENCE = Passes(1.0, 1.0, 1)


class Anchor(Spec):
    """A published speed of a known network on this hardware, that the scale was set by."""

    architecture: Name
    resolution: Resolution
    batch_size: Annotated[int, Field(ge=1)]
    precision: Literal["fp32", "tf32", "fp16", "bf16"]
    images_per_second: PositiveFloat


class Roofline(Spec):
    """What part of its peak rates a device reaches. The defaults hold for every device; `scale` is its own.

    `scale` is the median over `anchors` of published time / estimate, `factor` at least the largest ratio
    between an anchor and the scaled estimate, either way.
    """

    product_efficiency: Fraction = 0.5
    depthwise_efficiency: Fraction = 0.25
    bandwidth_efficiency: Fraction = 0.75
    launch_seconds: Annotated[float, Field(ge=0.0)] = 2e-6
    scale: PositiveFloat = UNCALIBRATED_SCALE
    factor: Annotated[float, Field(ge=1.0)] = UNCALIBRATED_FACTOR
    source: Annotated[str, Field(max_length=300)] = ""
    anchors: tuple[Anchor, ...] = ()

    @property
    def is_calibrated(self) -> bool:
        """Whether anything is known of this very device."""
        return bool(self.anchors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Peak rates of a device in one precision."""

    flops: float
    """FLOP/s; a multiply-add is two."""
    bytes_per_second: float
    element_bytes: int


def roofline_seconds(
    operations: Iterable[Operation], rates: Rates, roofline: Roofline, *, batch_size: int, mode: Mode
) -> float:
    """Seconds of one batch, before `scale`.

    sum over operations of max(2 macs / (F e), bytes / (B b)) + launches l, and in training the optimizer's
    traffic; F and B are peak rates, e and b the parts of them that are reached, l the time of a launch.

    Laws: it never falls with any operation's work, nor rises with a rate; per image it never rises with the
    batch size.
    """
    bandwidth = rates.bytes_per_second * roofline.bandwidth_efficiency
    efficiency = {"depthwise": roofline.depthwise_efficiency}
    seconds, weights = 0.0, 0
    for operation in operations:
        passes = TRAINING[operation.kind] if mode == "training" else INFERENCE
        flops = rates.flops * efficiency.get(operation.kind, roofline.product_efficiency)
        arithmetic = 2.0 * operation.macs * passes.macs * batch_size / flops
        elements = (operation.read + operation.written) * passes.traffic * batch_size
        elements += operation.weights * passes.launches
        traffic = elements * rates.element_bytes / bandwidth
        seconds += max(arithmetic, traffic) + passes.launches * roofline.launch_seconds
        weights += operation.weights
    if mode == "training":
        seconds += weights * OPTIMIZER_BYTES / bandwidth
    return seconds
