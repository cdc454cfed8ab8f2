"""What is timed beside a training step: forward passes, in torch and in ONNX Runtime."""

import pytest
import torch
from torch import nn

from proxies.cpu_backend import CpuBackend
from proxies.inference_step import InferenceStep
from proxies.onnx_packages import OnnxMissingError, require_onnx
from proxies.protocols import Diverged
from proxies.records import TimingSettings
from proxies.timed_step import described, make_step
from proxies.training_step import TrainingStep

CPU = torch.device("cpu")
SMALL = {"resolution": 8, "batch_size": 3, "num_classes": 4}


class Watched(nn.Module):
    """A convolution that remembers how it was run."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.seen: list[tuple[object, ...]] = []

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW = self.conv(x_BCHW)
        is_last = x_BCHW.is_contiguous(memory_format=torch.channels_last)
        self.seen.append((self.training, torch.is_inference_mode_enabled(), y_BCHW.dtype, is_last))
        return y_BCHW.mean((2, 3))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_inference_is_a_forward_pass_alone(precision, dtype, memory_format):
    network = Watched()
    before = network.conv.weight.detach().clone()
    settings = TimingSettings(work="inference", precision=precision, memory_format=memory_format, **SMALL)
    step = make_step(network, settings, device=CPU)
    step()
    step.check_finite()
    assert isinstance(step, InferenceStep)
    assert network.seen == [(False, True, dtype, memory_format == "channels_last")]
    assert torch.equal(network.conv.weight, before)
    assert network.conv.weight.grad is None


def test_inference_that_is_not_finite_is_divergence():
    network = Watched()
    nn.init.constant_(network.conv.bias, float("inf"))
    step = make_step(network, TimingSettings(work="inference", **SMALL), device=CPU)
    step.check_finite()  # nothing was run yet
    step()
    with pytest.raises(Diverged, match="an output of a timed forward pass is not finite"):
        step.check_finite()


def test_a_fused_optimizer_makes_the_same_step():
    """Another kernel, the same arithmetic."""
    weights = []
    for fused in (False, True):
        torch.manual_seed(0)
        network = Watched()
        step = make_step(network, TimingSettings(fused_optimizer=fused, **SMALL), device=CPU)
        assert isinstance(step, TrainingStep)
        step()
        step()
        weights.append(network.conv.weight.detach())
        assert step._optimizer.defaults["fused"] is fused
    torch.testing.assert_close(*weights)


def test_the_record_says_what_a_step_does():
    works = ("training", "inference", "onnx-inference")
    texts = [described(TimingSettings(work=work, **SMALL)) for work in works]
    assert texts == [
        "forward, backward, SGD, momentum 0.9",
        "forward, torch, evaluation mode",
        "forward, ONNX Runtime, evaluation mode",
    ]
    assert described(TimingSettings(fused_optimizer=True, **SMALL)).endswith(", fused")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("proxies.onnx_packages.find_spec", lambda name: None if "script" in name else name)
    with pytest.raises(OnnxMissingError, match=r"onnxscript; pip install 'training-aware-nas\[export\]'"):
        require_onnx()


@pytest.mark.thorough
def test_onnx_runtime_computes_what_torch_does():
    from proxies.onnx_step import OnnxStep

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers)
    step = OnnxStep(network, TimingSettings(work="onnx-inference", **SMALL), device=CPU, seed=5)
    step()
    step.check_finite()
    images_BCHW = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = network.eval()(images_BCHW)
    torch.testing.assert_close(torch.from_numpy(step._logits_BK), expected)
    assert step._session.get_session_options().intra_op_num_threads == 1


@pytest.mark.thorough
def test_onnx_latency_is_measured_beside_the_reference():
    import numpy as np

    from proxies.reference_network import REFERENCE
    from proxies.timing import measure_step
    from search_spaces.network import build

    settings = TimingSettings(
        work="onnx-inference", resolution=32, batch_size=1, num_classes=10, tolerance=0.1, budget_seconds=4.0
    )
    timing = measure_step(
        lambda: build(REFERENCE, 10), settings, backend=CpuBackend(), rng=np.random.default_rng(0)
    )
    slack = 2 * timing.best.verdict.half_width + 0.05
    assert timing.best.verdict.ratio == pytest.approx(1.0, abs=slack)  # the reference against itself
    assert timing.peak_memory.peak_bytes is None


def test_onnx_runtime_is_the_cpus():
    from proxies.onnx_step import OnnxStep

    with pytest.raises(ValueError, match="ONNX Runtime is timed on the CPU, not on meta"):
        OnnxStep(Watched(), TimingSettings(work="onnx-inference", **SMALL), device=torch.device("meta"))
