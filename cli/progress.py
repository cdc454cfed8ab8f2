"""How far a search is, on stderr: one line that moves in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from cli.output import is_plain, write_lines_to
from cli.values import format_duration

if TYPE_CHECKING:
    from nas.progress import Progress, ProgressEvent

MIN_SECONDS_BETWEEN_LINES = 1.0


@contextmanager
def showing_progress(stream: TextIO | None = None) -> Iterator["Progress"]:
    """A `Progress` that writes to `stream` (stderr) as its kind allows."""
    stream = stream or sys.stderr
    if is_plain(stream):
        yield PlainProgress(stream)
        return
    with moving_line(stream, "starting") as line:
        yield MovingProgress(line)


class PlainProgress:
    """A line for each candidate, at most one a second, and always the last."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._written: float | None = None

    def update(self, event: "ProgressEvent") -> None:
        """Write a line, unless one was written just now."""
        now = self._clock()
        is_last = event.evaluated >= event.total or event.is_ending
        if self._written is None or is_last or now - self._written >= MIN_SECONDS_BETWEEN_LINES:
            self._written = now
            write_lines_to(self._stream, [f"{event.evaluated}/{event.total} {describe(event)}"])


class MovingLine:
    """One line that is drawn anew. It stays at the end, unless nothing had happened."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def draw(self, completed: int, total: int, description: str) -> None:
        """Draw the line anew."""
        self._progress.live.transient = False
        self._progress.update(self._task, completed=completed, total=total, description=description)


class MovingProgress:
    """A search as a moving line."""

    def __init__(self, line: MovingLine) -> None:
        self._line = line

    def update(self, event: "ProgressEvent") -> None:
        """Draw the line anew."""
        self._line.draw(event.evaluated, event.total, describe(event))


@contextmanager
def moving_line(stream: TextIO, start: str) -> Iterator[MovingLine]:
    """A line on `stream`, a terminal, that says `start` until it is drawn."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    console = Console(file=stream, highlight=False)
    with Progress(
        *columns, console=console, refresh_per_second=2, transient=True, redirect_stdout=False
    ) as progress:
        yield MovingLine(progress, progress.add_task(start, total=None))


def describe(event: "ProgressEvent") -> str:
    """`front 5, hypervolume 0.123, 1 failed, 3 min 20 s left`."""
    parts = [f"front {event.front_size}"]
    if event.hypervolume is not None:
        what = "hypervolume of estimates" if event.is_estimated else "hypervolume"
        parts.append(f"{what} {event.hypervolume:.4g}")
    parts.append(f"{event.failed} failed")
    if event.is_ending:
        parts.append("ending: what runs may finish, Ctrl-C again stops at once")
    elif event.eta_seconds is not None and event.evaluated < event.total:
        parts.append(f"{format_duration(event.eta_seconds)} left")
    return ", ".join(parts)
