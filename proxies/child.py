"""The inside of a worker process: take a job, run it under its limits, say how it ended, take the next."""

import contextlib
import errno
import json
import os
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from proxies.channel import Channel, wait_for
from proxies.device_lock import exclusive, shared
from proxies.process_tree import address_space_bytes
from proxies.records import Decision, Job, Outcome, Partial, Status, TimeJob, TrainJob, failure
from proxies.spool import Spool
from proxies.worker import JobRunner, WorkerSettings
from search_spaces.spec import Spec

FAILED: frozenset[Status] = frozenset({"error", "oom", "timeout"})
"""Statuses after which a worker is not trusted with another job."""
MAX_REASON_CHARACTERS = 300
MAX_TRACEBACK_CHARACTERS = 4000
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(can't|cannot|not enough) (allocate )?memory|bad_alloc", re.IGNORECASE
)


class Assignment(Spec):
    """A job, and which of the settings' devices it is for; None where there is only the CPU."""

    job: Job
    device: int | None = None


class JobServer:
    """Serves jobs one after the other until the channel closes.

    Hears `job` (an Assignment), `stop` and `go` (a key). Says `ready` once, and for each job `started`
    when it has its device, `partial`s, and one `outcome`. An outcome that measured something is in the
    spool when it is said; failures are stored by the guard, which knows more about them.
    """

    def __init__(
        self, channel: Channel, settings: WorkerSettings, *, lock_folder: Path, clock: Callable[[], float]
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._lock_folder = lock_folder
        self._clock = clock
        self._runner: JobRunner | None = None
        self._spool = Spool(directory=settings.spool) if settings.spool is not None else None
        self._stopped: set[str] = set()
        self._may_go_on = False

    def serve(self) -> None:
        """Returns when the other side is gone."""
        if self._settings.allow_plugins:
            _load_plugins()
        self._say("ready")
        while not self._channel.is_closed:
            wait_for([self._channel], None)
            for assignment in self._hear():
                outcome = self._run(assignment)
                if self._spool is not None and outcome.status not in FAILED:
                    self._spool.write(outcome)
                self._say("outcome", outcome.model_dump_json())

    def _run(self, assignment: Assignment) -> Outcome:
        """The outcome of one job, whatever the job does short of ending the process."""
        job = assignment.job
        started = self._clock()
        try:
            with self._device_of(assignment):
                started = self._clock()
                self._say("started")
                with limited_memory(self._settings):
                    outcome = self._runner_on(assignment.device).run(job, JobReport(server=self, job=job))
            outcome = checked_outcome(outcome, job, self._clock() - started)
        except BaseException as error:  # noqa: BLE001 -- a job may raise anything, exits included
            outcome = failure_of(job, error, self._clock() - started)
        self._stopped.clear()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        return outcome

    def _device_of(self, assignment: Assignment) -> contextlib.AbstractContextManager[None]:
        """Training shares its device, timing has it alone."""
        if self._settings.hardware is None:
            return contextlib.nullcontext()
        device = self._settings.hardware.devices[assignment.device or 0]
        hold = exclusive if isinstance(assignment.job, TimeJob) else shared
        return hold(device.lock_name, folder=self._lock_folder)

    def _runner_on(self, index: int | None) -> JobRunner:
        """The runner; made at the first job, whose device is then the process's only one."""
        if self._runner is None:
            if self._settings.hardware is not None:
                device = self._settings.hardware.devices[index or 0]
                if device.kind in ("cuda", "rocm"):
                    show_only(device.uuid if device.kind == "cuda" else None, device.index)
                self._settings = self._settings.on_device(device)
            self._runner = self._settings.job_runner()
        return self._runner

    def report(self, job: TimeJob | TrainJob, step: int, metrics: Mapping[str, float]) -> Decision:
        """Pass on an interim report, and what has been heard meanwhile or within the time for a verdict."""
        self._may_go_on = False
        self._say("partial", Partial(key=job.key, step=step, metrics=dict(metrics)).model_dump_json())
        self._hear()
        deadline = self._clock() + self._settings.verdict_seconds
        while not (self._may_go_on or job.key in self._stopped or self._channel.is_closed):
            left = deadline - self._clock()
            if left <= 0:
                break
            wait_for([self._channel], left)
            self._hear()
        return "stop" if job.key in self._stopped else "continue"

    def _hear(self) -> list[Assignment]:
        assignments = []
        for message in self._channel.receive():
            if message.word == "stop":
                self._stopped.add(json.loads(message.body))
            elif message.word == "go":
                self._may_go_on = True
            else:
                assignments.append(Assignment.model_validate_json(message.body))
        return assignments

    def _say(self, word: str, body: str = "{}") -> None:
        self._channel.send(word, body)
        self._channel.drain()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """The `Report` of one job."""

    server: JobServer
    job: TimeJob | TrainJob

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """See `Report`."""
        return self.server.report(self.job, step, metrics)


def checked_outcome(outcome: object, job: TimeJob | TrainJob, seconds: float) -> Outcome:
    """An outcome that a runner returned, as plain data, its duration filled in.

    Raises:
        TypeError: it is not an outcome.
        ValueError: it is another job's, or is not plain data.
    """
    if not isinstance(outcome, Outcome):
        raise TypeError(f"the runner returned a {type(outcome).__name__}; return an Outcome")
    if outcome.key != job.key:
        raise ValueError(f"the runner returned the outcome of another job, {outcome.key}")
    timed = outcome.model_copy(update={"seconds": outcome.seconds or max(0.0, seconds)})
    return Outcome.model_validate_json(timed.model_dump_json())


def failure_of(job: TimeJob | TrainJob, error: BaseException, seconds: float) -> Outcome:
    """The outcome of a job that raised `error`."""
    status, reason = _described(error)
    lines = traceback.format_exception(error)
    outcome = failure(job, status, sentence(reason), max(0.0, seconds))
    return outcome.model_copy(update={"details": {"traceback": "".join(lines)[-MAX_TRACEBACK_CHARACTERS:]}})


def is_out_of_memory(text: str) -> bool:
    """Whether an error message, or a dying process's last words, say that memory ran out."""
    return _OUT_OF_MEMORY.search(text) is not None


def sentence(text: str) -> str:
    """`text` on one line, printable, of at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_REASON_CHARACTERS else f"{line[: MAX_REASON_CHARACTERS - 3]}..."


def show_only(uuid: str | None, index: int) -> None:
    """Hide all GPUs but one from this process, before anything starts CUDA or HIP."""
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid or str(index)


@contextlib.contextmanager
def limited_memory(settings: WorkerSettings) -> Iterator[None]:
    """On a CPU, let the address space grow by at most the memory limit while this lasts."""
    if settings.memory_limit_bytes is None or not settings.is_on_cpu:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = address_space_bytes(os.getpid()) + settings.memory_limit_bytes
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _described(error: BaseException) -> tuple[Status, str]:
    message = _message_of(error)
    if _is_divergence(error):
        return "diverged", message or "the training diverged"
    if _ran_out_of_memory(error, message):
        return "oom", f"ran out of memory: {message}" if message else "ran out of memory"
    if isinstance(error, SystemExit):
        return "error", f"the job called sys.exit({error.code!r})"
    if isinstance(error, ValidationError):
        message = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    name = type(error).__name__
    return "error", f"{name}: {message}{_place_of(error)}" if message else f"{name}{_place_of(error)}"


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- a candidate's own __str__
        return "its message cannot be shown"


def _is_divergence(error: BaseException) -> bool:
    protocols = sys.modules.get("proxies.protocols")  # if it is not loaded, nobody raised Diverged
    return protocols is not None and isinstance(error, protocols.Diverged)


def _ran_out_of_memory(error: BaseException, message: str) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and is_out_of_memory(message)


def _place_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _load_plugins() -> None:
    from search_spaces.registry import load_block_plugins

    load_block_plugins()


def serve(channel: Channel, settings: WorkerSettings, *, lock_folder: Path) -> None:
    """Serve jobs until the channel closes; see `JobServer`."""
    JobServer(channel, settings, lock_folder=lock_folder, clock=time.perf_counter).serve()
