"""Whether a search is still going on in a run's directory, as seen from outside."""

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from results.directory import LOCK_NAME, LOG_NAME

Phase = Literal["running", "finished", "interrupted", "unknown"]
"""What a run is in.

    running      a process holds the directory's lock
    finished     its last search came to its end
    interrupted  nothing holds the lock, and the last search did not come to its end; `nas resume` goes on
    unknown      another host's process labelled the lock, and here nothing holds it: a copy of a run that was
                 going on, or a file system that does not share locks
"""

_TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run's phase and, where a process is labelled as the writer, who that is."""

    phase: Phase
    writer: str | None = None

    @property
    def may_change(self) -> bool:
        """Whether more may still be measured without anybody resuming it."""
        return self.phase in ("running", "unknown")

    def __str__(self) -> str:
        return f"{self.phase} ({self.writer})" if self.writer and self.may_change else self.phase


def run_state(path: Path) -> RunState:
    """The state of the run in directory `path`, now. Nothing is written there.

    The lock is tried for an instant where its label names a process, which a search that ended in order
    removes; so a resume that begins in order is never in the way.
    """
    owner, is_held = _lock(path / LOCK_NAME)
    writer = None if owner is None else f"process {owner['pid']} on {owner['host']}"
    if is_held:
        return RunState(phase="running", writer=writer)
    if _last_event(path / LOG_NAME) == "finished":
        return RunState(phase="finished")
    if owner is not None and owner["host"] != socket.gethostname():
        return RunState(phase="unknown", writer=writer)
    return RunState(phase="interrupted", writer=writer)


def _lock(path: Path) -> tuple[dict[str, Any] | None, bool]:
    """Who is labelled as the holder, and whether anybody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None, False
    try:
        label = os.pread(descriptor, 4096, 0)
        if not label:
            return None, False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _owner(label), True
        except OSError:  # a file system without locks
            return _owner(label), False
        return _owner(label), False
    finally:
        os.close(descriptor)


def _owner(label: bytes) -> dict[str, Any] | None:
    try:
        owner = json.loads(label)
        return {"pid": int(owner["pid"]), "host": str(owner["host"])}
    except (ValueError, KeyError, TypeError):
        return None


def _last_event(path: Path) -> str | None:
    """The last of the events `started` and `finished` in the log; None when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            event = json.loads(line)["event"]
        except (ValueError, KeyError, TypeError):
            continue
        if event in ("started", "finished"):
            return str(event)
    return None
