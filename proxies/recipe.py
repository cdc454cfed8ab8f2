"""How a proxy training goes: a value, without torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxies.records import MemoryFormat, Precision
from search_spaces.spec import Probability, Spec

TRAINING_VERSION = 1
"""Part of every task's fingerprint. Raised when the same recipe trains otherwise than before."""

OptimizerName = Literal["sgd", "rmsprop", "adamw"]
ScheduleName = Literal["cosine", "linear", "constant"]
Count = Annotated[int, Field(ge=1)]


class TrainingRecipe(Spec):
    """Length, optimiser, schedule, regularisation and numerics of one short training.

    The length is `epochs` or `steps`, one of the two. The learning rate rises linearly from 0 over
    `warmup` (a fraction of all steps), then falls to 0 along the schedule; `learning_rate` is its peak.
    Weight decay acts on kernels (convolutions and linear layers) alone, never on biases and norms.
    `flip` mirrors half of the images; `shift` moves each by up to that fraction of its side.
    """

    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Annotated[int, Field(ge=2)] = 64
    optimizer: OptimizerName = "sgd"
    learning_rate: Annotated[float, Field(gt=0.0)] = 0.1
    momentum: Probability = 0.9
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    schedule: ScheduleName = "cosine"
    warmup: Probability = 0.1
    label_smoothing: Probability = 0.0
    flip: bool = False
    shift: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    precision: Precision = "fp32"
    memory_format: MemoryFormat = "channels_last"
    curve_images: Count = 1000

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a training is as long as epochs or steps says; give exactly one of the two")
        return self

    def total_steps(self, num_images: int) -> int:
        """Optimiser steps on a training split of `num_images`; an epoch drops its last, partial batch."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * self.steps_per_epoch(num_images)

    def steps_per_epoch(self, num_images: int) -> int:
        """Whole batches in one pass; one smaller batch where there are fewer images than that."""
        return max(1, num_images // self.batch_size)

    def with_batch_size(self, batch_size: int) -> Self:
        """The same recipe at another batch size, its learning rate scaled with it.

        Linear scaling: Goyal et al. 2017, arXiv:1706.02677.
        """
        rate = self.learning_rate * batch_size / self.batch_size
        return self.model_copy(update={"batch_size": batch_size, "learning_rate": rate})

    def learning_rate_factor(self, step: int, total: int) -> float:
        """The learning rate of `step` (counted from 0) of `total`, as a fraction of its peak."""
        import math

        warmup = int(total * self.warmup)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / (total - warmup)
        if self.schedule == "constant":
            return 1.0
        return 1.0 - progress if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
