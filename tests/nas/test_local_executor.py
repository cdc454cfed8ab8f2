"""Worker processes: replacement, devices, locks, limits on whole trees, and what they leave alone."""

import multiprocessing
import os
import re
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from nas.executors.local import LocalExecutor
from nas.executors.protocol import ExecutorError
from proxies.detection import Device
from proxies.device_lock import exclusive, lock_folder
from proxies.hardware import Defaults, HardwareProfile, Match, MemoryRange, ResolvedHardware
from proxies.records import Outcome, Partial, TimeJob, TimingSettings, TrainJob
from proxies.worker import WorkerSettings

PATIENCE_SECONDS = 60.0
_leaked: list[bytearray] = []


def _allocate(num_bytes: int, seconds: float) -> None:
    held = bytearray(num_bytes)
    time.sleep(seconds)
    del held


@dataclass(frozen=True)
class Runner:
    """Does what the digest says; every outcome tells the process, its device and its temporary folder.

    In `beside`, trainings leave a file while they run; the others count them.
    """

    beside: Path | None = None

    def run(self, job: TimeJob | TrainJob, report: Any) -> Outcome:
        if job.digest == "fail":
            raise ValueError
        if job.digest == "leak":
            _leaked.append(bytearray(64 * 2**20))
        if job.digest == "litter":
            Path(tempfile.mkstemp()[1]).write_text("litter")
        if job.digest == "print":
            print("NOISE")
        if job.digest == "delegate":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
        if job.digest == "wide":
            children = [multiprocessing.Process(target=_allocate, args=(100 * 2**20, 30.0)) for _ in range(4)]
            for child in children:
                child.start()
            for child in children:
                child.join()
        if job.digest == "scatter":
            for _ in range(8):
                multiprocessing.Process(target=time.sleep, args=(30.0,)).start()
        if job.digest == "hog":
            _allocate(400 * 2**20, 30.0)
        if job.digest == "flood":
            for step in range(20_000):
                report(step, {"accuracy": 0.5})
        if job.digest == "wait":
            self._wait(report)
        details = {
            "beside": 0 if self.beside is None else len(list(self.beside.iterdir())),
            "pid": os.getpid(),
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "folder": tempfile.gettempdir(),
        }
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", details=details)

    def _wait(self, report: Any) -> None:
        if self.beside is not None:
            (self.beside / str(os.getpid())).touch()
        while report(1, {"pid": float(os.getpid())}) == "continue":
            time.sleep(0.02)
        if self.beside is not None:
            (self.beside / str(os.getpid())).unlink()


def train(digest: str = "ok", seed: int = 0) -> TrainJob:
    return TrainJob(digest=digest, architecture={}, task_fingerprint="t", seed=seed)


def time_job() -> TimeJob:
    settings = TimingSettings(resolution=8, batch_size=1)
    return TimeJob(digest="ok", architecture={}, hardware_fingerprint="h", settings=settings)


def hardware(*devices: Device) -> ResolvedHardware:
    kind = devices[0].kind
    match = None if kind == "cpu" else Match(name="test", memory_gib=MemoryRange(low=0.0, high=1.0))
    profile = HardwareProfile(name="test", kind=kind, match=match, defaults=Defaults(batch_size=1))
    return ResolvedHardware(profile=profile, devices=devices, torch_version=None)


def settings(**fields: Any) -> WorkerSettings:
    return WorkerSettings(**{"runner": Runner(), "preload": (), **fields})


@pytest.fixture
def private_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Device locks that no other test run shares."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lock_folder()


def outcome_of(executor: LocalExecutor, job: TrainJob | TimeJob) -> Outcome:
    executor.submit(job)
    return next_outcome(executor)


def next_outcome(executor: LocalExecutor) -> Outcome:
    (outcome,) = next_outcomes(executor, 1)
    return outcome


def next_outcomes(executor: LocalExecutor, count: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while len(outcomes) < count:
        events = executor.wait(PATIENCE_SECONDS)
        assert events, "nothing happened"
        outcomes += [event for event in events if isinstance(event, Outcome)]
    return outcomes


def next_report(executor: LocalExecutor) -> Partial:
    events = executor.wait(PATIENCE_SECONDS)
    assert isinstance(events[0], Partial)
    return events[0]


def test_a_worker_serves_many_jobs_and_is_then_replaced() -> None:
    with LocalExecutor(settings(max_jobs=3)) as executor:
        pids = [outcome_of(executor, train(seed=seed)).details["pid"] for seed in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_worker_is_replaced_after_a_failure() -> None:
    with LocalExecutor(settings()) as executor:
        before = outcome_of(executor, train()).details["pid"]
        assert outcome_of(executor, train(seed=1)).details["pid"] == before
        assert outcome_of(executor, train("fail")).status == "error"
        assert outcome_of(executor, train(seed=2)).details["pid"] != before


def test_a_worker_that_grows_is_replaced() -> None:
    with LocalExecutor(settings(max_growth_bytes=100 * 2**20)) as executor:
        pids = [outcome_of(executor, train("leak", seed)).details["pid"] for seed in range(5)]
    assert len(set(pids)) == 2


def test_an_idle_worker_that_dies_is_replaced() -> None:
    with LocalExecutor(settings()) as executor:
        worker = psutil.Process(outcome_of(executor, train()).details["pid"])
        worker.kill()
        worker.wait(10)
        assert outcome_of(executor, train(seed=1)).status == "ok"


def test_each_worker_sees_its_own_device_alone(private_locks: Path) -> None:
    devices = [Device(kind="cuda", index=index, name="test", uuid=f"GPU-{index}") for index in range(2)]
    with LocalExecutor(settings(hardware=hardware(*devices)), workers=2) as executor:
        for seed in range(2):
            executor.submit(train("wait", seed))
            next_report(executor)
        for seed in range(2):
            executor.stop(train("wait", seed).key)
        seen = {outcome.details["visible"] for outcome in next_outcomes(executor, 2)}
    assert seen == {"GPU-0", "GPU-1"}


def test_timing_has_its_device_alone_and_training_shares_it(private_locks: Path, tmp_path: Path) -> None:
    cpu, beside = Device(kind="cpu", index=0, name="test"), tmp_path / "beside"
    beside.mkdir()
    with LocalExecutor(settings(hardware=hardware(cpu), runner=Runner(beside)), workers=3) as executor:
        for seed in range(2):
            executor.submit(train("wait", seed))
            next_report(executor)
        assert len(list(beside.iterdir())) == 2
        executor.submit(time_job())
        for seed in range(2):
            executor.stop(train("wait", seed).key)
        outcomes = {outcome.kind: outcome for outcome in next_outcomes(executor, 3)}
    assert outcomes["time"].details["beside"] == 0


def test_the_deadline_counts_from_when_the_device_is_free(private_locks: Path) -> None:
    cpu = Device(kind="cpu", index=0, name="test")
    with LocalExecutor(settings(hardware=hardware(cpu), timeout_seconds=0.5)) as executor:
        with exclusive(cpu.lock_name, folder=private_locks):
            executor.submit(train())
            assert executor.wait(1.0) == []
        assert next_outcome(executor).status == "ok"
        waiting = outcome_of(executor, train("hog"))
    assert (waiting.status, waiting.reason) == ("timeout", "passed its deadline of 0.5 s")


def test_a_job_may_have_processes_of_its_own() -> None:
    with LocalExecutor(settings()) as executor:
        assert outcome_of(executor, train("delegate")).status == "ok"


def test_a_job_that_leaves_too_many_processes_has_failed_whatever_it_says() -> None:
    with LocalExecutor(settings(max_processes=7)) as executor:
        outcome = outcome_of(executor, train("scatter"))
    assert (outcome.status, outcome.reason) == ("error", "started 8 processes, more than 7")


def test_a_job_that_leaves_some_processes_costs_the_worker_alone() -> None:
    with LocalExecutor(settings(max_processes=8)) as executor:
        left = outcome_of(executor, train("scatter"))
        after = outcome_of(executor, train())
    assert (left.status, after.status) == ("ok", "ok")
    assert left.details["pid"] != after.details["pid"]


def test_memory_is_limited_for_a_job_with_all_its_processes() -> None:
    with LocalExecutor(settings(memory_limit_bytes=200 * 2**20)) as executor:
        outcome = outcome_of(executor, train("wide"))
    assert outcome.status == "oom", outcome
    assert re.match(r"held more than \d+ bytes", outcome.reason or "")


def test_resident_memory_is_watched_where_drivers_map_terabytes(private_locks: Path) -> None:
    gpu = Device(kind="cuda", index=0, name="test", uuid="GPU-0")
    with LocalExecutor(settings(hardware=hardware(gpu), memory_limit_bytes=200 * 2**20)) as executor:
        outcome = outcome_of(executor, train("hog"))
    assert outcome.status == "oom", outcome


def test_reports_pile_up_without_harm_while_nobody_listens() -> None:
    with LocalExecutor(settings()) as executor:
        executor.submit(train("flood"))
        executor.submit(train(seed=1))
        events: list[Any] = []
        while sum(isinstance(event, Outcome) for event in events) < 2:
            events += executor.wait(PATIENCE_SECONDS)
    steps = [event.step for event in events if isinstance(event, Partial)]
    assert steps == list(range(20_000))


def test_temporary_files_go_with_the_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with LocalExecutor(settings()) as executor:
        folder = Path(outcome_of(executor, train("litter")).details["folder"])
        assert folder.is_relative_to(tmp_path)
        assert len(list(folder.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_a_job_prints_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with LocalExecutor(settings()) as executor:
        outcome_of(executor, train("print"))
        outcome_of(executor, train("fail"))
    assert capfd.readouterr() == ("", "")


def test_no_process_listens_on_a_socket() -> None:
    with LocalExecutor(settings(), workers=2) as executor:
        outcome_of(executor, train())
        below = psutil.Process().children(recursive=True)
        assert len(below) >= 4
        for process in below:
            for kind in ("inet", "unix"):
                assert [c for c in process.net_connections(kind) if c.status == psutil.CONN_LISTEN] == []


def test_a_spool_that_cannot_be_written_breaks_the_executor_not_the_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with LocalExecutor(settings(spool=tmp_path / "file")) as executor:
        executor.submit(train())
        with pytest.raises(ExecutorError, match=r"could not be stored .*free space there, then resume"):
            next_outcome(executor)


def test_a_module_that_cannot_be_loaded_breaks_the_executor() -> None:
    with LocalExecutor(settings(preload=("no_such_module",))) as executor:
        executor.submit(train())
        with pytest.raises(ExecutorError, match="no_such_module cannot be loaded in the worker processes"):
            next_outcome(executor)


@dataclass(frozen=True)
class Killing:
    """A setting that a worker looks at when it starts: the first `times` workers are killed then."""

    notes: Path
    times: int

    def __bool__(self) -> bool:
        if len(list(self.notes.iterdir())) < self.times:
            (self.notes / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return False


def test_workers_that_are_killed_while_they_start_cost_nothing(tmp_path: Path) -> None:
    with LocalExecutor(settings(allow_plugins=Killing(tmp_path, 3))) as executor:
        assert outcome_of(executor, train()).status == "ok"
    assert len(list(tmp_path.iterdir())) >= 3


def test_where_every_worker_is_killed_while_it_starts_it_is_said(tmp_path: Path) -> None:
    with LocalExecutor(settings(allow_plugins=Killing(tmp_path, 1000))) as executor:
        executor.submit(train())
        with pytest.raises(ExecutorError, match="was ended by signal SIGKILL before it had a job"):
            next_outcome(executor)


def test_settings_that_cannot_travel_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local:
        def run(self, job: Any, report: Any) -> Any:
            raise NotImplementedError

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(
        ExecutorError, match=r"cannot be sent to worker processes.*define the task at the top level"
    ):
        LocalExecutor(settings(runner=Local()))
    assert list(tmp_path.iterdir()) == []


def test_fewer_than_one_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="workers is 0; at least one is needed"):
        LocalExecutor(settings(), workers=0)


@dataclass(frozen=True)
class Reporting:
    """Reports twenty times unless it is told to stop."""

    def run(self, job: TimeJob | TrainJob, report: Any) -> Outcome:
        made = 0
        while made < 20:
            made += 1
            if report(made, {"accuracy": 0.5}) == "stop":
                break
        status = "ok" if made == 20 else "stopped"
        return Outcome.model_validate(
            {
                "key": job.key,
                "kind": "train",
                "digest": job.digest,
                "status": status,
                "details": {"made": made},
            }
        )


def test_a_training_waits_for_word_after_each_report() -> None:
    """What is stopped at its third report makes no fourth; without the wait it would make all twenty."""
    job = TrainJob(digest="d", architecture={}, task_fingerprint="t", seed=0)
    made = []
    for verdict_seconds in (PATIENCE_SECONDS, 0.0):
        settings = WorkerSettings(runner=Reporting(), preload=(), verdict_seconds=verdict_seconds)
        with LocalExecutor(settings) as executor:
            executor.submit(job)
            outcome = None
            while outcome is None:
                for event in executor.wait(PATIENCE_SECONDS):
                    if isinstance(event, Outcome):
                        outcome = event
                    elif event.step < 3:
                        executor.go_on(job.key)
                    elif event.step == 3:
                        assert verdict_seconds == 0.0 or executor.wait(0.1) == []
                        executor.stop(job.key)
            made.append(outcome.details["made"])
    assert made[0] == 3
    assert made[1] == 20


def test_without_word_a_training_goes_on_when_its_time_is_up() -> None:
    job = TrainJob(digest="d", architecture={}, task_fingerprint="t", seed=0)
    settings = WorkerSettings(runner=Reporting(), preload=(), verdict_seconds=0.01)
    with LocalExecutor(settings) as executor:
        executor.submit(job)
        events = []
        while not any(isinstance(event, Outcome) for event in events):
            events += executor.wait(PATIENCE_SECONDS)
    assert events[-1].status == "ok"
    assert len(events) == 21
