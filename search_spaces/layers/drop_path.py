"""Stochastic depth: whole residual branches are dropped, sample by sample."""

# Shapes: B batch, C channels, H height, W width.

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero the branch of a sample with probability `rate` and divide the others by 1 - rate.

    The identity in evaluation mode and at rate 0.
    Source: Huang et al. 2016, arXiv:1603.09382; per sample and rescaled as in EfficientNet's code.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Drop branches at random while training."""
        if not self.training or self.rate == 0.0:
            return x_BCHW
        keep = 1.0 - self.rate
        mask_B111 = x_BCHW.new_empty((x_BCHW.shape[0], 1, 1, 1)).bernoulli_(keep)
        return x_BCHW * mask_B111 / keep

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate:.4f}"
