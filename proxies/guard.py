"""What stands between a search and its workers: it forks them, feeds them, watches them and kills them.

A search talks to one guard, and the guard to a few workers. It runs in a process of its own
(`proxies.guard_process`) that has torch loaded, so a worker is forked in milliseconds. Being their parent
and a subreaper, it learns how each ended, and inherits whatever a dead worker leaves running.
"""

import contextlib
import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from proxies.channel import Channel, ChannelError
from proxies.child import FAILED, Assignment
from proxies.forking import Worker, fork_worker
from proxies.process_tree import (
    children,
    descendants,
    kill_tree,
    proportional_bytes,
    resident_bytes,
)
from proxies.records import Job, Outcome, Partial, Status, TimeJob, TrainJob, failure
from proxies.spool import Spool
from proxies.worker import WorkerSettings

WATCH_SECONDS = 0.1
"""How often the size of a busy worker's process tree is looked at."""
MAX_BACKLOG_BYTES = 4 * 1024 * 1024
"""Interim reports stay in the workers while the search has this much unread."""
SHUTDOWN_SECONDS = 5.0
MAX_IDLE_DEATHS = 5
"""So many workers in a row may be killed before they have a job; one more, and none will ever have one."""

_JOB: TypeAdapter[TimeJob | TrainJob] = TypeAdapter(Job)


class GuardError(Exception):
    """Workers cannot be started or their outcomes not be kept; one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPlan:
    """What a guard is started with. Worker `i` of `num_workers` has device `i` modulo `num_devices`."""

    settings: WorkerSettings
    num_workers: int
    num_devices: int
    folder: Path
    lock_folder: Path
    search_pid: int


class Guard:
    """Keeps `num_workers` workers and a warm spare, and makes exactly one outcome of every job.

    Hears `submit` (a job), `stop` and `go` (a key), and `close`; says `partial`, `outcome` and, once,
    `broken`.
    """

    def __init__(
        self, plan: GuardPlan, *, search: Channel, parents: Sequence[int], clock: Callable[[], float]
    ) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._spool = Spool(directory=plan.settings.spool) if plan.settings.spool is not None else None
        self._search = search
        self._parents = parents
        self._clock = clock
        self._queue: deque[TimeJob | TrainJob] = deque()
        self._workers: list[Worker] = []
        self._num_forked = 0
        self._idle_deaths = 0
        self._last_watch = 0.0
        self._is_over = False

    def run(self) -> None:
        """Serve until the search closes, ends or dies.

        Raises:
            GuardError, ForkError: workers cannot be started.
            SpoolError: an outcome could not be stored.
        """
        while not self._is_over:
            self._fork_missing()
            self._dispatch()
            self._sleep()
            self._hear_search()
            for worker in list(self._workers):
                self._attend(worker)
            self._watch()

    def shut_down(self) -> None:
        """Kill and bury everything below this process, within seconds."""
        deadline = self._clock() + SHUTDOWN_SECONDS
        while (living := children(os.getpid())) and self._clock() < deadline:
            for pid in living:
                kill_tree(pid)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            self._search.flush()
            time.sleep(0.001)

    # Starting and feeding

    def _fork_missing(self) -> None:
        while len([w for w in self._workers if w.verdict is None]) < self._plan.num_workers + 1:
            self._num_forked += 1
            inherited = [self._search.fileno(), *self._parents]
            for worker in self._workers:
                inherited += worker.descriptors()
            self._workers.append(
                fork_worker(
                    self._settings,
                    folder=self._plan.folder / f"worker-{self._num_forked}",
                    lock_folder=self._plan.lock_folder,
                    inherited=inherited,
                )
            )

    def _dispatch(self) -> None:
        for slot in range(self._plan.num_workers):
            if not self._queue:
                return
            worker = self._in_slot(slot)
            if worker is not None and worker.job is None and worker.is_ready:
                self._assign(self._queue.popleft(), worker)

    def _in_slot(self, slot: int) -> Worker | None:
        """The worker in `slot`; a ready spare moves in where there is none."""
        living = [worker for worker in self._workers if worker.verdict is None]
        for worker in living:
            if worker.slot == slot:
                return worker
        for worker in living:
            if worker.slot is None and worker.is_ready:
                worker.slot = slot
                return worker
        return None

    def _assign(self, job: TimeJob | TrainJob, worker: Worker) -> None:
        assert worker.slot is not None
        device = worker.slot % self._plan.num_devices if self._plan.num_devices else None
        worker.begin(job)
        worker.channel.send("job", Assignment(job=job, device=device).model_dump_json())

    # Listening

    def _sleep(self) -> None:
        """Until somebody speaks or dies, a deadline passes or a look at the trees is due."""
        poll = select.poll()
        poll.register(self._search.fileno(), _interest(self._search))
        for parent in self._parents:
            poll.register(parent, select.POLLIN)
        is_flooded = self._search.num_unsent > MAX_BACKLOG_BYTES
        for worker in self._workers:
            poll.register(worker.pidfd, select.POLLIN)
            if not is_flooded and not worker.channel.is_closed:
                poll.register(worker.channel.fileno(), _interest(worker.channel))
            if not worker.log.is_closed:
                poll.register(worker.log.fileno(), select.POLLIN)
        seconds = self._seconds_to_next_look()
        ready = poll.poll(None if seconds is None else seconds * 1000)
        self._is_over = self._is_over or any(descriptor in self._parents for descriptor, _ in ready)

    def _seconds_to_next_look(self) -> float | None:
        busy = [worker for worker in self._workers if worker.job is not None]
        if not busy and not self._strays():
            return None
        times = [self._last_watch + WATCH_SECONDS]
        times += [deadline for worker in busy if (deadline := self._deadline_of(worker)) is not None]
        return max(0.0, min(times) - self._clock())

    def _deadline_of(self, worker: Worker) -> float | None:
        if self._settings.timeout_seconds is None or worker.started is None or worker.verdict is not None:
            return None
        return worker.started + self._settings.timeout_seconds

    def _hear_search(self) -> None:
        self._search.flush()
        for message in self._search.receive():
            if message.word == "submit":
                self._queue.append(_JOB.validate_json(message.body))
            elif message.word == "stop":
                self._stop(json.loads(message.body))
            elif message.word == "go":
                self._let_go_on(json.loads(message.body))
            elif message.word == "close":
                self._is_over = True
        self._is_over = self._is_over or self._search.is_closed

    def _stop(self, key: str) -> None:
        for job in [job for job in self._queue if job.key == key]:
            self._queue.remove(job)
            self._deliver(failure(job, "stopped", "told to stop before it began"))
        for worker in self._workers:
            if worker.job is not None and worker.job.key == key and not worker.was_stopped:
                worker.was_stopped = True
                worker.channel.send("stop", json.dumps(key))

    def _let_go_on(self, key: str) -> None:
        for worker in self._workers:
            if worker.job is not None and worker.job.key == key:
                worker.channel.send("go", json.dumps(key))

    def _attend(self, worker: Worker) -> None:
        """Take what a worker has said, then see whether it has ended: its last words come first."""
        exit_code = worker.exit_code()
        worker.log.read()
        worker.channel.flush()
        if exit_code is not None or self._search.num_unsent <= MAX_BACKLOG_BYTES:
            try:
                self._hear(worker)
            except (ChannelError, ValidationError, UnicodeError) as error:
                self._condemn(
                    worker, "error", f"the worker sent what is not a message ({type(error).__name__})"
                )
        if exit_code is not None:
            self._bury(worker, exit_code)

    def _hear(self, worker: Worker) -> None:
        for message in worker.channel.receive():
            if worker.verdict is not None:
                continue  # what a condemned worker says no longer counts
            if message.word == "ready":
                worker.is_ready = True
                worker.idle_bytes = resident_bytes(worker.pid)
                self._idle_deaths = 0
            elif worker.job is None:
                raise ChannelError(f"{message.word!r} without a job")
            elif message.word == "started":
                worker.started = self._clock()
            elif message.word == "partial":
                partial = Partial.model_validate_json(message.body)
                _require_key(partial.key, worker.job)
                self._search.send("partial", message.body)
            elif message.word == "outcome":
                outcome = Outcome.model_validate_json(message.body)
                _require_key(outcome.key, worker.job)
                self._settle(worker, outcome)

    # Ending

    def _settle(self, worker: Worker, outcome: Outcome) -> None:
        """A worker has said how its job ended. It goes on to the next job if it is as good as new."""
        strays = descendants(worker.pid)
        if len(strays) > self._settings.max_processes:
            self._condemn(worker, "error", self._too_many(strays))
            return
        worker.log.read()
        worker.end_job(resident_bytes(worker.pid))
        if outcome.status in FAILED:
            self._deliver(_with_log(outcome, worker))
        else:  # the worker has stored it
            self._search.send("outcome", outcome.model_dump_json())
        is_spent = (
            worker.num_jobs >= self._settings.max_jobs
            or worker.growth_bytes > self._settings.max_growth_bytes
        )
        if strays or is_spent or outcome.status in FAILED:
            worker.condemn("error", "retired")

    def _condemn(self, worker: Worker, status: Status, reason: str) -> None:
        if worker.verdict is None:
            worker.condemn(status, reason)

    def _bury(self, worker: Worker, exit_code: int) -> None:
        """A worker has ended. If it had a job, that is the job's outcome."""
        self._workers.remove(worker)
        status, reason = worker.verdict or worker.cause_of_death(exit_code)
        words = worker.log.last_line()
        if worker.job is not None:
            said = f"; its last output: {words}" if words else ""
            seconds = 0.0 if worker.started is None else max(0.0, self._clock() - worker.started)
            self._deliver(_with_log(failure(worker.job, status, f"{reason}{said}", seconds), worker))
        elif worker.verdict is None:
            self._idle_deaths += 1
            may_be_chance = worker.is_ready or exit_code == -signal.SIGKILL  # which comes from outside
            if not may_be_chance or self._idle_deaths > MAX_IDLE_DEATHS:
                raise GuardError(
                    f"a worker process {reason} before it had a job{f': {words}' if words else ''}"
                )
        worker.close()

    def _deliver(self, outcome: Outcome) -> None:
        """Durable first, then told."""
        if self._spool is not None:
            self._spool.write(outcome)
        self._search.send("outcome", outcome.model_dump_json())

    # Watching

    def _watch(self) -> None:
        now = self._clock()
        for worker in self._workers:
            deadline = self._deadline_of(worker)
            if deadline is not None and now >= deadline:
                limit = self._settings.timeout_seconds
                self._condemn(worker, "timeout", f"passed its deadline of {limit:g} s")
        if now < self._last_watch + WATCH_SECONDS:
            return
        self._last_watch = now
        for worker in self._workers:
            if worker.job is not None and worker.verdict is None:
                self._look_at_tree(worker)
        for pid in self._strays():
            kill_tree(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _look_at_tree(self, worker: Worker) -> None:
        below = descendants(worker.pid)
        if len(below) > self._settings.max_processes:
            self._condemn(worker, "error", self._too_many(below))
        limit = self._settings.memory_limit_bytes
        if limit is None or (self._settings.is_on_cpu and not below):  # RLIMIT_AS holds for one process
            return
        tree = [worker.pid, *below]
        allowed = worker.idle_bytes + limit
        if sum(map(resident_bytes, tree)) > allowed and proportional_bytes(tree) > allowed:
            self._condemn(worker, "oom", f"held more than {limit} bytes above the idle worker")

    def _too_many(self, below: list[int]) -> str:
        return f"started {len(below)} processes, more than {self._settings.max_processes}"

    def _strays(self) -> list[int]:
        """Children of the guard that are no workers: what dead workers have left behind."""
        known = {worker.pid for worker in self._workers}
        return [pid for pid in children(os.getpid()) if pid not in known]


def _interest(channel: Channel) -> int:
    return select.POLLIN | (select.POLLOUT if channel.num_unsent else 0)


def _require_key(key: str, job: TimeJob | TrainJob) -> None:
    if key != job.key:
        raise ChannelError("a message about another job")


def _with_log(outcome: Outcome, worker: Worker) -> Outcome:
    text = worker.log.text()
    return outcome.model_copy(update={"details": {**outcome.details, "log": text}}) if text else outcome
