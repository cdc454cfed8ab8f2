"""How the guard forks a worker, and what it knows of one."""

import contextlib
import faulthandler
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from proxies.channel import Channel
from proxies.child import is_out_of_memory, sentence, serve
from proxies.process_tree import adopt_orphans, die_with_parent, kill_tree, oom_kills, prefer_to_be_killed
from proxies.records import Status, TimeJob, TrainJob
from proxies.worker import WorkerSettings

LOG_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_READS_AT_ONCE = 32


class ForkError(Exception):
    """The machine refuses another process; one sentence."""


class Log:
    """What a worker prints: read as it comes, the last 16 KiB of the current job kept."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._tail = b""
        self.is_closed = False

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._descriptor

    def read(self) -> None:
        """Take what is there, at most 2 MiB, so that one that floods keeps nobody else waiting."""
        for _ in range(_READS_AT_ONCE):
            if self.is_closed:
                return
            try:
                chunk = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            self.is_closed = not chunk
            self._tail = (self._tail + chunk)[-LOG_BYTES:]

    def text(self) -> str:
        """What is kept."""
        return self._tail.decode("utf-8", "replace")

    def last_line(self) -> str:
        """The last line with anything on it, shortened to a sentence."""
        lines = [line for line in self.text().splitlines() if line.strip()]
        return sentence(lines[-1]) if lines else ""

    def clear(self) -> None:
        """Forget it all."""
        self._tail = b""

    def close(self) -> None:
        """Close the pipe."""
        self.is_closed = True
        os.close(self._descriptor)


@dataclass(kw_only=True, eq=False)
class Worker:
    """One forked worker, as the guard sees it."""

    pid: int
    pidfd: int
    channel: Channel
    log: Log
    folder: Path
    slot: int | None = None
    is_ready: bool = False
    job: TimeJob | TrainJob | None = None
    started: float | None = None
    """When the job began to work, by the guard's clock; None while it waits for its device."""
    was_stopped: bool = False
    verdict: tuple[Status, str] | None = None
    """Why the guard has killed it."""
    num_jobs: int = 0
    idle_bytes: int = 0
    settled_bytes: int | None = None
    """Resident memory after the first job: what a worker normally keeps."""
    growth_bytes: int = 0
    _oom_kills: int | None = None

    def descriptors(self) -> list[int]:
        """The guard's descriptors for it, which no other worker may hold."""
        return [self.pidfd, self.channel.fileno(), self.log.fileno()]

    def begin(self, job: TimeJob | TrainJob) -> None:
        """A job is about to be sent."""
        self.log.read()
        self.log.clear()
        self.job, self.started, self.was_stopped = job, None, False
        self._oom_kills = oom_kills()

    def end_job(self, held_bytes: int) -> None:
        """The job has ended, and the worker now holds so much memory."""
        self.job, self.started = None, None
        self.num_jobs += 1
        if self.settled_bytes is None:
            self.settled_bytes = held_bytes
        self.growth_bytes = held_bytes - self.settled_bytes

    def condemn(self, status: Status, reason: str) -> None:
        """Kill it and all it has started; if it has a job, this is how that ends."""
        self.verdict = (status, reason)
        kill_tree(self.pid)

    def exit_code(self) -> int | None:
        """None while it lives, else as `subprocess` has it: negative for a signal."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def cause_of_death(self, exit_code: int) -> tuple[Status, str]:
        """Status and reason for one that ended by itself."""
        if exit_code == -signal.SIGKILL and (oom_kills() or 0) > (self._oom_kills or 0):
            return "oom", "was killed by the system for want of memory"
        if exit_code < 0:
            status: Status = "oom" if is_out_of_memory(self.log.text()) else "error"
            return status, f"was ended by signal {_signal_name(-exit_code)}"
        return "error", f"ended its process with exit code {exit_code}"

    def close(self) -> None:
        """Let go of the descriptors and the temporary folder of one that has ended."""
        self.channel.close()
        self.log.close()
        os.close(self.pidfd)
        shutil.rmtree(self.folder, ignore_errors=True)


def fork_worker(
    settings: WorkerSettings, *, folder: Path, lock_folder: Path, inherited: Iterable[int]
) -> Worker:
    """Fork one. `inherited` are the guard's descriptors, closed in the worker; `folder` will be its TMPDIR.

    Raises:
        ForkError: no process, descriptor or folder can be had.
    """
    try:
        folder.mkdir(mode=0o700)
        ours, theirs = socket.socketpair()
        log, output = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
    except OSError as error:
        raise ForkError(f"a worker process could not be started ({error})") from error
    if pid == 0:
        _worker_main(
            settings,
            channel=theirs,
            output=output,
            folder=folder,
            lock_folder=lock_folder,
            inherited=[*inherited, ours.fileno(), log],
            parent=parent,
        )
    theirs.close()
    os.close(output)
    return Worker(pid=pid, pidfd=os.pidfd_open(pid), channel=Channel(ours), log=Log(log), folder=folder)


def _worker_main(
    settings: WorkerSettings,
    *,
    channel: socket.socket,
    output: int,
    folder: Path,
    lock_folder: Path,
    inherited: Iterable[int],
    parent: int,
) -> NoReturn:
    exit_code = 1
    try:
        for descriptor in inherited:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        die_with_parent()
        if os.getppid() == parent:
            _settle_in(output, folder)
            serve(Channel(channel), settings, lock_folder=lock_folder)
            exit_code = 0
    except BaseException:  # noqa: BLE001 -- the guard reads the last line
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(exit_code)


def _settle_in(output: int, folder: Path) -> None:
    """A session, signals, standard streams and a temporary folder of one's own."""
    os.setsid()
    adopt_orphans()
    prefer_to_be_killed()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(file=2)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = str(folder)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
