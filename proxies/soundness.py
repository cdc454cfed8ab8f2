"""Whether a way of running a network computes the same thing: its step beside the eager one in fp32."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from proxies.backend import Backend
from proxies.records import Precision, TimingSettings
from proxies.training_step import TrainingStep

LEAST_COSINE: dict[Precision, float] = {"fp32": 0.99, "tf32": 0.9, "bf16": 0.7, "fp16": 0.7}
"""Of the gradient's direction. At 64 px and batch 8, five networks had 1.0000 in another layout and 0.86 to
0.99 in bf16 (EfficientNetV2-S, the deepest, least); a step that computes something else has 0."""
MOST_LOSS_DIFFERENCE = 0.05
LEAST_RESOLUTION, LEAST_BATCH = 64, 8
"""On smaller maps and batches, batch norm divides by the spread of a handful of numbers, and the rounding of
bf16 alone turns the gradient about: 32 px and batch 4 gave cosines from -0.2 to 0.2."""
STEPS = 4
"""Enough for a loss scaler to find its scale, which skips steps until it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """A step beside the eager one in fp32, of the same weights and images."""

    loss_difference: float | None
    """|loss - its loss| over its loss; None: not finite."""
    gradient_cosine: float | None
    """Of the angle between what the two optimizers gathered of their gradients; None: not finite."""
    precision: Precision

    @property
    def problem(self) -> str | None:
        """Why the way of running is not sound, as a clause; None: it is."""
        if self.loss_difference is None or self.gradient_cosine is None:
            return "its loss or gradient is not finite"
        if self.loss_difference > MOST_LOSS_DIFFERENCE:
            return f"its loss is {self.loss_difference:.0%} from that of eager fp32"
        least = LEAST_COSINE[self.precision]
        if self.gradient_cosine < least:
            return f"its gradient has cosine {self.gradient_cosine:.2f} to that of eager fp32, below {least}"
        return None


def soundness(
    network: Callable[[], nn.Module], settings: TimingSettings, *, backend: Backend, channels: int = 3
) -> Soundness:
    """Run a few steps both ways and compare; `network()` builds with the same weights at each call.

    The settings' resolution and batch are raised to where such a comparison means something.
    """
    settings = settings.model_copy(
        update={
            "resolution": max(settings.resolution, LEAST_RESOLUTION),
            "batch_size": max(settings.batch_size, LEAST_BATCH),
        }
    )
    plain = {"precision": "fp32", "memory_format": "contiguous", "compile": "none", "fused_optimizer": False}
    loss, momentum = _steps(network(), settings, backend, channels)
    true_loss, true_momentum = _steps(network(), settings.model_copy(update=plain), backend, channels)
    return compared(loss, momentum, true_loss, true_momentum, precision=settings.precision)


def compared(
    loss: float,
    momentum: torch.Tensor,
    true_loss: float,
    true_momentum: torch.Tensor,
    *,
    precision: Precision,
) -> Soundness:
    """The comparison itself. Law: the scale of a gradient does not matter, its direction does."""
    if momentum.shape != true_momentum.shape or not bool(torch.isfinite(momentum).all()):
        cosine = math.nan
    else:
        cosine = float(
            torch.nn.functional.cosine_similarity(momentum.double(), true_momentum.double(), dim=0)
        )
    difference = abs(loss - true_loss) / max(abs(true_loss), 1e-12)
    return Soundness(
        loss_difference=difference if math.isfinite(difference) else None,
        gradient_cosine=cosine if math.isfinite(cosine) else None,
        precision=precision,
    )


def _steps(
    network: nn.Module, settings: TimingSettings, backend: Backend, channels: int
) -> tuple[float, torch.Tensor]:
    """The last loss, and on the host what the optimizer gathered, in the order of the weights."""
    with backend.prepared(settings), torch.random.fork_rng():
        torch.manual_seed(0)  # where a network drops something, both drop the same
        step = TrainingStep(network, settings, device=backend.device, channels=channels)
        backend.time_steps(step, STEPS)
        loss = step.loss
        return (math.nan if loss is None else loss), step.momentum().cpu()
