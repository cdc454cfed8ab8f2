"""Jobs for a run whose search has ended: done here, their outcomes filed in a ledger beside the run's own."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.executors.protocol import Executor
from proxies.records import Outcome, TimeJob, TrainJob
from proxies.worker import WorkerSettings
from results.ledger import Ledger


def run_here(
    jobs: Sequence[TimeJob | TrainJob],
    settings: WorkerSettings,
    path: Path,
    *,
    workers: int,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> None:
    """Run the jobs in processes of this machine; see `run_jobs`."""
    from nas.executors.local import LocalExecutor

    with contextlib.closing(LocalExecutor(settings, workers=workers)) as executor:
        run_jobs(jobs, executor, path, told=told)


def run_jobs(
    jobs: Sequence[TimeJob | TrainJob],
    executor: Executor,
    path: Path,
    *,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> None:
    """Run the jobs, file each outcome in the ledger `path` as soon as it is there, and then tell it."""
    with open_or_create(path) as ledger:
        waiting = {job.key for job in jobs}
        for job in jobs:
            executor.submit(job)
        while waiting:
            for event in executor.wait():
                if isinstance(event, Outcome) and event.key in waiting:
                    ledger.record(event)
                    waiting.discard(event.key)
                    told(event)


def open_or_create(path: Path) -> Ledger:
    """The ledger at `path` for writing, a new one where there is none.

    Raises:
        LedgerError: as `Ledger.open` and `Ledger.create`.
    """
    return Ledger.open(path) if path.exists() else Ledger.create(path)
