"""What a full training tells whoever is watching. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent:
    """How far a training is.

    `epoch` counts whole passes that are done; `resolution` is of the training images, in pixels; `top1` and
    `top5` are fractions of the validation images, of the last judgement; None before the first.
    """

    step: int
    total_steps: int
    epoch: int
    total_epochs: int
    stage: int
    resolution: int
    loss: float
    top1: float | None
    top5: float | None
    images_per_second: float | None
    eta_seconds: float | None


class TrainingProgress(Protocol):
    """Something that shows the progress of a training."""

    def update(self, event: TrainingEvent) -> None:
        """Called every few steps, and after each judgement."""


class SilentTraining:
    """Shows nothing."""

    def update(self, event: TrainingEvent) -> None:
        """Nothing is shown."""


class Pace:
    """How fast a training goes, and how long it will still take.

    A step is taken to cost as the area of its images, so that the time left is not underestimated while a
    progressive schedule is at its small sizes. `sides` are pairs (steps, pixels), in order.
    """

    def __init__(self, sides: list[tuple[int, int]], batch_size: int) -> None:
        self._sides = sides
        self._batch_size = batch_size
        self._seconds = 0.0
        self._cost = 0.0
        self._last: float | None = None

    def add(self, first: int, steps: int, seconds: float) -> None:
        """`steps` steps from `first` on took `seconds`."""
        self._seconds += seconds
        self._cost += self._cost_between(first, first + steps)
        self._last = steps * self._batch_size / seconds if seconds > 0.0 else None

    @property
    def images_per_second(self) -> float | None:
        """Of the last steps."""
        return self._last

    def seconds_left(self, step: int) -> float | None:
        """From `step` to the end, judgements not counted."""
        if self._cost == 0.0:
            return None
        total = sum(steps for steps, _ in self._sides)
        return self._seconds / self._cost * self._cost_between(step, total)

    def _cost_between(self, first: int, last: int) -> float:
        start, cost = 0, 0.0
        for steps, side in self._sides:
            inside = min(last, start + steps) - max(first, start)
            cost += max(0, inside) * float(side) ** 2
            start += steps
        return cost


Clock = Callable[[], float]
