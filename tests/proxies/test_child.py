"""The inside of a worker process, run in this one."""

import errno
import resource
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proxies.channel import Channel, Message, wait_for
from proxies.child import (
    Assignment,
    JobServer,
    checked_outcome,
    failure_of,
    is_out_of_memory,
    limited_memory,
    sentence,
)
from proxies.protocols import Diverged
from proxies.records import Outcome, Partial, TrainJob
from proxies.spool import Spool
from proxies.worker import WorkerSettings

JOB = TrainJob(digest="d", architecture={}, task_fingerprint="t", seed=0)
OTHER = TrainJob(digest="d", architecture={}, task_fingerprint="t", seed=1)


def ok(**fields: Any) -> Outcome:
    return Outcome(**{"key": JOB.key, "kind": "train", "digest": "d", "status": "ok", **fields})


@dataclass
class Runner:
    """Does what it is given."""

    action: Callable[..., Any]

    def run(self, job: Any, report: Any) -> Any:
        return self.action(report)


def serve(
    action: Callable[..., Any], *, before: list[tuple[str, str]], spool: Path | None = None
) -> list[Message]:
    """What a server says that hears a job and `before`, until it has answered the job."""
    one, other = socket.socketpair()
    guard, channel = Channel(one), Channel(other)
    guard.send("job", Assignment(job=JOB).model_dump_json())
    for word, body in before:
        guard.send(word, body)
    settings = WorkerSettings(runner=Runner(action), spool=spool)
    ticks = count()
    server = JobServer(channel, settings, lock_folder=Path("unused"), clock=lambda: float(next(ticks)))
    thread = threading.Thread(target=server.serve)
    thread.start()
    said: list[Message] = []
    while not said or said[-1].word != "outcome":
        wait_for([guard], 30.0)
        said += guard.receive()
    guard.close()
    thread.join()
    channel.close()
    return said


def test_a_job_is_announced_reported_and_answered_once() -> None:
    def action(report: Any) -> Outcome:
        assert report(1, {"accuracy": 0.5}) == "continue"
        return ok(metrics={"accuracy": 0.5})

    said = serve(action, before=[])
    assert [message.word for message in said] == ["ready", "started", "partial", "outcome"]
    assert Partial.model_validate_json(said[2].body) == Partial(
        key=JOB.key, step=1, metrics={"accuracy": 0.5}
    )
    outcome = Outcome.model_validate_json(said[3].body)
    assert outcome.seconds > 0
    assert outcome.metrics == {"accuracy": 0.5}


def test_a_stop_is_heard_at_the_next_report_by_the_job_it_names() -> None:
    decisions = []

    def action(report: Any) -> Outcome:
        decisions.append(report(1, {}))
        return ok()

    serve(action, before=[("stop", f'"{JOB.key}"')])
    serve(action, before=[("stop", f'"{OTHER.key}"')])
    assert decisions == ["stop", "continue"]


def test_what_was_measured_is_stored_before_it_is_said_and_failures_are_left_to_the_guard(
    tmp_path: Path,
) -> None:
    def fail(report: Any) -> None:
        raise ValueError("no")

    for status in ("ok", "diverged", "stopped", "unstable"):
        serve(lambda report, status=status: ok(status=status), before=[], spool=tmp_path)
        assert [each.status for each in Spool(directory=tmp_path).read_all()] == [status]
    Spool(directory=tmp_path).remove(JOB.key)
    serve(fail, before=[], spool=tmp_path)
    assert Spool(directory=tmp_path).read_all() == []


class OutOfMemoryError(RuntimeError):
    """As `torch.OutOfMemoryError` is called."""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("bad"), "error", "ValueError: bad"),
        (ValueError(), "error", "ValueError"),
        (SystemExit(3), "error", "the job called sys.exit(3)"),
        (KeyboardInterrupt(), "error", "KeyboardInterrupt"),
        (MemoryError(), "oom", "ran out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom", "ran out of memory: [Errno 12]"),
        (OSError(errno.ENOSPC, "No space left"), "error", "OSError: [Errno 28] No space left"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "oom",
            "ran out of memory: Def",
        ),
        (OutOfMemoryError("CUDA out of memory."), "oom", "ran out of memory: CUDA out"),
        (ValueError("out of memory is a nice title"), "error", "ValueError: out of"),
        (Diverged("metric 'accuracy' is nan"), "diverged", "metric 'accuracy' is nan"),
        (Diverged(), "diverged", "the training diverged"),
    ],
)
def test_an_exception_is_a_status_and_a_sentence(error: BaseException, status: str, reason: str) -> None:
    def action(report: Any) -> None:
        raise error

    outcome = Outcome.model_validate_json(serve(action, before=[])[-1].body)
    assert outcome.status == status
    assert (outcome.reason or "").startswith(reason)
    assert type(error).__name__ in outcome.details["traceback"]


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (None, TypeError, "returned a NoneType; return an Outcome"),
        (ok(key=OTHER.key), ValueError, "outcome of another job"),
        (ok(details={"network": object()}), ValueError, "Unable to serialize"),
    ],
)
def test_what_is_not_this_jobs_outcome_is_refused(
    returned: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        checked_outcome(returned, JOB, 1.0)
    said = serve(lambda report: returned, before=[])
    assert Outcome.model_validate_json(said[-1].body).status == "error"


def test_a_duration_that_was_measured_is_kept() -> None:
    assert checked_outcome(ok(seconds=2.0), JOB, 5.0).seconds == 2.0
    assert checked_outcome(ok(), JOB, 5.0).seconds == 5.0


def test_reasons_are_one_short_printable_line() -> None:
    assert sentence("one\ntwo\t\x1b[31mthree  ") == "one two [31mthree"
    assert len(sentence("x" * 10_000)) == 300
    assert "\n" not in (failure_of(JOB, ValueError("a\nb"), 0.0).reason or "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("not enough memory: you tried to allocate", True),
        ("Segmentation fault", False),
    ],
)
def test_last_words_tell_of_memory(text: str, expected: bool) -> None:
    assert is_out_of_memory(text) is expected


def test_the_memory_limit_holds_while_it_lasts_and_is_lifted_after() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), limited_memory(WorkerSettings(memory_limit_bytes=2**26)):
        bytearray(2**28)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    with limited_memory(WorkerSettings(memory_limit_bytes=2**30)):
        assert len(bytearray(2**28)) == 2**28
    with limited_memory(WorkerSettings()):
        assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_job_that_breaks_its_output_still_has_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def action(report: Any) -> Outcome:
        monkeypatch.setattr(sys, "stdout", None)
        return ok()

    said = serve(action, before=[])
    monkeypatch.undo()
    assert Outcome.model_validate_json(said[-1].body).status == "ok"
