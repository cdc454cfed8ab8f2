"""Soundness and memory of a step, on the fake device and for real at tiny sizes."""

import pytest
import torch
from fake_device import FakeBackend
from torch import nn

from proxies.cpu_backend import CpuBackend
from proxies.probes import MemoryProbe, SoundnessProbe, probe_memory, probe_soundness
from proxies.records import TimeJob, TimingSettings
from proxies.soundness import compared, soundness
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
SETTINGS = TimingSettings(resolution=32, batch_size=4, num_classes=10)


def job(**settings):
    return TimeJob(
        digest=TINY.digest,
        architecture=TINY.to_document(),
        hardware_fingerprint="f",
        settings=SETTINGS.model_copy(update=settings),
    )


# --- soundness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "way",
    [
        {"memory_format": "contiguous"},
        {"memory_format": "channels_last"},
        {"precision": "bf16"},
        {"fused_optimizer": True},
    ],
)
def test_the_ways_of_this_cpu_are_sound(way):
    outcome = probe_soundness(job(**way), CpuBackend())
    assert outcome.status == "ok", outcome.reason
    found = outcome.details["soundness"]
    assert found["gradient_cosine"] > (0.9 if "precision" in way else 0.9999)


class WrongUnderAutocast(nn.Module):
    """Computes something else where mixed precision is on, as a broken kernel would."""

    def __init__(self, wrong) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 10)
        self.wrong = wrong

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BK = self.linear(x_BCHW.mean((2, 3)) * 100)
        return self.wrong(y_BK) if torch.is_autocast_enabled("cpu") else y_BK


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda y_BK: y_BK, None),
        (lambda y_BK: -y_BK, "its loss is|its gradient has cosine"),
        (lambda y_BK: y_BK * torch.nan, "its loss or gradient is not finite"),
        (lambda y_BK: y_BK.detach() - y_BK * 1e-9, "its gradient has cosine -"),
    ],
)
def test_a_way_that_computes_something_else_is_found_out(wrong, problem):
    settings = SETTINGS.model_copy(update={"precision": "bf16"})
    found = soundness(lambda: WrongUnderAutocast(wrong), settings, backend=CpuBackend())
    if problem is None:
        assert found.problem is None
    else:
        assert found.problem is not None
        assert any(part in found.problem for part in problem.split("|"))


def test_the_scale_of_a_gradient_does_not_matter_and_its_direction_does():
    one = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert compared(1.0, 7 * one, 1.0, one, precision="fp32").problem is None
    turned = one + 0.2 * torch.randn(100, generator=torch.Generator().manual_seed(1))
    assert compared(1.0, turned, 1.0, one, precision="bf16").problem is None
    assert "below 0.99" in compared(1.0, turned, 1.0, one, precision="fp32").problem
    assert compared(1.06, one, 1.0, one, precision="bf16").problem == "its loss is 6% from that of eager fp32"


def test_an_optimizer_that_never_stepped_is_not_sound():
    """As under a loss scaler that finds no scale."""
    one = torch.ones(3)
    assert (
        compared(1.0, torch.empty(0), 1.0, one, precision="fp16").problem
        == "its loss or gradient is not finite"
    )


def test_a_way_that_does_not_run_is_told_with_its_reason():
    backend = FakeBackend()

    def fail(step):
        raise RuntimeError("no kernel for this layout\nand a long trace")

    backend.fail = fail
    outcome = probe_soundness(job(), backend)
    assert (outcome.status, outcome.reason) == ("error", "it does not run: no kernel for this layout")


# --- memory -----------------------------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_is_oom_and_any_other_error_is_raised():
    backend = FakeBackend()

    def fail(step):
        if isinstance(step, TrainingStep) and len(step._labels_B) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")

    backend.fail = fail
    assert probe_memory(job(), backend).metrics == {"peak_memory_bytes": 123.0}
    outcome = probe_memory(job(batch_size=8), backend)
    assert (outcome.status, outcome.reason) == ("oom", "out of memory at batch 8")

    def break_down(step):
        raise RuntimeError("device-side assert")

    backend.fail = break_down
    with pytest.raises(RuntimeError, match="device-side assert"):
        probe_memory(job(), backend)


def test_probes_reach_a_worker(tmp_path):
    """They are pickled, and run with the hardware's own backend."""
    import pickle

    from proxies.detection import Device, Machine
    from proxies.hardware import resolve_hardware

    cpu = Device(kind="cpu", index=0, name="Some CPU")
    hardware = resolve_hardware("cpu", find=lambda: Machine(accelerators=(), cpu=cpu, torch_version="2.13.0"))
    for probe in (MemoryProbe(hardware=hardware), SoundnessProbe(hardware=hardware)):
        outcome = pickle.loads(pickle.dumps(probe)).run(job(), None)
        assert outcome.status == "ok"
