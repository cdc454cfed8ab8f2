"""Fused-MBConv: the bottleneck whose expansion and depthwise convolutions are one dense convolution."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from search_spaces.blocks.squeeze_excite import (
    SqueezeExcite,
    squeeze_excite_kept,
    squeeze_excite_macs,
    squeeze_excite_operations,
    squeeze_excite_params,
)
from search_spaces.blocks.weight import Weight, weight_cost, weight_operations
from search_spaces.cost import Cost, kept_by_activation, kept_input_area, output_side, static_cost
from search_spaces.operations import Operation, activation, add, convolution, norm
from search_spaces.spec import ActivationName, Expand, Kernel, Spec


class FusedMBConvWeights(Spec):
    """The weights of each convolution."""

    fused: Weight = "static"
    project: Weight = "static"


class FusedMBConv(Spec):
    """Dense kxk expansion, squeeze-and-excitation, 1x1 projection; a single kxk convolution at expand 1.

    More multiply-adds than MBConv but dense ones, which accelerators execute near their peak: early
    stages (large maps, few channels) train faster with it. At expand 1 the activation comes *before*
    the residual addition and there is no projection.

    Source: Gupta & Tan 2019 (EfficientNet-EdgeTPU); Tan & Le 2021, arXiv:2104.00298, section 3.2.
    """

    constrained_by: ClassVar[frozenset[str]] = frozenset()

    op: Literal["fused_mbconv"] = "fused_mbconv"
    kernel: Kernel = 3
    expand: Expand
    se: Literal["none"] | SqueezeExcite = "none"
    act: ActivationName = "silu"
    weights: FusedMBConvWeights = FusedMBConvWeights()

    def canonical(self, in_width: int, width: int, *, stride: int) -> "FusedMBConv":
        """At expand 1 there is no expanded map for `se` to act on, and no projection."""
        changes: dict[str, Any] = {}
        if self.expand == 1 and self.se != "none":
            changes["se"] = "none"
        if self.expand == 1 and self.weights.project != "static":
            changes["weights"] = self.weights.model_copy(update={"project": "static"})
        return self.model_copy(update=changes) if changes else self

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        """Paths of the fields that make no difference to the network."""
        return frozenset({"se", "weights.project"}) if self.expand == 1 else frozenset()

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        """Any width goes at any resolution."""
        return None

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Closed form, with i in, o out, h = expand * i, k kernel, r reduced, B out area.

        expand = 1: params = k^2 i o + 2 o;                                macs = B k^2 i o
        expand > 1: params = k^2 i h + 2 h + [2 h r + r + h] + h o + 2 o;  macs = B (k^2 i h + h o) + [2 h r]
        and what `weights` add to their convolutions.
        """
        area_out = output_side(side, stride) ** 2
        act_maps = kept_by_activation(self.act)
        kept = in_width * kept_input_area(side, self.kernel, stride, padding)
        if self.expand == 1:
            weights = self.kernel**2 * in_width * width
            has_residual = stride == 1 and in_width == width
            # The norm keeps the convolution's output. A smooth activation keeps its own input, ReLU its
            # output, which is the next layer's kept input too unless a residual is added in between.
            kept += 2 * width * area_out if act_maps == 2 or has_residual else width * area_out
            total = static_cost(params=weights + 2 * width, macs=area_out * weights, kept=kept)
            return total + weight_cost(self.weights.fused, in_width, width, kernel=self.kernel)

        hidden = in_width * self.expand
        weights = self.kernel**2 * in_width * hidden + hidden * width
        params = weights + 2 * hidden + 2 * width
        macs = area_out * weights
        kept += (1 + act_maps) * hidden * area_out + width * area_out
        if self.se != "none":
            reduced = self.se.reduced_width(in_width, hidden)
            params += squeeze_excite_params(reduced, hidden)
            macs += squeeze_excite_macs(reduced, hidden)
            kept += squeeze_excite_kept(reduced, hidden, area_out, act_maps)
        total = static_cost(params=params, macs=macs, kept=kept)
        total += weight_cost(self.weights.fused, in_width, hidden, kernel=self.kernel)
        return total + weight_cost(self.weights.project, hidden, width, kernel=1)

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        """Dense convolution and projection (expand > 1) with their norms and activations, in order."""
        hidden = width if self.expand == 1 else in_width * self.expand
        area_in, area_out = side * side, output_side(side, stride) ** 2
        fused = convolution(in_width, hidden, kernel=self.kernel, area_in=area_in, area_out=area_out)
        found = [
            *weight_operations(self.weights.fused, fused, in_width),
            norm(hidden, area_out),
            activation(hidden, area_out),
        ]
        if self.expand != 1:
            if self.se != "none":
                found += squeeze_excite_operations(self.se.reduced_width(in_width, hidden), hidden, area_out)
            project = convolution(hidden, width, kernel=1, area_in=area_out, area_out=area_out)
            found += weight_operations(self.weights.project, project, hidden)
            found.append(norm(width, area_out))
        if stride == 1 and in_width == width:
            found.append(add(width, area_out))
        return tuple(found)
