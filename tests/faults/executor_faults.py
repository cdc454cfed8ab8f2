"""Faults and load under the executors: kills of workers, jobs that do nothing."""

import contextlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import psutil
from promises import Figures, require

from nas.executors.local import LocalExecutor
from nas.executors.protocol import Executor
from proxies.records import Outcome, TimeJob, TrainJob
from proxies.spool import Spool
from proxies.worker import WorkerSettings

WARM = 50
"""Jobs before the first look at the driver."""


class BriefRunner:
    """Works for a moment, or not at all."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, job: TimeJob | TrainJob, report: object) -> Outcome:
        time.sleep(self.seconds)  # the work itself
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics={"accuracy": 0.5})


def train_job(number: int) -> TrainJob:
    return TrainJob(digest=f"{number:064x}", architecture={}, task_fingerprint="none", seed=0)


def worker_kills(folder: Path, rng: random.Random, count: int, *, forget: bool = False) -> Figures:
    """kill -9 of workers under jobs. `forget`: one outcome is dropped, which must be noticed."""
    jobs = [train_job(number) for number in range(4 * count)]
    seen: Counter[str] = Counter()
    failed, kills = 0, 0
    spool = Spool(directory=folder / "spool")
    with LocalExecutor(
        WorkerSettings(runner=BriefRunner(0.05), preload=(), spool=spool.directory), workers=2
    ) as executor:
        for job in jobs:
            executor.submit(job)
        while len(seen) < len(jobs):
            events = [event for event in executor.wait(30.0) if isinstance(event, Outcome)]
            require(bool(events), f"nothing ended for 30 s after {kills} kills")
            seen.update(event.key for event in events)
            failed += sum(event.status != "ok" for event in events)
            workers = _workers()
            if kills < count and workers:
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself just now
                    rng.choice(workers).kill()
                    kills += 1
        stored = {outcome.key for outcome in spool.read_all()}
    if forget:
        seen.popitem()
    require(kills >= count, f"only {kills} of {count} kills were played")
    require(sorted(seen) == sorted(job.key for job in jobs), "a job has no outcome")
    require(set(seen.values()) == {1}, "a job has two outcomes")
    require(stored == set(seen), "the spool does not hold what was told")
    require(failed <= kills, f"{failed} jobs failed of {kills} kills")
    return {"kills of workers": kills, "jobs": len(jobs), "without an outcome": 0, "failed by a kill": failed}


def _workers() -> list[psutil.Process]:
    """Living workers: those that lead a session of their own below the guard."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if os.getsid(process.pid) == process.pid and process.children() == []:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def load(folder: Path, rng: random.Random, count: int, *, leak: bool = False) -> Figures:
    """No-op jobs on the local executor. `leak`: the driver leaves files open, which must be noticed."""
    with LocalExecutor(WorkerSettings(runner=BriefRunner(0.0), preload=()), workers=2) as executor:
        return _loaded(executor, folder, count, leak=leak)


def ray_load(folder: Path, rng: random.Random, count: int, *, leak: bool = False) -> Figures:
    """No-op jobs on Ray Tune, as `load`."""
    from nas.executors.ray_tune import RayTuneExecutor

    executor = RayTuneExecutor(WorkerSettings(runner=BriefRunner(0.0), preload=()), workers=2)
    try:
        return _loaded(executor, folder, count, leak=leak)
    finally:
        executor.close()


def _loaded(executor: Executor, folder: Path, count: int, *, leak: bool) -> Figures:
    """Jobs one after another: the time of each, and what the driver's memory and descriptors come to."""
    driver = psutil.Process()
    leaked, started = [], 0.0
    marks = []
    for number in range(count + WARM):
        if number == WARM:
            started = time.perf_counter()
        if number in (WARM, count + WARM - 1):
            marks.append((driver.memory_info().rss, driver.num_fds()))
        executor.submit(train_job(number))
        if leak:
            leaked.append((folder / "leak").open("w"))
        while not any(isinstance(event, Outcome) for event in executor.wait(60.0)):
            pass
    each_ms = 1000 * (time.perf_counter() - started) / count
    for file in leaked:
        file.close()
    growth = marks[-1][0] / marks[0][0] - 1.0
    require(growth < 0.05, f"the driver's memory grew by {growth:.1%}")
    require(marks[-1][1] <= marks[0][1], f"descriptors grew from {marks[0][1]} to {marks[-1][1]}")
    return {
        "no-op jobs": count,
        "ms each": round(each_ms, 2),
        "memory growth": f"{growth:.1%}",
        "descriptors": "flat",
    }
