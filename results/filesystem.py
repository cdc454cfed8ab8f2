"""Files that are whole or absent, a lock that the kernel drops with its owner, and checks before work."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from results.errors import RunError, RunLockedError, RunWriteError

MIN_FREE_BYTES = 64 * 2**20
"""Free space below which a search is not started: a ledger of some 10,000 candidates with its log."""

NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph", "lustre"}
)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` so that a reader, a crash or a power cut finds the old or the new, whole.

    Text is written as UTF-8.

    Raises:
        RunWriteError: the disk is full, or the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise RunWriteError(
            f"{path} could not be written ({error.strerror}); free space or choose another"
        ) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, as fsync does for the bytes of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_symlink(link: Path, target: str) -> None:
    """Make `link` point to `target` in one step, whatever it pointed to.

    Raises:
        OSError: `link` is a real file or directory, or cannot be written.
    """
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} is not a link")
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(directory: Path) -> None:
    """Remove the temporary files of writers that were killed. For the holder of the directory's lock."""
    for path in directory.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def check_writable(directory: Path, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
    """Write and sync a probe, and look at the free space, before hours are spent.

    Raises:
        RunError: the directory cannot be written, or has less than `min_free_bytes` left.
    """
    probe = directory / f".probe.{os.getpid()}.tmp"
    try:
        try:
            with probe.open("wb") as file:
                file.write(b"probe")
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise RunError(
            f"{directory} cannot be written ({error.strerror}); free space or choose another --out"
        ) from error
    if free < min_free_bytes:
        raise RunError(
            f"{directory} has {free / 2**20:.0f} MiB free and a run needs {min_free_bytes / 2**20:.0f}; "
            "free space or choose another --out"
        )


def filesystem_type(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The type of the file system that holds `path` ("ext4", "nfs4"); None where that cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    resolved = path.resolve()
    best: tuple[int, str] | None = None
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        # The kernel writes space, tab, newline and backslash in octal.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
        # Later lines hide earlier ones at the same place.
        if resolved.is_relative_to(point) and (best is None or len(point) >= best[0]):
            best = (len(point), kind)
    return best[1] if best else None


class DirectoryLock:
    """An exclusive `flock`, which ends with its process however that ends. A stale one cannot exist.

    The file says who holds it (pid, host, start) and stays after release: removing it would let two
    processes lock two files of one name. The descriptor is not inherited by programs that are started.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Take the lock.

        Raises:
            RunLockedError: another process, or another lock of this one, holds it.
            RunError: the file cannot be made, or the file system has no locks.
        """
        try:
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RunError(f"{path} cannot be opened ({error.strerror}); check the directory") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(self._descriptor)
            self._close()
            if isinstance(error, BlockingIOError):
                raise RunLockedError(
                    f"{path.parent} is in use by {owner}; wait for it, stop it, or choose another --out"
                ) from None
            raise RunError(f"{path} cannot be locked ({error.strerror}); use a local directory") from error
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock()))
        owner_text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started})
        # A full disk must not stop a resume: the lock holds without its label.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, owner_text.encode(), 0)

    def release(self) -> None:
        """Let others in. Safe to call twice."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _owner(descriptor: int) -> str:
    try:
        owner: Any = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {owner['pid']} on {owner['host']} since {owner['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
