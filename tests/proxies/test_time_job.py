"""One timing job: its lock, its baseline, and an outcome whatever happens."""

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from fake_device import FakeBackend

from proxies.baselines import BaselineStore, conditions_of
from proxies.detection import Device, Machine
from proxies.device_lock import DeviceBusyError, exclusive, shared
from proxies.hardware import ResolvedHardware, hardware_fingerprint, resolve_hardware, timing_settings
from proxies.records import METRIC_NAMES, TimeJob
from proxies.reference_network import REFERENCE
from proxies.time_job import time_candidate
from proxies.timing import is_out_of_memory
from proxies.training_step import TrainingStep
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

TINY = Architecture(
    stem=Stem(width=8),
    stages=(
        Stage(stride=2, depth=1, width=8, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=1, width=16, block=MBConv(expand=2)),
    ),
    head=Head(width=32),
)
REFERENCE_PARAMETERS = cost(REFERENCE, 32, 10).params
SMALL = {"resolution": 32, "batch_size": 4, "num_classes": 10, "budget_seconds": 8.0, "tolerance": 0.5}


@pytest.fixture
def hardware() -> ResolvedHardware:
    cpu = Device(kind="cpu", index=0, name="Some CPU")
    machine = Machine(accelerators=(), cpu=cpu, torch_version="2.13.0")
    return resolve_hardware("cpu", find=lambda: machine)


def job(hardware: ResolvedHardware, arch: Architecture = TINY, **overrides: object) -> TimeJob:
    settings = timing_settings(hardware.profile, arch, **{**SMALL, **overrides})
    return TimeJob(
        digest=arch.digest,
        architecture=arch.to_document(),
        hardware_fingerprint=hardware_fingerprint(hardware, threads=settings.threads),
        settings=settings,
    )


@contextmanager
def unlocked(device: str):
    yield


def test_a_candidate_is_really_timed_on_this_cpu(hardware):
    threads = torch.get_num_threads()
    outcome = time_candidate(job(hardware), hardware, lock=unlocked)
    assert outcome.status in {"ok", "unstable"}, outcome.reason
    metrics = outcome.metrics
    assert 0 < metrics["step_ms_low"] <= metrics["step_ms"] <= metrics["step_ms_high"]
    assert 0 < metrics["step_ratio"] < 1  # TINY is smaller than the reference
    assert metrics["images_per_second"] == pytest.approx(4e3 / metrics["step_ms"])
    details = outcome.details
    assert details["hardware"]["profile"] == "cpu"
    assert details["hardware"]["device"] == "Some CPU"
    assert details["settings"]["resolution"] == 32
    attempt = details["method"]["attempts"][-1]
    assert attempt["conditions"]["cpu_share"] > 0
    assert outcome.model_validate_json(outcome.model_dump_json()) == outcome
    assert torch.get_num_threads() == threads


def test_timing_leaves_the_random_state_of_torch_alone(hardware):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    time_candidate(job(hardware), hardware, backend=FakeBackend(), lock=unlocked)
    assert torch.equal(torch.rand(1), expected)


def test_the_same_device_gives_the_same_outcome(hardware):
    """On a device without noise an outcome is a function of the job."""
    one, two = (
        time_candidate(job(hardware), hardware, backend=FakeBackend(), lock=unlocked) for _ in range(2)
    )
    assert one == two
    assert one.details["software"] == {"clock": "fake", "prepared": True}  # as it was while measuring
    assert one.metrics == {
        "step_ms": 10.0,
        "step_ms_low": 10.0,
        "step_ms_high": 10.0,
        "step_ratio": 1.0,
        "images_per_second": 400.0,
        "peak_memory_bytes": 123.0,
    }


def test_the_device_is_locked_while_it_is_measured_and_not_before(hardware):
    seen = []
    backend = FakeBackend()
    backend.fail = lambda step: seen.append("step") if seen[-1:] != ["step"] else None

    @contextmanager
    def lock(device: str):
        seen.append(f"lock {device}")
        yield
        seen.append("unlock")

    time_candidate(job(hardware), hardware, backend=backend, lock=lock)
    assert seen == ["lock cpu", "step", "unlock"]


def test_the_lock_is_the_devices_own_by_default(hardware, tmp_path, monkeypatch):
    monkeypatch.setattr("proxies.device_lock.lock_folder", lambda: tmp_path / "locks")
    time_candidate(job(hardware), hardware, backend=FakeBackend())
    assert (tmp_path / "locks/cpu.lock").exists()
    with exclusive("cpu", timeout_seconds=0):
        pass


def test_a_job_for_other_hardware_is_not_timed(hardware):
    other = job(hardware).model_copy(update={"hardware_fingerprint": "0" * 64})
    backend = FakeBackend()
    outcome = time_candidate(other, hardware, backend=backend, lock=unlocked)
    assert (outcome.status, outcome.metrics) == ("error", {})
    assert "for other hardware than Some CPU with torch 2.13.0" in (outcome.reason or "")
    assert backend.order == []


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [1, 3, 12])
def test_running_out_of_memory_is_a_status_whenever_it_happens(hardware, error, at):
    backend = FakeBackend()
    candidates = []

    def fail(step: object) -> None:
        reference = candidates[0] if candidates else step
        candidates.append(step) if not candidates or step is not reference else None
        if step is not reference and len(candidates) > at:
            raise error

    backend.fail = fail
    outcome = time_candidate(job(hardware), hardware, backend=backend, lock=unlocked)
    assert (outcome.status, outcome.metrics) == ("oom", {})
    what = (str(error).splitlines() or ["MemoryError"])[0]
    assert outcome.reason == f"out of memory at batch 4, 32 px: {what}"


def test_other_errors_are_not_taken_for_memory(hardware):
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))
    backend = FakeBackend()

    def fail(step: object) -> None:
        raise RuntimeError("shapes do not match")

    backend.fail = fail
    with pytest.raises(RuntimeError, match="shapes do not match"):
        time_candidate(job(hardware), hardware, backend=backend, lock=unlocked)


def test_a_step_too_slow_for_the_budget_is_a_timeout(hardware):
    outcome = time_candidate(job(hardware), hardware, backend=FakeBackend(real_step_ms=4000.0), lock=unlocked)
    assert outcome.status == "timeout"
    assert "an interval does not fit into the budget" in (outcome.reason or "")


@pytest.mark.parametrize("work", ["training", "inference"])
def test_metrics_are_called_after_the_work_that_was_timed(hardware, work):
    outcome = time_candidate(job(hardware, work=work), hardware, backend=FakeBackend(), lock=unlocked)
    time, other = METRIC_NAMES[work]
    assert outcome.metrics[f"{time}_ms"] == 10.0
    assert outcome.metrics[f"{other}peak_memory_bytes"] == 123.0
    assert ("step_ms" in outcome.metrics) == (work == "training")
    assert outcome.details["method"]["step"].startswith("forward, ")


# --- what befalls a device --------------------------------------------------------------------------------


def fit_up_to(batch_size):
    """What a device does whose memory holds the candidate, not the larger reference, up to this batch."""

    def fail(step: TrainingStep) -> None:
        if step._images_BCHW.shape[0] > batch_size and _parameters(step) < REFERENCE_PARAMETERS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return fail


def _parameters(step: TrainingStep) -> int:
    return sum(weight.numel() for group in step._optimizer.param_groups for weight in group["params"])


@pytest.mark.parametrize(("batch_size", "status"), [(4, "ok"), (5, "oom")])
def test_a_batch_that_does_not_fit_is_named(hardware, batch_size, status):
    backend = FakeBackend()
    backend.fail = fit_up_to(4)
    outcome = time_candidate(job(hardware, batch_size=batch_size), hardware, backend=backend, lock=unlocked)
    assert outcome.status == status
    assert (outcome.reason or "").startswith(f"out of memory at batch {batch_size}") == (status == "oom")


def test_a_throttled_device_gives_a_provisional_time_that_says_so(hardware):
    hot = [{"throttle_reasons": ("hardware thermal slowdown",), "temperature_c": 92}] * 6
    outcome = time_candidate(job(hardware), hardware, backend=FakeBackend(states=hot), lock=unlocked)
    assert outcome.status == "unstable"
    assert "the device was slowed down (hardware thermal slowdown)" in outcome.reason
    assert outcome.metrics["step_ms"] == 10.0
    attempt = outcome.details["method"]["attempts"][0]
    assert attempt["conditions"]["before"]["temperature_c"] == 92


def test_a_device_that_cools_down_in_time_is_measured(hardware):
    """Disturbed in the first attempt alone: the second one is accepted, and both are on record."""
    states = [{"throttle_reasons": ("hardware thermal slowdown",)}] * 2
    outcome = time_candidate(job(hardware), hardware, backend=FakeBackend(states=states), lock=unlocked)
    assert outcome.status == "ok"
    assert [bool(each["reasons"]) for each in outcome.details["method"]["attempts"]] == [True, False]


def test_nothing_runs_on_a_device_that_another_holds(hardware, tmp_path):
    folder = tmp_path / "locks"
    backend = FakeBackend()
    holder = threading.Thread(
        target=_hold, args=(folder, held := threading.Event(), done := threading.Event())
    )
    holder.start()
    assert held.wait(30)

    def impatient(device):
        return exclusive(device, folder=folder, timeout_seconds=0)

    try:
        with pytest.raises(DeviceBusyError, match="another run is training or timing on it"):
            time_candidate(job(hardware), hardware, backend=backend, lock=impatient)
        assert backend.order == []
    finally:
        done.set()
        holder.join()
    assert time_candidate(job(hardware), hardware, backend=backend, lock=impatient).status == "ok"


def _hold(folder, held, done):
    with shared("cpu", folder=folder):
        held.set()
        done.wait(60)


# --- the baseline -----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(folder=tmp_path / "baselines")


def timed(hardware, store, reference_ms, *, tolerance=0.1, states=None, run_ms=None):
    """A timing on a device that takes `reference_ms` for every step at the moment."""
    what = job(hardware, tolerance=tolerance, budget_seconds=3.0).model_copy(update={"reference_ms": run_ms})
    backend = FakeBackend(real_step_ms=reference_ms, states=states)
    return time_candidate(what, hardware, backend=backend, lock=unlocked, baselines=store)


def test_the_first_timing_calibrates_and_later_ones_keep_its_scale(hardware, store):
    first = timed(hardware, store, 10.0)
    later = timed(hardware, store, 11.0)  # the whole device is slower today
    assert first.metrics == later.metrics
    assert [each.details["method"]["reference_ms_from"] for each in (first, later)] == ["the baseline"] * 2
    assert later.details["method"]["raw_step_ms"] == 11.0
    assert later.details["method"]["attempts"][-1]["reference_drift"] == pytest.approx(0.1)
    found = store.find(conditions_of(job(hardware).hardware_fingerprint, job(hardware).settings))
    assert [one.reference_ms for one in found.sightings] == [10.0, 11.0]


def test_without_a_baseline_step_times_wander_with_the_device(hardware):
    """The control of the test above."""
    assert timed(hardware, None, 10.0).metrics["step_ms"] == 10.0
    assert timed(hardware, None, 11.0).metrics["step_ms"] == 11.0


def test_a_reference_too_far_from_its_baseline_makes_the_timing_provisional(hardware, store):
    timed(hardware, store, 10.0)
    off = timed(hardware, store, 12.0)
    assert off.status == "unstable"
    assert "the reference took 12 ms, +20% from its 10 ms" in off.reason
    assert off.metrics["step_ms"] == 10.0  # its ratio, on the old scale


def test_a_device_that_stays_changed_gets_a_new_baseline(hardware, store):
    timed(hardware, store, 10.0)
    statuses = [timed(hardware, store, 12.0).status for _ in range(6)]
    assert statuses == ["unstable"] * 5 + ["ok"]
    assert timed(hardware, store, 12.0).metrics["step_ms"] == 12.0


def test_a_disturbed_measurement_is_no_evidence(hardware, store):
    busy = [{"foreign_processes": ("pid 42",)}] * 6
    provisional = timed(hardware, store, 10.0, states=busy)
    assert provisional.status == "unstable"
    assert provisional.details["method"]["reference_ms_from"] == "this measurement"
    assert not store.folder.exists()


def test_the_scale_of_the_run_comes_before_the_users(hardware, store):
    timed(hardware, store, 10.0)
    of_run = timed(hardware, store, 10.5, run_ms=10.4)
    assert of_run.metrics["step_ms"] == 10.4
    assert of_run.details["method"]["reference_ms"] == 10.4


def test_the_scale_is_not_part_of_the_key(hardware):
    plain = job(hardware)
    assert plain.model_copy(update={"reference_ms": 10.0}).key == plain.key


def test_a_cache_that_cannot_be_written_loses_no_measurement(hardware, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = timed(hardware, BaselineStore(folder=tmp_path / "file" / "baselines"), 10.0)
    assert (outcome.status, outcome.metrics["step_ms"]) == ("ok", 10.0)
    assert "the baseline could not be stored" in outcome.details["method"]["baseline_problem"]
