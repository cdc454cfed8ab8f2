"""The kinds of block: op -> specification and layer. A new block is one line here and two files.

Other distributions add kinds through the entry-point group `nas.blocks`; they are loaded only when the
user allows plug-ins, because loading one runs its code.
"""

from dataclasses import dataclass
from importlib.metadata import entry_points

from search_spaces.blocks.attention import Attention
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.ghost import Ghost
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.preact_mbconv import PreactMBConv
from search_spaces.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockKind:
    """A block's specification (no torch) and where its layer is ("module:class", imported when built)."""

    spec: type[Spec]
    layer: str


BLOCKS: dict[str, BlockKind] = {
    "attention": BlockKind(spec=Attention, layer="search_spaces.layers.attention:AttentionLayer"),
    "fused_mbconv": BlockKind(spec=FusedMBConv, layer="search_spaces.layers.fused_mbconv:FusedMBConvLayer"),
    "ghost": BlockKind(spec=Ghost, layer="search_spaces.layers.ghost:GhostLayer"),
    "mbconv": BlockKind(spec=MBConv, layer="search_spaces.layers.mbconv:MBConvLayer"),
    "preact_mbconv": BlockKind(
        spec=PreactMBConv, layer="search_spaces.layers.preact_mbconv:PreactMBConvLayer"
    ),
}


def load_block_plugins() -> list[str]:
    """Add the blocks of installed plug-ins; returns their names. Loading twice changes nothing.

    Raises:
        ValueError: a plug-in's op is taken, or its object is not a `BlockKind`.
    """
    loaded = []
    for entry in entry_points(group="nas.blocks"):
        kind = entry.load()
        if not isinstance(kind, BlockKind):
            raise ValueError(f"plug-in block {entry.name!r} ({entry.value}) is not a BlockKind")
        if entry.name in BLOCKS and BLOCKS[entry.name] != kind:
            raise ValueError(
                f"plug-in block {entry.name!r} ({entry.value}): this op exists already; rename it"
            )
        BLOCKS[entry.name] = kind
        loaded.append(entry.name)
    return loaded
