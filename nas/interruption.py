"""Ctrl-C: once, the search ends in order; twice, at once.

A signal may arrive at any instruction. So the first one only leaves a note, which the session reads between
two waits, and no outcome is lost between a worker and the ledger.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

GRACE_SECONDS = 30.0
"""How long what is running may take to end after the first Ctrl-C."""


@dataclass(slots=True)
class Interruption:
    """Whether the search was asked to end. `clock` is monotonic, in seconds."""

    grace_seconds: float = GRACE_SECONDS
    clock: Callable[[], float] = time.monotonic
    signal: int | None = None
    _since: float | None = None

    @property
    def is_requested(self) -> bool:
        """Whether nothing more is to be started."""
        return self._since is not None

    @property
    def is_overdue(self) -> bool:
        """Whether what is still running has had its time."""
        return self._since is not None and self.clock() - self._since >= self.grace_seconds

    def request(self) -> None:
        """End in order.

        Raises:
            KeyboardInterrupt: that was asked before.
        """
        if self._since is not None:
            raise KeyboardInterrupt
        self._since = self.clock()


@contextmanager
def noting_interrupts(
    interruption: Interruption, signals: tuple[signal.Signals, ...] = (signal.SIGINT,)
) -> Iterator[None]:
    """Note `signals` while this lasts. A program that ignores one, or another thread, is left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = number
        interruption.request()

    before = {number: signal.getsignal(number) for number in signals}
    taken = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in taken:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
