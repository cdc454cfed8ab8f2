"""The benchmark of parity: both sides are the same network, and equal in work."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from fake_device import FakeBackend

from proxies.records import TimingSettings
from search_spaces.architecture import cost
from search_spaces.document import load_architecture
from search_spaces.network import build

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "step_parity.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("step_parity", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["step_parity"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["step_parity"]


@pytest.mark.parametrize(
    "name", ["efficientnetv2-b0", pytest.param("efficientnetv2-s", marks=pytest.mark.thorough)]
)
def test_the_plain_network_computes_what_ours_does(script, name):
    """With our tensors in the order in which both make them."""
    rows, stem = script.PLAIN[name]
    ours = build(load_architecture(name), 10, dropout=0.0, drop_path=0.0).eval()
    plain = script.plain_network(rows, stem, 10).eval()
    mine, its = ours.state_dict(), plain.state_dict()
    assert [tensor.shape for tensor in mine.values()] == [tensor.shape for tensor in its.values()]
    plain.load_state_dict(dict(zip(its, mine.values(), strict=True)))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(plain(images), ours(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("resolution", [32, 64, 224])
def test_fused_and_depthwise_are_equal_in_work(script, resolution):
    fused, depthwise = (cost(arch, resolution).macs for arch in script.fused_and_depthwise(resolution))
    assert fused == pytest.approx(depthwise, rel=0.02)


def test_the_ratio_is_of_the_first_to_the_second(script):
    backend = FakeBackend(real_step_ms=10.0)
    settings = TimingSettings(resolution=16, batch_size=2, num_classes=10, budget_seconds=8.0)
    slow = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
    quick = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
    first = []

    def slower_first(step):
        first.append(step)
        backend._real_step_ms = 30.0 if step is first[0] else 10.0

    backend.fail = slower_first
    assert script.beside(slow, quick, settings, backend).verdict.ratio == pytest.approx(3.0)
