import os

import numpy as np
import pytest
import torch
from fake_nvml import Card, FakeNvml

from proxies.cuda_backend import CudaBackend, family, foreign_processes, observe_nvidia, torch_ordinal
from proxies.detection import Device
from proxies.hardware import HardwareNotFoundError, resolve_hardware, timing_settings
from proxies.records import TimingSettings
from proxies.reference_network import REFERENCE
from proxies.time_job import backend_for
from proxies.timing import measure_step
from proxies.training_step import RUNS_BEFORE_CAPTURE, TrainingStep
from search_spaces.network import build


@pytest.mark.parametrize(
    ("pids", "foreign"),
    [
        ([], ()),
        ([10], ()),
        ([10, 42], ("pid 42",)),
        ([10, 11, 12], ()),  # our family idles while we have the lock
        ([11, 42], ()),  # our own number is of another namespace
        ([42, 43], ("pid 42", "pid 43")),
        ([43, 10, 42], ("pid 42", "pid 43")),
    ],
)
def test_other_processes_on_the_card_are_foreign(pids, foreign):
    assert foreign_processes(pids, own=10, family=frozenset({9, 11, 12})) == foreign


def test_the_family_are_the_children_of_our_parent():
    assert {os.getppid(), os.getpid()} <= family(os.getpid())
    assert family(1) == frozenset()


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0x0, ()),
        (0x1, ()),  # idle
        (0x4, ()),  # at its power limit, as in training
        (0x8, ("hardware slowdown",)),
        (0x60, ("software thermal slowdown", "hardware thermal slowdown")),
        (0x84, ("hardware power brake",)),
    ],
)
def test_throttling_is_read_from_nvml(bits, reasons):
    card = Card("NVIDIA L4", 23, "GPU-1", throttle_bits=bits, pids=[os.getpid(), 2**30])
    seen = observe_nvidia(FakeNvml(card), card, wall_seconds=5.0)
    assert seen.throttle_reasons == reasons
    assert seen.foreign_processes == (f"pid {2**30}",)
    assert (seen.clock_mhz, seen.temperature_c, seen.wall_seconds) == (1410, 41, 5.0)
    assert seen.power_w is None  # this card does not tell


def test_a_card_that_torch_does_not_see_is_never_replaced_by_another():
    device = Device(kind="cuda", index=0, name="NVIDIA L4", memory_bytes=23 * 1024**3, uuid="GPU-not-here")
    with pytest.raises(
        HardwareNotFoundError, match=r"does not see NVIDIA L4 \(23 GiB\).*CUDA_VISIBLE_DEVICES"
    ):
        torch_ordinal(device)


def test_tpus_have_no_backend_yet():
    with pytest.raises(HardwareNotFoundError, match="this version does not time TPUs"):
        backend_for(Device(kind="tpu", index=0, name="Google TPU v4"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_captured_step_trains_as_an_eager_one_does():
    """Law: after the same number of steps the weights are those of eager steps, up to rounding."""
    weights = []
    for mode in ("none", "cuda-graph"):
        torch.manual_seed(0)
        network = build(REFERENCE, 10)
        settings = TimingSettings(resolution=32, batch_size=8, num_classes=10, compile=mode, autotune=False)
        step = TrainingStep(network, settings, device=torch.device("cuda:0"))
        for _ in range(6 if mode == "cuda-graph" else 6 + RUNS_BEFORE_CAPTURE):
            step()
        step.check_finite()
        weights.append(torch.cat([p.detach().flatten().cpu() for p in network.parameters()]))
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in build(REFERENCE, 10).parameters()])
    moved, apart = (weights[0] - start).norm(), (weights[0] - weights[1]).norm()
    assert moved > 0
    assert apart < 0.05 * moved


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("precision", "mode"), [("fp32", "none"), ("bf16", "none"), ("fp16", "none"), ("bf16", "cuda-graph")]
)
def test_a_step_is_measured_on_a_gpu(precision, mode):
    hardware = resolve_hardware("auto")
    backend = backend_for(hardware.device)
    assert isinstance(backend, CudaBackend)
    settings = timing_settings(
        hardware.profile,
        REFERENCE,
        resolution=96,
        batch_size=32,
        precision=precision,
        compile=mode,
        autotune=False,
        budget_seconds=10.0,
    )
    timing = measure_step(lambda: build(REFERENCE), settings, backend=backend, rng=np.random.default_rng(0))
    assert timing.best.verdict.ratio == pytest.approx(1.0, rel=0.1)
    assert timing.peak_memory.peak_bytes is not None
    assert timing.peak_memory.peak_bytes > 1e6
