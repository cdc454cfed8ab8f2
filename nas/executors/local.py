"""Jobs in child processes of this machine: no Ray, no listening socket."""

import atexit
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nas.executors.protocol import ExecutorError
from proxies.channel import Channel, wait_for
from proxies.device_lock import lock_folder
from proxies.guard import GuardPlan
from proxies.guard_process import guard_main
from proxies.records import Outcome, Partial, TimeJob, TrainJob
from proxies.worker import WorkerSettings

if TYPE_CHECKING:
    from proxies.detection import Device

CLOSE_SECONDS = 10.0


class LocalExecutor:
    """Runs up to `workers` jobs at once, each in a process of its own; see `proxies.guard`.

    Where there are several `devices` (by default all of `settings.hardware`), each worker has one to itself
    and sees no other. Outcomes are stored in `settings.spool` by the guard before they are told.

    Raises:
        ExecutorError: the settings cannot reach a process, or the platform has no such processes.
        ValueError: fewer than one worker.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        workers: int = 1,
        devices: Sequence["Device"] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; at least one is needed")
        if devices is not None and settings.hardware is not None:
            settings = replace(settings, hardware=replace(settings.hardware, devices=tuple(devices)))
        self._num_workers = workers
        self._clock = clock
        self._waiting: deque[Outcome | Partial] = deque()
        self._broken: str | None = None
        self._is_closed = False
        self._folder = Path(tempfile.mkdtemp(prefix=f"nas-{os.getuid()}-"))
        try:
            self._process, self._guard = _start_guard(settings, workers, self._folder)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._pidfd = os.pidfd_open(self._process.pid or 0)
        atexit.register(self.close)  # before multiprocessing's own, which would wait for the guard for ever

    @property
    def capacity(self) -> int:
        """The number of workers."""
        return self._num_workers

    def submit(self, job: TimeJob | TrainJob) -> None:
        """Accept a job; see `Executor`.

        Raises:
            ExecutorError: the executor is closed.
        """
        if self._is_closed:
            raise ExecutorError("the executor is closed; start another")
        self._guard.send("submit", job.model_dump_json())

    def stop(self, key: str) -> None:
        """Ask a training to end at its next report; one that has not begun ends now."""
        if not self._is_closed:
            self._guard.send("stop", json.dumps(key))

    def go_on(self, key: str) -> None:
        """Let a training go on that waits for word; see `Executor`."""
        if not self._is_closed:
            self._guard.send("go", json.dumps(key))

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome | Partial]:
        """What has happened; see `Executor`.

        Raises:
            ExecutorError: the guard cannot go on, or the executor is closed.
        """
        deadline = None if timeout_seconds is None else self._clock() + timeout_seconds
        while True:
            if self._is_closed:
                raise ExecutorError("the executor is closed; start another")
            self._receive()
            if self._waiting:
                happened = list(self._waiting)
                self._waiting.clear()
                return happened
            if self._broken is not None or self._guard.is_closed:
                raise ExecutorError(self._broken or self._how_the_guard_ended())
            left = None if deadline is None else deadline - self._clock()
            if left is not None and left <= 0:
                return []
            wait_for([self._guard], left, [self._pidfd])

    def close(self) -> None:
        """Stop everything; see `Executor`."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        self._guard.send("close")
        self._guard.close()
        self._process.join(CLOSE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
        os.close(self._pidfd)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """The executor itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def _receive(self) -> None:
        self._guard.flush()
        for message in self._guard.receive():
            if message.word == "partial":
                self._waiting.append(Partial.model_validate_json(message.body))
            elif message.word == "outcome":
                self._waiting.append(Outcome.model_validate_json(message.body))
            else:
                self._broken = json.loads(message.body)

    def _how_the_guard_ended(self) -> str:
        self._process.join(CLOSE_SECONDS)
        text = (
            f"the guard of the worker processes ended (exit code {self._process.exitcode}); resume to go on"
        )
        if getattr(sys.modules["__main__"], "__file__", None):
            text += "; a script that starts a search needs `if __name__ == '__main__':` around it"
        return text


def _start_guard(settings: WorkerSettings, workers: int, folder: Path) -> tuple[SpawnProcess, Channel]:
    if not hasattr(os, "pidfd_open"):
        raise ExecutorError("worker processes need Linux 5.3 or later (pidfd)")
    devices = 0 if settings.hardware is None else len(settings.hardware.devices)
    plan = GuardPlan(
        settings=settings,
        num_workers=workers,
        num_devices=devices,
        folder=folder,
        lock_folder=lock_folder(),
        search_pid=os.getpid(),
    )
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("spawn").Process(
        target=guard_main, args=(plan, theirs), name="nas-guard"
    )
    with contextlib.closing(theirs):
        try:
            with _without_interrupts():
                process.start()
        except Exception as error:
            ours.close()
            raise ExecutorError(
                f"the settings cannot be sent to worker processes ({error}); "
                "define the task at the top level of a module that can be imported"
            ) from error
    return process, Channel(ours)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold SIGINT back, for what is started meanwhile too: a terminal sends Ctrl-C to every process, and one
    that is only just loading would die of it, loudly. The guard lets it through once it ignores it.
    """
    resource_tracker.ensure_running()  # starting it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
