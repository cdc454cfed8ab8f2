import gc

import numpy as np
import pytest
import torch
from fake_device import FakeBackend
from torch import nn

from proxies.cpu_backend import CpuBackend
from proxies.protocols import Diverged
from proxies.records import TimingSettings
from proxies.reference_network import REFERENCE
from proxies.timing import measure_step
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


def test_the_record_keeps_the_blocks_that_the_result_is_the_median_of():
    method = measure(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))).method()
    ratios = np.array(method["blocks"]["candidate_ms"]) / np.array(method["blocks"]["reference_ms"])
    (attempt,) = method["attempts"]
    assert len(ratios) == attempt["pairs"]
    assert np.median(ratios) == pytest.approx(attempt["ratio"], rel=1e-4)
