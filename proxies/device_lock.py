"""A shared/exclusive lock for each device, across the processes and runs of one user.

Training shares a device, timing has it alone. The locks are `flock`s on files in a private folder of the
temporary directory: the kernel frees them when their holder dies, however it dies.

Fairness: everyone first passes a turnstile, a second lock that is held only while waiting for the first. An
exclusive waiter keeps the turnstile closed until it has the device, so later sharers queue behind it instead
of passing it for ever.

A thread that has a device and asks for it again has it at once; only from shared to exclusive there is no
way, since two on that way would wait for each other.
"""

import contextlib
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident

POLL_SECONDS = (0.001, 0.05)
"""Shortest and longest pause between two tries of a wait that has a timeout."""


class DeviceBusyError(TimeoutError):
    """The device was not free in time."""


class LockFolderError(OSError):
    """The folder of the locks cannot be trusted or used."""


def lock_folder() -> Path:
    """The folder of this user's device locks. Runs meet only where they agree on the temporary directory."""
    return Path(tempfile.gettempdir()) / f"nas-device-locks-{os.getuid()}"


def shared(
    device: str, *, folder: Path | None = None, timeout_seconds: float | None = None
) -> AbstractContextManager[None]:
    """Hold `device` together with other sharers: for work that may run beside other work.

    `device` names it alike in all processes (`Device.lock_name`). None waits for ever.

    Raises:
        DeviceBusyError: the device was not free within the timeout.
        LockFolderError: the lock folder is not a private folder of this user.
    """
    return _hold(device, fcntl.LOCK_SH, folder, timeout_seconds)


def exclusive(
    device: str, *, folder: Path | None = None, timeout_seconds: float | None = None
) -> AbstractContextManager[None]:
    """Hold `device` alone: for timing. Arguments and errors as `shared`."""
    return _hold(device, fcntl.LOCK_EX, folder, timeout_seconds)


@contextmanager
def _hold(device: str, mode: int, folder: Path | None, timeout_seconds: float | None) -> Iterator[None]:
    folder = _private(folder or lock_folder())
    name = re.sub(r"[^A-Za-z0-9._-]", "_", device)
    path = folder / f"{name}.lock"
    outer = {held.mode for held in _held.values() if held.path == path and held.thread == get_ident()}
    if outer:
        if mode == fcntl.LOCK_EX and fcntl.LOCK_EX not in outer:
            raise DeviceBusyError(
                f"device {device!r} is shared by this thread; leave it before asking for it alone"
            )
        yield
        return
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    with _opened(path, mode) as lock:
        with _opened(folder / f"{name}.turnstile", fcntl.LOCK_EX) as turnstile:
            _acquire(turnstile, fcntl.LOCK_EX, device, deadline)
            _acquire(lock, mode, device, deadline)
        yield


def _acquire(descriptor: int, mode: int, device: str, deadline: float | None) -> None:
    if deadline is None:
        fcntl.flock(descriptor, mode)
        return
    pause, longest = POLL_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                wanted = "alone" if mode == fcntl.LOCK_EX else "together with others"
                raise DeviceBusyError(
                    f"device {device!r} was not free to be used {wanted} in time; "
                    "another run is training or timing on it: wait for it, or raise the timeout"
                ) from None
            time.sleep(min(pause, left))
            pause = min(2 * pause, longest)
        else:
            return


def _private(folder: Path) -> Path:
    """The folder, made if missing, and refused unless it is ours alone: others must not hold our locks."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise LockFolderError(f"{folder} is not a private folder of this user (mode 0700); remove it")
    return folder


@contextmanager
def _opened(path: Path, mode: int) -> Iterator[int]:
    """The lock file, open; closing it frees the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    _held[descriptor] = _Held(path=path, mode=mode, thread=get_ident())
    try:
        yield descriptor
    finally:
        if _held.pop(descriptor, None) is not None:  # else this is a forked child, which has no part in it
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child forked by C code may still have the file open
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    path: Path
    mode: int
    thread: int


_held: dict[int, _Held] = {}
"""Open lock files by descriptor. A forked child must not keep them: the lock would live as long as it."""


def _close_in_child() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_close_in_child)
