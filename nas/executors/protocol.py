"""The seam between the session and where jobs run."""

from typing import Protocol

from proxies.records import Outcome, Partial, TimeJob, TrainJob


class Executor(Protocol):
    """Runs jobs somewhere else, a few at a time. Whatever a job does, it ends in exactly one outcome."""

    @property
    def capacity(self) -> int:
        """Jobs worth having submitted and unfinished at once."""

    def submit(self, job: TimeJob | TrainJob) -> None:
        """Accept a job. Never blocks on the job itself."""

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome | Partial]:
        """What has happened, oldest first; empty when nothing did before the timeout.

        None waits until something happens. Outcomes are durable in the spool before they are returned.

        Raises:
            ExecutorError: the executor itself is broken (not a job); the search can be resumed later.
        """

    def stop(self, key: str) -> None:
        """Ask the training under `key` to end at its next report. Unknown keys are ignored."""

    def go_on(self, key: str) -> None:
        """Let the training under `key` go on, should it wait for word after its last report.

        It waits where `WorkerSettings.verdict_seconds` says so, and no longer than that, so that one that is
        to be stopped does not begin another epoch first.
        """

    def close(self) -> None:
        """Stop everything and leave no process or temporary file behind. Safe to call twice."""


class ExecutorError(Exception):
    """The place where jobs run is gone or was never there; one sentence with the remedy."""
