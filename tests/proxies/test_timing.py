import gc
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from fake_device import FakeBackend
from torch import nn

from proxies.cpu_backend import CpuBackend
from proxies.detection import Device, Machine
from proxies.device_lock import exclusive
from proxies.hardware import ResolvedHardware, hardware_fingerprint, resolve_hardware, timing_settings
from proxies.protocols import Diverged
from proxies.records import TimeJob, TimingSettings
from proxies.reference_network import REFERENCE
from proxies.timing import is_out_of_memory, measure_step, time_candidate
from proxies.training_step import TrainingStep
from search_spaces.architecture import Architecture, Head, Stage, Stem
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


def measure(network, backend=None, **overrides):
    settings = TimingSettings(**{**SMALL, **overrides})
    return measure_step(
        lambda: network, settings, backend=backend or FakeBackend(), rng=np.random.default_rng(0)
    )


class Fragile(nn.Module):
    """One linear layer that raises at the n-th forward pass."""

    def __init__(self, error: Exception | None = None, at: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 10)
        self._error, self._at, self.passes = error, at, 0

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        if self._error is not None and self.passes >= self._at:
            raise self._error
        return self.linear(x_BCHW.mean((2, 3)))


# --- the reference ----------------------------------------------------------------------------------------


def test_the_reference_never_changes():
    """Ratios of different days have it in common. A new reference is a new network with a new name."""
    assert REFERENCE.name == "timing-reference-1"
    assert REFERENCE.digest == "aafbba05f424c74cfdad764399bc1592855f549b60fe0fb44541e92f2f8a28ae"


# --- one step ---------------------------------------------------------------------------------------------


def test_a_step_is_a_whole_training_step():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    before = network[2].weight.detach().clone()
    step = TrainingStep(
        network, TimingSettings(resolution=8, batch_size=4, num_classes=10), device=torch.device("cpu")
    )
    step()
    step.check_finite()
    assert network[2].weight.grad is not None
    assert not torch.equal(network[2].weight, before)
    assert torch.allclose(network[2].weight, before, atol=1e-3)  # hardly moves


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_a_step_has_the_precision_and_layout_of_its_settings(precision, dtype, memory_format):
    seen = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(5, 4, 3)

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            y_BCHW = self.conv(x_BCHW)
            seen.append((y_BCHW.dtype, x_BCHW.shape, x_BCHW.is_contiguous(memory_format=torch.channels_last)))
            return y_BCHW.mean((2, 3))

    settings = TimingSettings(
        resolution=8, batch_size=3, num_classes=4, precision=precision, memory_format=memory_format
    )
    TrainingStep(Spy(), settings, device=torch.device("cpu"), channels=5)()
    assert seen == [(dtype, (3, 5, 8, 8), memory_format == "channels_last")]


# --- measuring --------------------------------------------------------------------------------------------


def test_a_measurement_on_the_fake_device_is_exact():
    timing = measure(Fragile())
    assert timing.reason is None
    assert timing.best.verdict.ratio == 1.0  # both take 10 ms there
    assert (timing.step_ms, timing.step_ms_low, timing.step_ms_high) == (10.0, 10.0, 10.0)
    method = timing.method()
    assert method["reference"] == {"name": REFERENCE.name, "digest": REFERENCE.digest}
    assert method["reference_ms_from"] == "this measurement"
    assert method["warm_up"]["candidate"]["steady"]
    assert method["peak_memory_method"] == "fake"


def test_a_baseline_sets_the_scale_and_keeps_the_ratio():
    timing = measure(Fragile(), FakeBackend(real_step_ms=10.0), tolerance=0.1)
    scaled = measure_step(
        Fragile,
        TimingSettings(**{**SMALL, "tolerance": 0.1}),
        backend=FakeBackend(real_step_ms=11.0),
        rng=np.random.default_rng(0),
        reference_baseline_ms=10.0,
    )
    assert scaled.reason is None
    assert scaled.step_ms == timing.step_ms == 10.0
    assert scaled.best.verdict.candidate_ms == 11.0
    assert scaled.method()["reference_ms_from"] == "the baseline"


def test_an_unstable_measurement_keeps_its_interval_and_says_why():
    foreign = {"foreign_processes": ("pid 42",)}
    timing = measure(Fragile(), FakeBackend(states=[foreign] * 6))
    assert timing.reason == ("not accepted in 3 attempts: another process computes on the device (pid 42)")
    assert timing.step_ms == 10.0
    assert len(timing.method()["attempts"]) == 3


def test_garbage_collection_is_off_while_measuring_and_on_afterwards():
    states = []
    backend = FakeBackend()
    backend.fail = lambda step: states.append(gc.isenabled())
    measure(Fragile(), backend)
    assert not any(states)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        measure(Fragile(ZeroDivisionError()))
    assert gc.isenabled()


def test_a_loss_that_is_not_finite_is_divergence():
    network = Fragile()
    nn.init.constant_(network.linear.bias, float("nan"))
    with pytest.raises(Diverged, match="the loss of a timed training step is nan"):
        measure(network)


def test_the_reference_that_does_not_fit_is_not_blamed_on_the_candidate():
    backend = FakeBackend()

    def fail(step: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    backend.fail = fail
    with pytest.raises(MemoryError, match="the reference network itself does not fit; lower --batch"):
        measure(Fragile(), backend)


# --- one job ----------------------------------------------------------------------------------------------


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


def test_a_real_measurement_on_the_cpu_agrees_with_itself():
    """The reference against itself: a ratio of 1 within its interval, whatever else this machine does."""
    from search_spaces.network import build

    timing = measure_step(
        lambda: build(REFERENCE, 10),
        TimingSettings(resolution=32, batch_size=4, num_classes=10, tolerance=0.10, budget_seconds=8.0),
        backend=CpuBackend(),
        rng=np.random.default_rng(0),
    )
    slack = 2 * timing.best.verdict.half_width + 0.05
    assert timing.best.verdict.ratio == pytest.approx(1.0, abs=slack)
