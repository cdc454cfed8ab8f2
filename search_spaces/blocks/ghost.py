"""The Ghost bottleneck: half of each map is made by a convolution, the other half cheaply from the first."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from search_spaces.blocks.squeeze_excite import (
    squeeze_excite_kept,
    squeeze_excite_macs,
    squeeze_excite_operations,
    squeeze_excite_params,
)
from search_spaces.blocks.weight import Weight, weight_cost, weight_operations
from search_spaces.cost import Cost, kept_by_activation, kept_input_area, output_side, static_cost
from search_spaces.operations import Operation, activation, add, convolution, norm
from search_spaces.spec import ActivationName, Kernel, Ratio, Spec, Width

SE_ACTIVATION_MAPS = kept_by_activation("relu")


class HiddenSqueezeExcite(Spec):
    """Squeeze-and-excitation whose reduced width is `ratio` times the hidden width, in multiples of 4.

    Rounded to the nearest multiple, at least 4, and up by one where that is less than 90 % of it. ReLU
    between its two layers, and a hard sigmoid for its gate.
    """

    ratio: Ratio

    def reduced_width(self, hidden: int) -> int:
        """Width between the two 1x1 convolutions."""
        wanted = hidden * self.ratio
        rounded = max(4, int(wanted + 2) // 4 * 4)
        return rounded if rounded >= 0.9 * wanted else rounded + 4


class GhostWeights(Spec):
    """The weights of each convolution: of both Ghost modules (`primary`, `cheap`), of the strided depthwise
    convolution between them, and of the two on the shortcut."""

    primary: Weight = "static"
    cheap: Weight = "static"
    depthwise: Weight = "static"
    shortcut: Weight = "static"


class Ghost(Spec):
    """Ghost module, [strided depthwise convolution], [excitation], Ghost module; a shortcut everywhere.

    A Ghost module makes half of its channels by a 1x1 convolution and the other half from these by a
    depthwise convolution of `cheap_kernel`; both are normed, in the first module also activated. `kernel`
    is that of the depthwise convolution that takes a stride, and of the one on the shortcut where shapes
    differ. `hidden`, the width between the modules, is absolute, since published rows give it so.

    Source: Han et al. 2020, arXiv:1911.11907, and its released code; Han et al. 2023, arXiv:2306.14525
    (ParameterNet).
    """

    constrained_by: ClassVar[frozenset[str]] = frozenset({"hidden"})

    op: Literal["ghost"] = "ghost"
    hidden: Width
    kernel: Kernel = 3
    cheap_kernel: Kernel = 3
    se: Literal["none"] | HiddenSqueezeExcite = "none"
    act: ActivationName = "relu"
    weights: GhostWeights = GhostWeights()

    def canonical(self, in_width: int, width: int, *, stride: int) -> "Ghost":
        """Shortcut convolutions exist where shapes change, the depthwise one where there is a stride."""
        inert = self.inert_fields(in_width, width, stride=stride)
        dull = {key: "static" for key in ("depthwise", "shortcut") if f"weights.{key}" in inert}
        changes: dict[str, Any] = {}
        if any(getattr(self.weights, key) != "static" for key in dull):
            changes["weights"] = self.weights.model_copy(update=dull)
        if "kernel" in inert and self.kernel != 3:
            changes["kernel"] = 3
        return self.model_copy(update=changes) if changes else self

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        """Paths of the fields that make no difference to the network."""
        if stride > 1:
            return frozenset()
        if in_width != width:
            return frozenset({"weights.depthwise"})
        return frozenset({"kernel", "weights.depthwise", "weights.shortcut"})

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        """Whole halves."""
        for name, value in (("width", width), ("hidden", fields["hidden"])):
            if value % 2:
                return f"{name} {value} is odd, and a Ghost module makes two equal halves"
        return None

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Closed form, with i in, h hidden, o out, k kernel, c cheap kernel, r reduced, A in and B out area.

        module(i, w) on area A: params = i w/2 + c^2 w/2 + 2 w; macs = A (i + c^2) w/2
        block: module(i, h) on A + module(h, o) on B + [k^2 h + 2 h, macs B k^2 h: if strided]
               + [2 h r + r + h, macs 2 h r: if excited]
               + [k^2 i + 2 i + i o + 2 o, macs B (k^2 i + i o): if shapes differ]
        and what `weights` add to their convolutions.
        """
        hidden, area_in, area_out = self.hidden, side * side, output_side(side, stride) ** 2
        total = self._module_cost(in_width, hidden, area_in, self.act)
        total += self._module_cost(hidden, width, area_out, None)
        if stride > 1:
            kept = hidden * kept_input_area(side, self.kernel, stride, padding) + hidden * area_out
            own = self.kernel**2 * hidden
            total += static_cost(params=own + 2 * hidden, macs=area_out * own, kept=kept)
            total += weight_cost(self.weights.depthwise, hidden, hidden, kernel=self.kernel, groups=hidden)
        if self.se != "none":
            reduced = self.se.reduced_width(hidden)
            total += static_cost(
                params=squeeze_excite_params(reduced, hidden),
                macs=squeeze_excite_macs(reduced, hidden),
                kept=squeeze_excite_kept(reduced, hidden, area_out, SE_ACTIVATION_MAPS) + hidden,
            )
        return total + self._shortcut_cost(in_width, width, stride=stride, side=side, padding=padding)

    def _module_cost(self, in_width: int, width: int, area: int, act: ActivationName | None) -> Cost:
        """A Ghost module, with what it reads.

        Kept beside that: the inputs of both norms, the primary half, and with an activation what it keeps:
        two more maps, of which ReLU shares one with the cheap convolution's input.
        """
        half = width // 2
        own, cheap = in_width * half, self.cheap_kernel**2 * half
        activated = 0 if act is None else kept_by_activation(act)
        kept = in_width * area + (3 + activated) * half * area
        total = static_cost(params=own + cheap + 2 * width, macs=area * (own + cheap), kept=kept)
        total += weight_cost(self.weights.primary, in_width, half, kernel=1)
        return total + weight_cost(self.weights.cheap, half, half, kernel=self.cheap_kernel, groups=half)

    def _shortcut_cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Kept beside the block's input: a padded copy of it, inputs of both norms and of the projection."""
        if stride == 1 and in_width == width:
            return static_cost(params=0, macs=0, kept=0)
        area_out = output_side(side, stride) ** 2
        padded = kept_input_area(side, self.kernel, stride, padding)
        kept = (in_width * padded if padded > side * side else 0) + (2 * in_width + width) * area_out
        own, projection = self.kernel**2 * in_width, in_width * width
        total = static_cost(
            params=own + 2 * in_width + projection + 2 * width, macs=area_out * (own + projection), kept=kept
        )
        total += weight_cost(self.weights.shortcut, in_width, in_width, kernel=self.kernel, groups=in_width)
        return total + weight_cost(self.weights.shortcut, in_width, width, kernel=1)

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        """Both modules, what stands between them, and the shortcut, in order."""
        hidden, area_in, area_out = self.hidden, side * side, output_side(side, stride) ** 2
        found = self._module_operations(in_width, hidden, area_in, activated=True)
        if stride > 1:
            depthwise = convolution(
                hidden, hidden, kernel=self.kernel, area_in=area_in, area_out=area_out, groups=hidden
            )
            found += [*weight_operations(self.weights.depthwise, depthwise, hidden), norm(hidden, area_out)]
        if self.se != "none":
            found += squeeze_excite_operations(self.se.reduced_width(hidden), hidden, area_out)
        found += self._module_operations(hidden, width, area_out, activated=False)
        if stride > 1 or in_width != width:
            depthwise = convolution(
                in_width, in_width, kernel=self.kernel, area_in=area_in, area_out=area_out, groups=in_width
            )
            projection = convolution(in_width, width, kernel=1, area_in=area_out, area_out=area_out)
            found += [
                *weight_operations(self.weights.shortcut, depthwise, in_width),
                norm(in_width, area_out),
            ]
            found += [*weight_operations(self.weights.shortcut, projection, in_width), norm(width, area_out)]
        return (*found, add(width, area_out))

    def _module_operations(self, in_width: int, width: int, area: int, *, activated: bool) -> list[Operation]:
        half = width // 2
        primary = convolution(in_width, half, kernel=1, area_in=area, area_out=area)
        cheap = convolution(half, half, kernel=self.cheap_kernel, area_in=area, area_out=area, groups=half)
        after = [norm(half, area)] + ([activation(half, area)] if activated else [])
        return [
            *weight_operations(self.weights.primary, primary, in_width),
            *after,
            *weight_operations(self.weights.cheap, cheap, half),
            *after,
            Operation("copy", 0, width * area, width * area, 0),
        ]
