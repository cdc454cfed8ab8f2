"""TensorFlow's SAME padding, which depends on the size of what is padded."""

# Shapes: B batch, C channels, H height, W width.

from torch import Tensor
from torch.nn import functional

from search_spaces.cost import total_padding


def padded_as_tensorflow(x_BCHW: Tensor, kernel: int, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """The map, and what is still to be padded on both sides of its rows and columns.

    Odd totals put the extra row at the bottom and the extra column at the right, in a copy. Where both totals
    are even it is ordinary symmetric padding, and nothing is copied.
    """
    rows = total_padding(x_BCHW.shape[2], kernel, stride)
    columns = total_padding(x_BCHW.shape[3], kernel, stride)
    padding = (rows // 2, columns // 2)
    if rows % 2 == 0 and columns % 2 == 0:
        return x_BCHW, padding
    sides = (padding[1], columns - padding[1], padding[0], rows - padding[0])
    return functional.pad(x_BCHW, sides), (0, 0)
