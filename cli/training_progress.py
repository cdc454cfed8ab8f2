"""How far a training is, on stderr: one line that moves in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from cli.output import is_plain, write_lines_to
from cli.progress import MovingLine, moving_line
from cli.values import format_duration

if TYPE_CHECKING:
    from nas.training.progress import TrainingEvent, TrainingProgress

MIN_SECONDS_BETWEEN_LINES = 5.0
MAX_EPOCH_LINES = 100
"""Epochs of a training that has a line for each, however quick they are."""


@contextmanager
def showing_training(stream: TextIO | None = None) -> Iterator["TrainingProgress"]:
    """A `TrainingProgress` that writes to `stream` (stderr) as its kind allows."""
    stream = stream or sys.stderr
    if is_plain(stream):
        yield PlainTraining(stream)
        return
    with moving_line(stream, "loading data") as line:
        yield MovingTraining(line)


class PlainTraining:
    """A line for each epoch, and now and then one between; always the last."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._written: float | None = None
        self._epoch = 0

    def update(self, event: "TrainingEvent") -> None:
        """Write a line at the end of an epoch, or when none was written for a while."""
        now = self._clock()
        is_due = self._written is None or now - self._written >= MIN_SECONDS_BETWEEN_LINES
        ends_epoch = event.epoch > self._epoch and event.total_epochs <= MAX_EPOCH_LINES
        if is_due or ends_epoch or event.step == event.total_steps:
            self._written, self._epoch = now, event.epoch
            write_lines_to(self._stream, [f"{event.step}/{event.total_steps} {describe(event)}"])


class MovingTraining:
    """A training as a moving line."""

    def __init__(self, line: MovingLine) -> None:
        self._line = line

    def update(self, event: "TrainingEvent") -> None:
        """Draw the line anew."""
        self._line.draw(event.step, event.total_steps, describe(event))


def describe(event: "TrainingEvent") -> str:
    """`epoch 3 of 10, 128 px, loss 1.234, top-1 0.567, 1,234 images/s, 3 min 20 s left`."""
    parts = [
        f"epoch {min(event.epoch + 1, event.total_epochs)} of {event.total_epochs}",
        f"{event.resolution} px",
        f"loss {event.loss:.4f}",
    ]
    if event.top1 is not None:
        parts.append(f"top-1 {event.top1:.4f}")
    if event.images_per_second is not None:
        parts.append(f"{event.images_per_second:,.0f} images/s")
    if event.eta_seconds is not None and event.step < event.total_steps:
        parts.append(f"{format_duration(event.eta_seconds)} left")
    return ", ".join(parts)
