"""Bad candidates, and the good ones they must not disturb. Worker processes import this module.

Nothing here imports torch; `ZooTask` is given one already loaded.
"""

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nas.executors.protocol import Executor
from proxies.records import Outcome, TimeJob, TrainJob

NUM_FORKS = 64
HOG_BYTES = 1024**3
FLOOD_BYTES = 200 * 1024**2
NAP_SECONDS = 60.0


class UnspeakableError(Exception):
    """Cannot be pickled, and cannot even be shown."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raise_error() -> None:
    raise ValueError("a candidate's mistake\nin two lines")


def raise_unspeakable() -> None:
    raise UnspeakableError


def exit_politely() -> None:
    sys.exit(0)


def exit_0() -> None:
    os._exit(0)


def exit_3() -> None:
    print("about to leave", flush=True)
    os._exit(3)


def segfault() -> None:
    ctypes.string_at(0)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def hang() -> None:
    time.sleep(NAP_SECONDS)


def hang_deaf() -> None:
    """Deaf to whatever can be ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(NAP_SECONDS)


def hog_memory() -> None:
    held = []
    for _ in range(HOG_BYTES // 2**24):
        held.append(bytearray(2**24))


def _nap_in_child(*, detached: bool) -> None:
    child = os.fork()
    if child == 0:
        if detached:
            os.setsid()
            if os.fork() != 0:
                os._exit(0)
        time.sleep(NAP_SECONDS)
        os._exit(0)
    if detached:
        os.waitpid(child, 0)


def fork_runaway() -> None:
    """Forks 64 that sleep, and sleeps."""
    for _ in range(NUM_FORKS):
        _nap_in_child(detached=False)
    time.sleep(NAP_SECONDS)


def fork_and_return() -> None:
    """Forks 64 that sleep, and behaves otherwise."""
    for _ in range(NUM_FORKS):
        _nap_in_child(detached=False)


def leave_a_daemon() -> None:
    """Forks twice, leaves the session, and dies: the daemon has no ancestor left but the guard."""
    _nap_in_child(detached=True)
    os._exit(1)


def fork_daemons() -> None:
    """Forks 64 that leave the session and their parent, and sleeps."""
    for _ in range(NUM_FORKS):
        _nap_in_child(detached=True)
    time.sleep(NAP_SECONDS)


def leave_a_daemon_and_hang() -> None:
    _nap_in_child(detached=True)
    hang()


def close_everything() -> None:
    os.closerange(3, 256)


def flood_output() -> None:
    chunk = (b"x" * 1023 + b"\n") * 64
    for _ in range(FLOOD_BYTES // len(chunk)):
        os.write(1, chunk)


def do_nothing() -> None:
    pass


GOOD: dict[str, Callable[[], None]] = {"good": do_nothing, "flood_output": flood_output}
BAD: dict[str, tuple[Callable[[], None], str, str]] = {
    "raise_error": (raise_error, "error", r"ValueError: a candidate's mistake in two lines \(zoo.py:\d+\)"),
    "raise_unspeakable": (raise_unspeakable, "error", "UnspeakableError: its message cannot be shown"),
    "exit_politely": (exit_politely, "error", r"called sys.exit\(0\)"),
    "exit_0": (exit_0, "error", "exit code 0"),
    "exit_3": (exit_3, "error", "exit code 3; its last output: about to leave"),
    "segfault": (segfault, "error", "SIGSEGV"),
    "kill_itself": (kill_itself, "error", "SIGKILL"),
    "freeze_itself": (freeze_itself, "timeout", "deadline of 2 s"),
    "hang": (hang, "timeout", "deadline of 2 s"),
    "hang_deaf": (hang_deaf, "timeout", "deadline of 2 s"),
    "hog_memory": (hog_memory, "oom", "memory"),
    "fork_runaway": (fork_runaway, "error", r"started \d\d processes, more than 32"),
    "fork_and_return": (fork_and_return, "error", r"started \d\d processes, more than 32"),
    "fork_daemons": (fork_daemons, "error", r"started \d+ processes, more than 32"),
    "leave_a_daemon": (leave_a_daemon, "error", "exit code 1"),
    "close_everything": (close_everything, "error", "exit code 0"),
}
"""Name -> what it does, the status it must end in, and what the reason must say."""

ENDLESS = {"leave_a_daemon_and_hang": leave_a_daemon_and_hang}

BAD_METRICS: dict[str, tuple[Any, str, str]] = {
    "nan": ({"accuracy": float("nan")}, "diverged", "'accuracy' is nan"),
    "infinite_loss": ({"accuracy": 0.5, "loss": float("inf")}, "diverged", "'loss' is inf"),
    "text": ({"accuracy": "0.5"}, "error", "'accuracy' is a str; return a float"),
    "percent": ({"accuracy": 97.0}, "error", "accuracy is 97; return a fraction, 0 to 1"),
    "no_accuracy": ({"loss": 0.1}, "error", r"no 'accuracy' \(it returned loss\)"),
    "nothing": (None, "error", "metrics are a NoneType"),
}


LIMITS: dict[str, Any] = {"timeout_seconds": 2.0, "memory_limit_bytes": 256 * 1024**2}
"""What the zoo is run under."""


def behave(name: str) -> None:
    actions = {**GOOD, **{bad: action for bad, (action, _, _) in BAD.items()}, **ENDLESS}
    actions[name]()


def job_named(name: str, seed: int = 0) -> TrainJob:
    """A job that behaves as `name` says, when `ZooRunner` runs it."""
    return TrainJob(digest=name, architecture={"does": name}, task_fingerprint="zoo", seed=seed)


@dataclass(frozen=True)
class ZooRunner:
    """Does what the job's name says, then reports half marks."""

    def run(self, job: TimeJob | TrainJob, report: Any) -> Outcome:
        behave(job.digest)
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics={"accuracy": 0.5})


@dataclass(frozen=True)
class ZooTask:
    """A task that does what `names[seed]` says: an action of the zoo, or bad metrics."""

    names: tuple[str, ...]
    num_classes: int = 10

    def fingerprint(self) -> str:
        return "zoo"

    def train(self, network: Any, report: Any, *, seed: int, device: Any) -> Mapping[str, float]:
        name = self.names[seed]
        if name in BAD_METRICS:
            return BAD_METRICS[name][0]  # type: ignore[no-any-return]
        behave(name)
        report(1, {"accuracy": 0.25})
        return {"accuracy": 0.5, "num_parameters": float(sum(p.numel() for p in network.parameters()))}


def run_all(executor: Executor, jobs: list[TrainJob]) -> dict[str, list[Outcome]]:
    """Submit everything at once; the outcomes of each key."""
    for job in jobs:
        executor.submit(job)
    outcomes: dict[str, list[Outcome]] = {job.key: [] for job in jobs}
    while not all(outcomes.values()):
        events = executor.wait(60.0)
        assert events, "nothing happened for a minute"
        for event in events:
            if isinstance(event, Outcome):
                outcomes[event.key].append(event)
    return outcomes


def zoo_jobs() -> list[TrainJob]:
    """Every bad candidate, with a good one after each."""
    jobs = []
    for seed, name in enumerate(BAD):
        jobs += [job_named(name), job_named("good", seed)]
    return [*jobs, job_named("flood_output")]


def check_zoo(outcomes: dict[str, list[Outcome]]) -> None:
    for job in zoo_jobs():
        (outcome,) = outcomes[job.key]
        _, status, reason = BAD.get(job.digest, (None, "ok", None))
        assert outcome.status == status, outcome
        assert reason is None or re.search(reason, outcome.reason or ""), outcome.reason
        assert outcome.reason is None or ("\n" not in outcome.reason and len(outcome.reason) < 700)
        assert outcome.metrics == ({"accuracy": 0.5} if status == "ok" else {})
