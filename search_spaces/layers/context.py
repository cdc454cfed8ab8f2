"""What a layer is told about its place in the network."""

from dataclasses import dataclass

from search_spaces.spec import Padding


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContext:
    """The place of one block: widths in channels, and the conventions of its architecture."""

    in_width: int
    width: int
    stride: int
    padding: Padding
    norm_eps: float
    norm_momentum: float
    drop_path: float
    side: int
    """Pixels of the block's output map at the resolution that the network is built for."""

    @property
    def has_residual(self) -> bool:
        """A residual connection exists where input and output shapes agree."""
        return self.stride == 1 and self.in_width == self.width
