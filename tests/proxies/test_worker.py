"""What a worker does with one real candidate: checks, determinism, weights."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from proxies.hardware import ResolvedHardware, load_profile
from proxies.protocols import Diverged, Report
from proxies.records import Decision, Outcome, TimeJob, TimingSettings, TrainJob
from proxies.worker import (
    BadMetricsError,
    CandidateRunner,
    LearningCurve,
    WorkerSettings,
    finite_metrics,
    require_accuracy,
)

ARCHITECTURE = {
    "schema": "nas.architecture/1",
    "stem": {"width": 8},
    "stages": [{"depth": 1, "width": 8, "block": {"op": "fused_mbconv", "expand": 1}}],
    "head": {"width": 16},
}


def job(seed: int = 0) -> TrainJob:
    return TrainJob(digest="d", architecture=ARCHITECTURE, task_fingerprint="sums", seed=seed)


@dataclass
class Sums:
    """A task whose metrics are facts about the network it is given."""

    num_classes: int = 4
    threads: list[int] = field(default_factory=list)

    def fingerprint(self) -> str:
        return "sums"

    def train(
        self, network: nn.Module, report: Report, *, seed: int, device: torch.device
    ) -> Mapping[str, float]:
        self.threads.append(torch.get_num_threads())
        total = sum(float(p.detach().double().sum()) for p in network.parameters())
        for step in (1, 2, 3):
            if report(step, {"accuracy": step / 10}) == "stop":
                break
        return {"accuracy": step / 10, "sum": total, "seed": seed, "on_cpu": float(device.type == "cpu")}


class Listener:
    """A report that remembers, and says stop at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.heard: list[tuple[int, dict[str, float]]] = []
        self.stop_at = stop_at

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        self.heard.append((step, dict(metrics)))
        return "stop" if step == self.stop_at else "continue"


def run(task: Any = None, *, seed: int = 0, report: Listener | None = None, **fields: Any) -> Outcome:
    runner = CandidateRunner(task=task or Sums(), hardware=None, **fields)
    return runner.run(job(seed), report or Listener())


def test_the_network_depends_on_the_seed_alone() -> None:
    torch.manual_seed(123)
    first = run()
    torch.manual_seed(321)
    assert run() == first
    assert run(seed=1).metrics["sum"] != first.metrics["sum"]
    assert first.status == "ok"
    assert first.key == job().key
    assert first.metrics["on_cpu"] == 1.0
    assert first.details["torch"] == torch.__version__


def test_the_learning_curve_is_kept_and_told() -> None:
    listener = Listener()
    outcome = run(report=listener)
    assert listener.heard == [(1, {"accuracy": 0.1}), (2, {"accuracy": 0.2}), (3, {"accuracy": 0.3})]
    assert outcome.details["learning_curve"] == [[step, metrics] for step, metrics in listener.heard]
    json.dumps(outcome.details, allow_nan=False)


def test_a_stopped_training_says_so_and_keeps_what_it_has() -> None:
    outcome = run(report=Listener(stop_at=2))
    assert outcome.status == "stopped"
    assert outcome.metrics["accuracy"] == 0.2


def test_threads_are_set_whatever_was_before() -> None:
    before = torch.get_num_threads()
    task = Sums()
    try:
        torch.set_num_threads(2)
        run(task, threads=1)
    finally:
        torch.set_num_threads(before)
    assert task.threads == [1]


def test_weights_are_kept_when_asked(tmp_path: Path) -> None:
    assert "weights" not in run().details
    kept = run(keep_weights=tmp_path / "weights").details["weights"]
    tensors = load_file(tmp_path / "weights" / kept["file"])
    total = sum(
        float(t.double().sum()) for name, t in tensors.items() if "running" not in name and "num_" not in name
    )
    assert total == pytest.approx(run().metrics["sum"])
    assert kept["bytes"] == (tmp_path / "weights" / kept["file"]).stat().st_size
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [f"{job().key}.safetensors"]


def test_a_job_without_what_it_needs_is_refused() -> None:
    timing = TimeJob(
        digest="d",
        architecture=ARCHITECTURE,
        hardware_fingerprint="f",
        settings=TimingSettings(resolution=8, batch_size=1),
    )
    with pytest.raises(ValueError, match="no hardware to time on"):
        CandidateRunner(task=Sums(), hardware=None).run(timing, Listener())
    with pytest.raises(ValueError, match="no task to train on"):
        CandidateRunner(task=None, hardware=None).run(job(), Listener())


def test_a_timing_for_other_hardware_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also: the device's lock, which the worker holds already, is not asked for again."""
    from proxies import time_job
    from proxies.detection import Device

    monkeypatch.setattr(time_job, "exclusive", None)
    cpu = Device(kind="cpu", index=0, name="test")
    hardware = ResolvedHardware(profile=load_profile("cpu"), devices=(cpu,), torch_version=torch.__version__)
    wrong = TimeJob(
        digest="d",
        architecture=ARCHITECTURE,
        hardware_fingerprint="another",
        settings=TimingSettings(resolution=8, batch_size=1),
    )
    outcome = CandidateRunner(task=None, hardware=hardware).run(wrong, Listener())
    assert outcome.status == "error"
    assert outcome.metrics == {}


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (None, BadMetricsError, "metrics are a NoneType; return a mapping"),
        ([0.5], BadMetricsError, "metrics are a list"),
        ({1: 0.5}, BadMetricsError, "name is 1, a int; use a string"),
        ({"a": "0.5"}, BadMetricsError, "metric 'a' is a str; return a float"),
        ({"a": True}, BadMetricsError, "metric 'a' is a bool"),
        ({"a": None}, BadMetricsError, "metric 'a' is a NoneType"),
        ({"a": torch.tensor(0.5)}, BadMetricsError, "metric 'a' is a Tensor"),
        ({"a": float("nan")}, Diverged, "metric 'a' is nan"),
        ({"a": np.float32("inf")}, Diverged, "metric 'a' is inf"),
    ],
)
def test_what_is_not_metrics_is_refused(metrics: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        finite_metrics(metrics)
    if isinstance(metrics, dict):
        with pytest.raises(error, match=message):
            LearningCurve(Listener())(1, metrics)


def test_any_real_number_is_a_metric() -> None:
    metrics = finite_metrics({"a": 1, "b": 0.5, "c": np.float32(0.25), "d": np.int64(2)})
    assert metrics == {"a": 1.0, "b": 0.5, "c": 0.25, "d": 2.0}
    assert {type(value) for value in metrics.values()} == {float}


@pytest.mark.parametrize("accuracy", [-0.01, 1.01, 97.0])
def test_accuracy_is_a_fraction(accuracy: float) -> None:
    require_accuracy({"accuracy": 0.0})
    require_accuracy({"accuracy": 1.0})
    with pytest.raises(BadMetricsError, match="return a fraction, 0 to 1"):
        require_accuracy({"accuracy": accuracy})


@pytest.mark.parametrize("step", [-1, True, 1.0, "1"])
def test_steps_are_counted(step: Any) -> None:
    with pytest.raises(BadMetricsError, match="steps are integers"):
        LearningCurve(Listener())(step, {"accuracy": 0.5})


@pytest.mark.parametrize("field_name", ["threads", "timeout_seconds", "memory_limit_bytes", "max_jobs"])
def test_limits_are_positive(field_name: str) -> None:
    fields: dict[str, Any] = {field_name: 0}
    with pytest.raises(ValueError, match=f"{field_name} is 0; use a positive number, or None"):
        WorkerSettings(**fields)


def test_settings_travel_between_processes() -> None:
    settings = WorkerSettings(task=Sums(), timeout_seconds=1.5, spool=Path("spool"))
    assert pickle.loads(pickle.dumps(settings)) == settings
