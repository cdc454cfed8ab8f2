"""How a convolution comes by its weights: its own, mixed of experts for every image, summed of branches."""

from typing import Annotated, Literal

from pydantic import Field

from search_spaces.cost import FLOAT32_BYTES, NO_COST, Cost
from search_spaces.operations import Operation, activation, linear, pool
from search_spaces.spec import Spec

Experts = Annotated[int, Field(ge=1, le=64)]
Branches = Annotated[int, Field(ge=1, le=16)]


class Dynamic(Spec):
    """W(x) = sum over M experts of alpha_m(x) W_m: one kernel an image, mixed from experts by a router.

    alpha = activation(router(mean of x over its positions)). The parameters grow M-fold, the convolution
    itself costs what it did, and mixing costs M multiply-adds for each weight, whatever the resolution:
    little on large maps, much on small ones. The kernels differ from image to image, so step time may grow by
    far more than the multiply-adds.

    `linear`: one linear layer with bias (ParameterNet's released code, CondConv). `mlp`: two without bias,
    as wide as the input between them (the paper's formula): for a 1x1 convolution it costs as much again as
    the convolution, for a depthwise one many times as much.

    Source: Han et al. 2023, arXiv:2306.14525; Yang et al. 2019, arXiv:1904.04971 (CondConv); Chen et al.
    2020, arXiv:1912.03458 (softmax).
    """

    op: Literal["dynamic"] = "dynamic"
    experts: Experts
    router: Literal["linear", "mlp"] = "linear"
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def extra_cost(self, in_width: int, width: int, own: int) -> Cost:
        """What is added to a static convolution of `own` weights from `in_width` to `width` channels.

        With i in, M experts, P own: the router has R = i M + M weights, or by mlp i^2 + i M, and costs
        Q = i M multiply-adds, or i^2 + i M.
        params = (M - 1) P + R; active = R; macs = M P + Q; kept = P mixed weights, i pooled, M gates [, i].
        """
        hidden = in_width * in_width if self.router == "mlp" else 0
        router_macs = hidden + in_width * self.experts
        router = router_macs + (self.experts if self.router == "linear" else 0)
        kept = own + in_width + self.experts + (in_width if hidden else 0)
        return Cost(
            params=(self.experts - 1) * own + router,
            active_params=router,
            macs=self.experts * own + router_macs,
            activation_bytes=FLOAT32_BYTES * kept,
        )

    def extra_operations(self, in_width: int, width: int, area: int, own: int) -> tuple[Operation, ...]:
        """Pooling, router, gates and mixing, before the convolution itself."""
        if self.router == "linear":
            router = [linear(in_width, self.experts)]
        else:
            square, last = in_width * in_width, in_width * self.experts
            router = [
                Operation("linear", square, in_width, in_width, square),
                activation(in_width, 1),
                Operation("linear", last, in_width, self.experts, last),
            ]
        mixing = Operation("mix", self.experts * own, self.experts, own, (self.experts - 1) * own)
        return (pool(in_width, area), *router, activation(self.experts, 1), mixing)


class Reparam(Spec):
    """W = sum over branches b of s_b W_b, a scale s_b for each output channel: one kernel for all images.

    `branches` parallel convolutions beside the first, of one shape. They are linear, so their kernels are
    summed and not their maps: a training step has more parameters to update, and hardly more to compute.
    After training the sum is stored in their place (`search_spaces.merging`), and nothing is left of them;
    of the parameters that sum alone is active. Scales and not norms, because a norm of each branch's map
    would have to be computed as often as there are branches.

    Source: Hu et al. 2022, arXiv:2204.00826 (scales, and summing in training); Han et al. 2023,
    arXiv:2306.14525, which finds that such parameters, unlike experts, do not help (3 branches).
    """

    op: Literal["reparam"] = "reparam"
    branches: Branches

    def extra_cost(self, in_width: int, width: int, own: int) -> Cost:
        """What is added to a static convolution of `own` weights to `width` channels, in training.

        With N = branches + 1, P own, o out: params = (N - 1) P + N o; active = 0; macs = N P, once a batch.
        Nothing is kept for an image.
        """
        kernels = self.branches + 1
        return Cost(
            params=self.branches * own + kernels * width,
            active_params=0,
            macs=kernels * own,
            activation_bytes=0,
        )

    def extra_operations(self, in_width: int, width: int, area: int, own: int) -> tuple[Operation, ...]:
        """Summing, before the convolution itself."""
        kernels = self.branches + 1
        return (Operation("mix", kernels * own, 0, own, self.branches * own + kernels * width),)


Weight = Literal["static"] | Dynamic | Reparam


def weight_cost(weight: Weight, in_width: int, width: int, *, kernel: int, groups: int = 1) -> Cost:
    """What a convolution's weights cost beyond a static convolution; nothing where they are static."""
    if weight == "static":
        return NO_COST
    return weight.extra_cost(in_width, width, kernel**2 * (in_width // groups) * width)


def weight_operations(
    weight: Weight, convolution: Operation, in_width: int, bias: int = 0
) -> tuple[Operation, ...]:
    """A convolution with `bias` biases, after what makes its weights."""
    if weight == "static":
        return (convolution,)
    own = convolution.weights - bias
    width = convolution.written // (convolution.macs // own)
    found = weight.extra_operations(in_width, width, convolution.read // in_width, own)
    return (*found, convolution)
