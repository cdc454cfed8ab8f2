"""Pre-activation MBConv: the inverted bottleneck of CoAtNet."""

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
from search_spaces.blocks.squeeze_excite import (
    squeeze_excite_kept,
    squeeze_excite_macs,
    squeeze_excite_operations,
    squeeze_excite_params,
)
from search_spaces.blocks.weight import Weight, weight_cost, weight_operations
from search_spaces.cost import Cost, kept_by_activation, kept_input_area, output_side, static_cost
from search_spaces.operations import Operation, activation, convolution, downsampling, norm, pointwise
from search_spaces.spec import ActivationName, Expand, Kernel, Ratio, Spec


class OutputSqueezeExcite(Spec):
    """Squeeze-and-excitation whose reduced width is max(1, int(ratio * the block's output width))."""

    ratio: Ratio

    def reduced_width(self, width: int) -> int:
        """Width between the two 1x1 convolutions."""
        return max(1, int(self.ratio * width))


class PreactMBConvWeights(Spec):
    """The weights of each convolution; biases are never mixed."""

    expand: Weight = "static"
    depthwise: Weight = "static"
    project: Weight = "static"
    shortcut: Weight = "static"


class PreactMBConv(Spec):
    """x + Project(Excite(Depthwise(Expand(Norm(x))))), with a shortcut everywhere.

    Where it differs from MBConv: a batch norm comes first and none last, the expanded and the reduced width
    are taken from the *output* width, the projection has a bias, and a block with a stride or a change of
    width has a shortcut too, pooled and projected. `stride_at` says which layer takes the stride: the
    expansion (fewest multiply-adds), the depthwise convolution, or a pooling before both. These choices
    hardly move accuracy and do move step time.

    Source: Dai et al. 2021, arXiv:2106.04803, appendix A.1; MaxViT's released code for what it leaves open.
    """

    constrained_by: ClassVar[frozenset[str]] = frozenset()

    op: Literal["preact_mbconv"] = "preact_mbconv"
    kernel: Kernel = 3
    expand: Expand = 4
    se: Literal["none"] | OutputSqueezeExcite = "none"
    act: ActivationName = "gelu"
    stride_at: Literal["depthwise", "expand", "pool"] = "depthwise"
    pool: PoolName = "max"
    weights: PreactMBConvWeights = PreactMBConvWeights()

    def canonical(self, in_width: int, width: int, *, stride: int) -> "PreactMBConv":
        """Without a stride nothing takes it or is pooled; at the same width no shortcut is projected."""
        changes: dict[str, Any] = {}
        if stride == 1 and (self.stride_at != "depthwise" or self.pool != "max"):
            changes = {"stride_at": "depthwise", "pool": "max"}
        if in_width == width and self.weights.shortcut != "static":
            changes["weights"] = self.weights.model_copy(update={"shortcut": "static"})
        return self.model_copy(update=changes) if changes else self

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        """Paths of the fields that make no difference to the network."""
        strided = frozenset({"stride_at", "pool"}) if stride == 1 else frozenset()
        return strided | {"weights.shortcut"} if in_width == width else strided

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        """Any width goes at any resolution."""
        return None

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Closed form, with i in, o out, h = expand * o, k kernel, r reduced; E the area after the expansion
        (that of the output where the stride comes before it, else of the input), B the area of the output.

        params = [i o + o if i != o] + 2 i + i h + 2 h + k^2 h + 2 h + [2 h r + r + h] + h o + o
        macs   = [B i o if i != o] + E i h + B k^2 h + [2 h r] + B h o
        and what `weights` add to their convolutions.
        """
        hidden = width * self.expand
        area_in, area_out = side * side, output_side(side, stride) ** 2
        takes_stride = self.stride_at == "depthwise"
        expanded_side = side if takes_stride else output_side(side, stride)
        expanded_area = expanded_side**2
        act_maps = kept_by_activation(self.act)

        params = shortcut_params(in_width, width) + 2 * in_width + in_width * hidden
        params += 4 * hidden + self.kernel**2 * hidden + hidden * width + width
        macs = shortcut_macs(in_width, width, area_out) + expanded_area * in_width * hidden
        macs += area_out * hidden * (self.kernel**2 + width)

        kept = shortcut_kept(in_width, width, side=side, stride=stride, pool=self.pool)
        kept += in_width * area_in  # the block's input, for the norm
        kept += in_width * kept_input_area(side, 1, stride if self.stride_at == "expand" else 1, padding)
        if self.stride_at == "pool" and stride > 1:
            kept += pooling_kept(in_width * area_out, self.pool) + in_width * area_out
        kept += act_maps * hidden * expanded_area
        kept += hidden * kept_input_area(expanded_side, self.kernel, stride if takes_stride else 1, padding)
        kept += (1 + act_maps) * hidden * area_out
        if self.se != "none":
            reduced = self.se.reduced_width(width)
            params += squeeze_excite_params(reduced, hidden)
            macs += squeeze_excite_macs(reduced, hidden)
            kept += squeeze_excite_kept(reduced, hidden, area_out, act_maps)
        return static_cost(params=params, macs=macs, kept=kept) + self._weight_cost(in_width, width)

    def _weight_cost(self, in_width: int, width: int) -> Cost:
        hidden, weights = width * self.expand, self.weights
        total = weight_cost(weights.expand, in_width, hidden, kernel=1)
        total += weight_cost(weights.depthwise, hidden, hidden, kernel=self.kernel, groups=hidden)
        total += weight_cost(weights.project, hidden, width, kernel=1)
        return (
            total if in_width == width else total + weight_cost(weights.shortcut, in_width, width, kernel=1)
        )

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        """Norm, pooling, expansion, depthwise convolution, excitation, projection, shortcut, in order."""
        hidden = width * self.expand
        area_in, area_out = side * side, output_side(side, stride) ** 2
        expanded = area_in if self.stride_at == "depthwise" else area_out
        found = [norm(in_width, area_in)]
        if self.stride_at == "pool" and stride > 1:
            found.append(downsampling(in_width, area_in, area_out))
        read = area_out if self.stride_at == "pool" else area_in
        expand = convolution(in_width, hidden, kernel=1, area_in=read, area_out=expanded)
        found += weight_operations(self.weights.expand, expand, in_width)
        found += [norm(hidden, expanded), activation(hidden, expanded)]
        depthwise = convolution(
            hidden, hidden, kernel=self.kernel, area_in=expanded, area_out=area_out, groups=hidden
        )
        found += weight_operations(self.weights.depthwise, depthwise, hidden)
        found += [norm(hidden, area_out), activation(hidden, area_out)]
        if self.se != "none":
            found += squeeze_excite_operations(self.se.reduced_width(width), hidden, area_out)
        found += weight_operations(self.weights.project, pointwise(hidden, width, area_out), hidden, width)
        return (
            *found,
            *shortcut_operations(in_width, width, side=side, stride=stride, weight=self.weights.shortcut),
        )
