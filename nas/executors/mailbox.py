"""What passes between a search and its workers on a Ray cluster.

Runs as a Ray actor, and knows nothing of Ray.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from proxies.records import Job, Outcome, Status, TimeJob, TrainJob, failure

MAX_LOSSES = 1
"""How often a job is given to another worker after the one that had it was lost."""

_JOB: TypeAdapter[TimeJob | TrainJob] = TypeAdapter(Job)


Word = Literal["stop", "go"]
"""What a search may say of a training that is running."""


class Letter(NamedTuple):
    """Something that has happened: `stored` and `unstored` are outcomes (in the spool, or not yet).

    The body is JSON; that of `broken` is a plain sentence.
    """

    word: Literal["partial", "stored", "unstored", "broken"]
    body: str


class Held(NamedTuple):
    """A job in its JSON form."""

    key: str
    body: str


class Mailbox:
    """Jobs wait here for workers, and reports and outcomes for the search; each worker is named by its trial.

    At most `num_workers` jobs are out at once. A job's outcome is taken from the worker that holds it and
    from no other, so each job ends in exactly one.
    """

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers
        self._jobs: deque[Held] = deque()
        self._held: dict[str, Held] = {}
        self._losses: Counter[str] = Counter()
        self._words: dict[str, Word] = {}
        self._letters: list[Letter] = []
        self._changed = asyncio.Condition()

    async def put(self, key: str, job: str) -> None:
        """The search has a job."""
        async with self._changed:
            self._jobs.append(Held(key, job))
            self._changed.notify_all()

    async def stop(self, key: str) -> None:
        """The search wants a training to end early."""
        async with self._changed:
            for job in [job for job in self._jobs if job.key == key]:
                self._jobs.remove(job)
                self._fail(job, "stopped", "told to stop before it began")
            self._say(key, "stop")
            self._changed.notify_all()

    async def go_on(self, key: str) -> None:
        """The search lets a training go on that waits for word."""
        async with self._changed:
            if self._words.get(key) != "stop":
                self._say(key, "go")

    async def collect(self, timeout_seconds: float) -> list[Letter]:
        """Everything that has happened, oldest first; empty when nothing did before the timeout."""
        async with self._changed:
            await self._wait(timeout_seconds, lambda: bool(self._letters))
            letters, self._letters = self._letters, []
            return letters

    async def take(self, trial: str, timeout_seconds: float) -> str | None:
        """A worker is free: the job it now holds, or None when there was none before the timeout."""
        async with self._changed:
            await self._wait(timeout_seconds, self._may_take)
            if not self._may_take():
                return None
            self._held[trial] = self._jobs.popleft()
            return self._held[trial].body

    async def exchange(self, trial: str, letters: Sequence[Letter]) -> list[tuple[str, Word]]:
        """A worker tells what has happened to its job; it learns what the search has said of that since.

        To stop is said each time, to go on once.
        """
        async with self._changed:
            for letter in letters:
                self._receive(trial, Letter(*letter))
            self._changed.notify_all()
            job = self._held.get(trial)
            if job is None or job.key not in self._words:
                return []
            word = self._words[job.key]
            if word == "go":
                del self._words[job.key]
            return [(job.key, word)]

    async def lose(self, trial: str) -> None:
        """A worker is gone. Its job goes to another once; the second time it is to blame."""
        async with self._changed:
            job = self._held.pop(trial, None)
            if job is not None:
                self._losses[job.key] += 1
                if self._losses[job.key] > MAX_LOSSES:
                    self._fail(job, "error", "the Ray worker that ran it was lost, twice")
                else:
                    self._jobs.appendleft(job)
                self._changed.notify_all()

    def _receive(self, trial: str, letter: Letter) -> None:
        if letter.word == "broken":
            self._letters.append(letter)
        elif trial in self._held:  # what a worker says that was given up no longer counts
            if letter.word in ("stored", "unstored"):
                self._words.pop(self._held.pop(trial).key, None)
            self._letters.append(letter)

    def _say(self, key: str, word: Word) -> None:
        if any(job.key == key for job in self._held.values()):
            self._words[key] = word

    def _may_take(self) -> bool:
        return bool(self._jobs) and len(self._held) < self._num_workers

    def _fail(self, job: Held, status: Status, reason: str) -> None:
        outcome: Outcome = failure(_JOB.validate_json(job.body), status, reason)
        self._letters.append(Letter("unstored", outcome.model_dump_json()))

    async def _wait(self, timeout_seconds: float, condition: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait_for(condition)
