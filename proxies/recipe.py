"""How a training goes, a proxy's or a full one: a value, without torch."""

from math import cos, floor, pi
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from proxies.progressive import Alpha, Magnitude, Progressive, StageSettings, read_progressive
from proxies.records import MemoryFormat, Precision
from search_spaces.spec import Probability, Spec

TRAINING_VERSION = 1
"""Part of every task's fingerprint. Raised when the same recipe trains otherwise than before."""

OptimizerName = Literal["sgd", "rmsprop", "adamw", "rmsprop_tf"]
ScheduleName = Literal["cosine", "linear", "constant", "staircase"]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]

FIRST_FIELDS = frozenset(
    {"epochs", "steps", "batch_size", "optimizer", "learning_rate", "momentum", "weight_decay", "schedule"}
    | {"warmup", "label_smoothing", "flip", "shift", "precision", "memory_format", "curve_images"}
)
"""In every fingerprint. A field added later is in it where it differs from its default, the old behaviour."""


class TrainingRecipe(Spec):
    """Length, optimiser, schedule, regularisation and numerics of one training.

    The length is `epochs` or `steps`, one of the two. The learning rate rises linearly from 0 over
    `warmup` (a fraction of all steps; `warmup_epochs` takes its place), then falls to 0 along the schedule;
    `learning_rate` is its peak. `staircase` multiplies it by `decay_rate` every `decay_epochs`, counted from
    epoch 0, and never reaches 0. Weight decay acts on kernels (convolutions and linear layers) alone, never
    on biases and norms. `rmsprop_tf` is RMSProp as TensorFlow has it, with `rho` and `epsilon`.

    `flip` mirrors half of the images; `shift` moves each by up to that fraction of its side, or `crop_area`
    (the smallest fraction of the area) cuts a random part of each. `randaugment` is a magnitude (10: full
    range), `mixup` and `cutmix` are alphas; a `progressive` schedule takes the place of all three. `ema` is
    the decay of the averaged weights, which are then what is evaluated. A step's batch is worked off in
    `accumulate` equal parts, so batch norm sees one part at a time.
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
    warmup_epochs: Annotated[float, Field(ge=0.0)] | None = None
    decay_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.97
    decay_epochs: Positive = 2.4
    rho: Probability = 0.9
    epsilon: Positive = 1e-3
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    accumulate: Count = 1
    crop_area: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    randaugment: Magnitude = 0.0
    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0
    progressive: Annotated[Progressive | None, BeforeValidator(read_progressive)] = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a training is as long as epochs or steps says; give exactly one of the two")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} has no {self.accumulate} equal parts; change accumulate"
            )
        if self.progressive is not None:
            self.progressive.starts(self._length)
        return self

    @property
    def _length(self) -> int:
        length = self.epochs if self.epochs is not None else self.steps
        assert length is not None
        return length

    def fingerprint_material(self) -> dict[str, Any]:
        """What of the recipe decides a result, as plain data that equal recipes share for ever."""
        changed = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        every = self.model_dump(mode="json", by_alias=True)
        return {key: every[key] for key in every if key in FIRST_FIELDS or key in changed}

    def stage(self, step: int, num_images: int) -> int:
        """The progressive stage of `step` (counted from 0); stages begin with an epoch. 0 without any."""
        if self.progressive is None:
            return 0
        position = step if self.epochs is None else step // self.steps_per_epoch(num_images)
        return self.progressive.stage_at(min(position, self._length - 1), self._length)

    def stage_settings(self, stage: int, resolution: int) -> StageSettings:
        """What holds in `stage`; without a progressive schedule, images of `resolution` pixels throughout."""
        if self.progressive is None:
            return StageSettings(resolution, self.randaugment, self.mixup, self.cutmix, None)
        return self.progressive.settings(stage)

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

    def learning_rate_factor(self, step: int, total: int, *, steps_per_epoch: int = 1) -> float:
        """The learning rate of `step` (counted from 0) of `total`, as a fraction of its peak."""
        warmup = int(total * self.warmup)
        if self.warmup_epochs is not None:
            warmup = int(self.warmup_epochs * steps_per_epoch)
        if self.schedule == "staircase":
            if step < warmup:
                return step / warmup
            # A billionth: 16.8 / 2.4 and the like must not fall below the whole number that they are.
            return float(self.decay_rate ** floor(step / steps_per_epoch / self.decay_epochs + 1e-9))
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1, total - warmup)
        if self.schedule == "constant":
            return 1.0
        return 1.0 - progress if self.schedule == "linear" else 0.5 * (1.0 + cos(pi * progress))
