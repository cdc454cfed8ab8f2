"""What an executor itself costs for each job: queueing, handing over, making durable, telling.

50 jobs whose work is nothing, two workers, outcomes in a spool on disk; rounds of both executors alternate
in one process, on executors that are already warm. A candidate of a search is two jobs or more; what the
session adds is in session_overhead.py. The disk's share (one durable outcome) is timed beside them.
Usage: python benchmarks/engine_overhead.py [local ray]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas.executors.local import LocalExecutor
from nas.executors.protocol import Executor
from proxies.records import Outcome, TimeJob, TrainJob
from proxies.spool import Spool
from proxies.worker import WorkerSettings

JOBS = 50
WORKERS = 2
ROUNDS = 5


@dataclass(frozen=True)
class Nothing:
    """A job runner that answers at once."""

    def run(self, job: TimeJob | TrainJob, report: Any) -> Outcome:
        """Made-up numbers, real plumbing."""
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics={"accuracy": 0.5})


def make_job(seed: int) -> TrainJob:
    stages = [{"depth": 4, "width": 64, "block": {"op": "mbconv", "expand": 4}}] * 6
    return TrainJob(digest="d" * 64, architecture={"stages": stages}, task_fingerprint="none", seed=seed)


def run_round(executor: Executor, jobs: int = JOBS) -> float:
    """Milliseconds for each job, never more than `capacity` submitted at once, as in a search."""
    started = time.perf_counter()
    submitted = ended = 0
    while ended < jobs:
        while submitted < jobs and submitted - ended < executor.capacity:
            executor.submit(make_job(submitted))
            submitted += 1
        ended += sum(isinstance(event, Outcome) for event in executor.wait())
    return 1e3 * (time.perf_counter() - started) / jobs


def time_spool(folder: Path) -> float:
    """Milliseconds to make one outcome durable, alone."""
    spool = Spool(directory=folder / "alone")
    outcome = Nothing().run(make_job(0), None)
    started = time.perf_counter()
    for _ in range(JOBS):
        spool.write(outcome)
    return 1e3 * (time.perf_counter() - started) / JOBS


def open_executor(name: str, folder: Path) -> Executor:
    settings = WorkerSettings(spool=folder / name, runner=Nothing())
    if name == "local":
        return LocalExecutor(settings, workers=WORKERS)
    from nas.executors.ray_tune import RayTuneExecutor

    return RayTuneExecutor(settings, workers=WORKERS)


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=".") as text, ExitStack() as stack:
        folder = Path(text)
        sides: dict[str, Callable[[], float]] = {"one durable outcome": partial(time_spool, folder)}
        for name in names:
            executor = open_executor(name, folder)
            stack.callback(executor.close)
            run_round(executor, jobs=4 * WORKERS)
            sides[name] = partial(run_round, executor)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, side in sides.items():
                times[name].append(side())
    print(f"ms a job: {JOBS} jobs, {WORKERS} workers, {ROUNDS} rounds")
    print(f"{'':20} {'median':>8} {'min':>8} {'max':>8}")
    for name, values in times.items():
        print(f"{name:20} {statistics.median(values):8.2f} {min(values):8.2f} {max(values):8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["local", "ray"])
