"""A block that is particular about where it stands, to stand for those of plug-ins."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.cost import Cost, static_cost
from search_spaces.operations import Operation
from search_spaces.registry import BlockKind
from search_spaces.spec import Expand, Spec


class PickyBlock(Spec):
    """Needs a width that its `group` divides, and a map of at most 8 pixels. A default is a specification."""

    constrained_by: ClassVar[frozenset[str]] = frozenset({"group"})

    op: Literal["picky"] = "picky"
    group: Expand = 1
    se: SqueezeExcite = SqueezeExcite(ratio=0.5)

    def canonical(self, in_width: int, width: int, *, stride: int) -> "PickyBlock":
        return self

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        return frozenset()

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        if width % fields["group"]:
            return f"width {width} is not divisible by group {fields['group']}"
        return None if side <= 8 else f"a map of {side} pixels is more than 8"

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        return static_cost(params=in_width * width, macs=0, kept=0)

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        return (Operation("linear", 0, 0, 0, in_width * width),)


PICKY = BlockKind(spec=PickyBlock, layer="nowhere:Nothing")
