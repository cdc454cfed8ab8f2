"""A zoo of bad candidates among good ones: each costs itself alone. Ray: tests/nas/test_ray_executor.py."""

import os
import re
import time
from pathlib import Path

import psutil
import pytest
from processes import mark, marked
from zoo import BAD, BAD_METRICS, LIMITS, ZooRunner, ZooTask, check_zoo, job_named, run_all, zoo_jobs

from nas.executors.local import LocalExecutor
from proxies.records import Outcome, TrainJob
from proxies.spool import Spool
from proxies.worker import WorkerSettings

__all__ = ["mark"]  # a fixture

TINY_ARCHITECTURE = {
    "schema": "nas.architecture/1",
    "stem": {"width": 8},
    "stages": [{"depth": 1, "width": 8, "block": {"op": "fused_mbconv", "expand": 1}}],
    "head": {"width": 16},
}


def test_each_bad_candidate_costs_itself_alone(mark: str, tmp_path: Path) -> None:
    spool = Spool(directory=tmp_path / "spool")
    settings = WorkerSettings(runner=ZooRunner(), preload=(), spool=spool.directory, **LIMITS)
    with LocalExecutor(settings, workers=2) as executor:
        outcomes = run_all(executor, zoo_jobs())
        check_zoo(outcomes)
        assert {outcome.key: [outcome] for outcome in spool.read_all()} == outcomes
        segfault = outcomes[job_named("segfault").key][0]
        assert "zoo.py" in segfault.details["log"]
    assert marked(mark) == []


def strays(mark: str) -> list[psutil.Process]:
    """What is neither the guard nor its handle, which share a session, nor a worker, which leads its own."""
    (handle,) = (process for process in psutil.Process().children() if process in marked(mark))
    return [process for process in marked(mark) if os.getsid(process.pid) not in (process.pid, handle.pid)]


def test_what_a_dead_worker_leaves_is_ended_while_others_work(mark: str) -> None:
    settings = WorkerSettings(runner=ZooRunner(), preload=())
    with LocalExecutor(settings, workers=2) as executor:
        run_all(executor, [job_named("good")])
        assert strays(mark) == []
        executor.submit(job_named("hang"))
        run_all(executor, [job_named("leave_a_daemon")])
        deadline = time.monotonic() + 30.0
        while strays(mark):
            assert time.monotonic() < deadline, "the daemon is still there"
            assert executor.wait(0.05) == []


def test_bad_metrics_never_become_numbers() -> None:
    names = ("good", *BAD_METRICS, "raise_error", "segfault", "hog_memory")
    jobs = [
        TrainJob(digest=name, architecture=TINY_ARCHITECTURE, task_fingerprint="zoo", seed=seed)
        for seed, name in enumerate(names)
    ]
    settings = WorkerSettings(task=ZooTask(names), memory_limit_bytes=LIMITS["memory_limit_bytes"])
    with LocalExecutor(settings, workers=2) as executor:
        outcomes = run_all(executor, jobs)
    for job in jobs:
        (outcome,) = outcomes[job.key]
        expected = BAD_METRICS.get(job.digest) or BAD.get(job.digest) or (None, "ok", "")
        assert outcome.status == expected[1], outcome
        assert re.search(expected[2], outcome.reason or ""), outcome.reason
        assert (outcome.metrics != {}) == (outcome.status == "ok")
    (good,) = outcomes[jobs[0].key]
    assert good.metrics["num_parameters"] > 0
    assert good.details["learning_curve"] == [[1, {"accuracy": 0.25}]]


@pytest.mark.parametrize("name", ["hang", "fork_runaway", "hog_memory"])
def test_the_zoo_is_dangerous_without_its_guards(name: str, mark: str) -> None:
    """Negative control: with the limits off, the same candidate is still at it after a second."""
    settings = WorkerSettings(runner=ZooRunner(), preload=(), max_processes=1000)
    with LocalExecutor(settings, workers=1) as executor:
        executor.submit(job_named(name))
        events = executor.wait(1.0 if name != "hog_memory" else 30.0)
        if name == "hog_memory":
            assert [event.status for event in events if isinstance(event, Outcome)] == ["ok"]
        else:
            assert events == []
    assert marked(mark) == []
