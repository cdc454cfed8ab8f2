"""What a network costs, as integers, before any of it is built.

Conventions (used wherever a cost is printed):
    params            trainable parameters, batch-norm scale and shift included, running statistics not
    active_params     parameters of one image's network (fewer than `params` only with experts: of a dynamic
                      convolution the one kernel that an image's experts are mixed to, and the router)
    macs              multiply-adds of convolutions and linear layers for one image, one forward pass;
                      norms, activations, softmax, pooling and biases are not counted; attention's two
                      products of tokens are
    activation_bytes  what autograd keeps for the backward pass of one image, in fp32, weights excluded
                      (exact; only ReLU before a SAME-padded strided convolution keeps one map more)
"""

from typing import NamedTuple

FLOAT32_BYTES = 4


class Cost(NamedTuple):
    """Exact cost of a network or of a part of it."""

    params: int
    active_params: int
    macs: int
    activation_bytes: int

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        """Sum by component."""
        return Cost(
            self.params + other.params,
            self.active_params + other.active_params,
            self.macs + other.macs,
            self.activation_bytes + other.activation_bytes,
        )

    def times(self, count: int) -> "Cost":
        """Cost of `count` equal parts."""
        return Cost(
            count * self.params,
            count * self.active_params,
            count * self.macs,
            count * self.activation_bytes,
        )


NO_COST = Cost(0, 0, 0, 0)


def static_cost(*, params: int, macs: int, kept: int) -> Cost:
    """Cost of a part all of whose parameters are active; `kept` counts elements saved for backward."""
    return Cost(params, params, macs, FLOAT32_BYTES * kept)


def output_side(side: int, stride: int) -> int:
    """Height (= width) of a map after a padded convolution: ceil(side / stride), for both paddings."""
    return -(-side // stride)


def total_padding(side: int, kernel: int, stride: int) -> int:
    """Rows that TensorFlow's SAME padding adds in all; odd totals put the extra row at the bottom."""
    return max((output_side(side, stride) - 1) * stride + kernel - side, 0)


def kept_input_area(side: int, kernel: int, stride: int, padding: str) -> int:
    """Area of the map that a convolution keeps for its backward pass.

    A convolution keeps its input; SAME padding with an odd total first copies the input into a larger
    map, and then it is that copy that is kept.
    """
    if padding == "same":
        total = total_padding(side, kernel, stride)
        if total % 2:
            return (side + total) ** 2
    return side * side


def kept_by_activation(act: str) -> int:
    """How many maps convolution, norm and activation keep between them, before the activation's output.

    The norm keeps the convolution's output. A smooth activation keeps the norm's output; ReLU does not,
    since its gradient follows from its own output, which the convolution that reads it keeps anyway.
    """
    return 1 if act == "relu" else 2
