"""The seam every block specification implements."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from search_spaces.cost import Cost
from search_spaces.operations import Operation


class Block(Protocol):
    """A frozen, hashable pydantic value tagged by `op`; all its other fields are searchable.

    Widths are channels; `side` is the height (= width) of the block's input map, in pixels.
    """

    @property
    def op(self) -> str:
        """The tag that names this kind in documents and in the registry."""

    def canonical(self, in_width: int, width: int, *, stride: int) -> Self:
        """The block with every inert field at its default, so that equal networks are equal values.

        `in_width` and `stride` are what the first block of the run reads and takes; the others read `width`
        and take stride 1.
        """

    def inert_fields(self, in_width: int, width: int, *, stride: int) -> frozenset[str]:
        """Document paths of the fields that make no difference here; any option of theirs matches."""

    constrained_by: ClassVar[frozenset[str]]
    """Document keys that `requirement` looks at; empty: it never refuses."""

    @classmethod
    def requirement(cls, width: int, side: int, fields: Mapping[str, Any]) -> str | None:
        """Why this block cannot have this output width at this output side, as a sentence; None: it can.

        `fields` holds the values of `constrained_by`.
        """

    def cost(self, in_width: int, width: int, *, stride: int, side: int, padding: str) -> Cost:
        """Exact cost of one block; equal to the built layer to the last parameter and multiply-add."""

    def operations(
        self, in_width: int, width: int, *, stride: int, side: int, padding: str
    ) -> tuple[Operation, ...]:
        """What one block executes, in order; law: macs and weights sum to those of `cost`."""
