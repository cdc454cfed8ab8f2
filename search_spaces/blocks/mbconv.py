"""MBConv: the inverted residual bottleneck with a depthwise convolution."""

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


class MBConvWeights(Spec):
    """The weights of each convolution."""

    expand: Weight = "static"
    depthwise: Weight = "static"
    project: Weight = "static"


class MBConv(Spec):
    """1x1 expansion, depthwise kxk, squeeze-and-excitation, 1x1 projection; residual where shapes allow.

    Few multiply-adds and few parameters, but depthwise convolutions run at a few percent of an
    accelerator's peak: cheap by count, dear by the clock, most of all at high resolution.

    Source: Sandler et al. 2018, arXiv:1801.04381; Tan & Le 2019, arXiv:1905.11946.
    """

    constrained_by: ClassVar[frozenset[str]] = frozenset()

    op: Literal["mbconv"] = "mbconv"
    kernel: Kernel = 3
    expand: Expand
    se: Literal["none"] | SqueezeExcite = "none"
    act: ActivationName = "silu"
    weights: MBConvWeights = MBConvWeights()

    def canonical(self, in_width: int, width: int, *, stride: int) -> "MBConv":
        """Without expansion there is no first convolution, and `se.from` says nothing: both widths agree."""
        changes: dict[str, Any] = {}
        if self.expand == 1 and self.se != "none" and self.se.source != "input":
            changes["se"] = SqueezeExcite(ratio=self.se.ratio)
        if self.expand == 1 and self.weights.expand != "static":
            changes["weights"] = self.weights.model_copy(update={"expand": "static"})
        return self.model_copy(update=changes) if changes else self

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        """Paths of the fields that make no difference to the network."""
        return frozenset({"se.from", "weights.expand"}) if self.expand == 1 else frozenset()

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        """Any width goes at any resolution."""
        return None

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Closed form, with i in, o out, h = expand * i, k kernel, r reduced, A in and B out area.

        params = [i h + 2 h if expand > 1] + k^2 h + 2 h + [2 h r + r + h] + h o + 2 o
        macs   = [A i h if expand > 1] + B k^2 h + [2 h r] + B h o
        and what `weights` add to their convolutions.
        """
        hidden = in_width * self.expand
        area_out = output_side(side, stride) ** 2
        act_maps = kept_by_activation(self.act)
        depthwise_input = kept_input_area(side, self.kernel, stride, padding)

        params = self.kernel**2 * hidden + 2 * hidden + hidden * width + 2 * width
        macs = area_out * hidden * (self.kernel**2 + width)
        kept = hidden * depthwise_input + (1 + act_maps) * hidden * area_out + width * area_out
        if self.expand != 1:
            area_in = side * side
            params += in_width * hidden + 2 * hidden
            macs += area_in * in_width * hidden
            # The expansion keeps its input, its output (for the norm) and what the activation keeps;
            # the activation's output is the depthwise input, counted above.
            kept += in_width * area_in + act_maps * hidden * area_in
        if self.se != "none":
            reduced = self.se.reduced_width(in_width, hidden)
            params += squeeze_excite_params(reduced, hidden)
            macs += squeeze_excite_macs(reduced, hidden)
            kept += squeeze_excite_kept(reduced, hidden, area_out, act_maps)
        total = static_cost(params=params, macs=macs, kept=kept)
        if self.expand != 1:
            total += weight_cost(self.weights.expand, in_width, hidden, kernel=1)
        total += weight_cost(self.weights.depthwise, hidden, hidden, kernel=self.kernel, groups=hidden)
        return total + weight_cost(self.weights.project, hidden, width, kernel=1)

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        """Expansion, depthwise convolution and projection with their norms and activations, in order."""
        hidden = in_width * self.expand
        area_in, area_out = side * side, output_side(side, stride) ** 2
        found: list[Operation] = []
        if self.expand != 1:
            expand = convolution(in_width, hidden, kernel=1, area_in=area_in, area_out=area_in)
            found += weight_operations(self.weights.expand, expand, in_width)
            found += [norm(hidden, area_in), activation(hidden, area_in)]
        depthwise = convolution(
            hidden, hidden, kernel=self.kernel, area_in=area_in, area_out=area_out, groups=hidden
        )
        found += weight_operations(self.weights.depthwise, depthwise, hidden)
        found += [norm(hidden, area_out), activation(hidden, area_out)]
        if self.se != "none":
            found += squeeze_excite_operations(self.se.reduced_width(in_width, hidden), hidden, area_out)
        project = convolution(hidden, width, kernel=1, area_in=area_out, area_out=area_out)
        found += weight_operations(self.weights.project, project, hidden)
        found.append(norm(width, area_out))
        if stride == 1 and in_width == width:
            found.append(add(width, area_out))
        return tuple(found)
