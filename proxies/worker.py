"""What a worker is told once, and how it runs one job. Loads torch only when a job runs."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from proxies.records import Decision, Outcome, TimeJob, TrainJob

if TYPE_CHECKING:  # these load torch, which the driver of a search never needs
    from proxies.detection import Device
    from proxies.hardware import ResolvedHardware
    from proxies.protocols import Report, Task

GIB = 1024**3
TORCH_DEVICES = {"cpu": "cpu", "cuda": "cuda:0", "rocm": "cuda:0", "tpu": "tpu"}


class JobRunner(Protocol):
    """Runs one job. A small picklable value; each worker process has its own copy."""

    def run(self, job: TimeJob | TrainJob, report: "Report") -> Outcome:
        """Do the work and say how it ended; `report` sends interim metrics and learns whether to stop.

        May raise anything, hang or end the process: what calls it makes an outcome of that too.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What the worker processes of an executor are told. Picklable.

    `timeout_seconds` counts from when a job starts working, its device lock held. `memory_limit_bytes` is
    what a job may add to an idle worker: address space on a CPU, resident memory where drivers map
    terabytes. None means no limit. `baselines` holds the reference's times; None means the user's cache.
    `preload` names modules that every worker has from its start. After each report a training waits up to
    `verdict_seconds` to hear whether it goes on.
    `runner` takes the place of the real work in tests and benchmarks.
    """

    task: "Task | None" = None
    hardware: "ResolvedHardware | None" = None
    threads: int = 1
    allow_plugins: bool = False
    timeout_seconds: float | None = None
    verdict_seconds: float = 0.0
    memory_limit_bytes: int | None = None
    max_jobs: int = 50
    max_growth_bytes: int = GIB
    max_processes: int = 32
    spool: Path | None = None
    keep_weights: Path | None = None
    baselines: Path | None = None
    preload: tuple[str, ...] = ("torch", "search_spaces.network", "proxies.training")
    runner: JobRunner | None = None

    def __post_init__(self) -> None:
        limits = {
            "threads": self.threads,
            "timeout_seconds": self.timeout_seconds,
            "memory_limit_bytes": self.memory_limit_bytes,
            "max_jobs": self.max_jobs,
            "max_processes": self.max_processes,
        }
        for name, value in limits.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; use a positive number, or None for no limit")

    @property
    def is_on_cpu(self) -> bool:
        """Whether jobs run on the CPU."""
        return self.hardware is None or self.hardware.profile.kind == "cpu"

    def on_device(self, device: "Device") -> Self:
        """The same settings with `device` as the only one."""
        if self.hardware is None:
            return self
        return replace(self, hardware=replace(self.hardware, devices=(device,)))

    def job_runner(self) -> JobRunner:
        """What runs the jobs."""
        if self.runner is not None:
            return self.runner
        return CandidateRunner(
            task=self.task,
            hardware=self.hardware,
            threads=self.threads,
            keep_weights=self.keep_weights,
            baselines=self.baselines,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRunner:
    """Times or trains one candidate on the first device of `hardware`, for real."""

    task: "Task | None"
    hardware: "ResolvedHardware | None"
    threads: int = 1
    keep_weights: Path | None = None
    baselines: Path | None = None

    def run(self, job: TimeJob | TrainJob, report: "Report") -> Outcome:
        """Time or train; see `proxies.time_job.time_candidate` and `Task.train`.

        Raises:
            ValueError: the job needs a device or a task that this worker was not given.
            BadMetricsError: the task returned something that is not metrics.
            Diverged: a metric is not finite.
        """
        if isinstance(job, TimeJob):
            return self._time(job)
        return self._train(job, report)

    def _time(self, job: TimeJob) -> Outcome:
        import torch

        from proxies.baselines import BaselineStore
        from proxies.time_job import time_candidate

        if self.hardware is None:
            raise ValueError("this worker has no hardware to time on; give WorkerSettings a hardware")
        torch.set_num_threads(job.settings.threads)
        store = BaselineStore(folder=self.baselines) if self.baselines else BaselineStore.of_user()
        return time_candidate(job, self.hardware, lock=_held_already, baselines=store)

    def _train(self, job: TrainJob, report: "Report") -> Outcome:
        import torch

        from proxies.protocols import ReducingTask
        from proxies.training import seeded_build
        from search_spaces.document import architecture_from_document

        if self.task is None:
            raise ValueError("this worker has no task to train on; give WorkerSettings a task")
        torch.set_num_threads(self.threads)
        kind = "cpu" if self.hardware is None else self.hardware.device.kind
        arch = architecture_from_document(job.architecture)
        if isinstance(self.task, ReducingTask):
            arch = self.task.reduce(arch)
        network = seeded_build(arch, self.task.num_classes, seed=job.seed)
        curve = LearningCurve(report)
        returned = self.task.train(network, curve, seed=job.seed, device=torch.device(TORCH_DEVICES[kind]))
        metrics = finite_metrics(returned)
        require_accuracy(metrics)
        details: dict[str, Any] = {
            "device": None if self.hardware is None else self.hardware.describe(),
            "torch": torch.__version__,
            "threads": self.threads,
            "learning_curve": curve.points,
        }
        if self.keep_weights is not None:
            from proxies.weights import save_weights

            details["weights"] = save_weights(
                network.state_dict(),
                self.keep_weights / f"{job.key}.safetensors",
                arch=arch,
                num_classes=self.task.num_classes,
                more={"candidate": job.digest, "seed": job.seed, "metrics": metrics},
            )
        return Outcome(
            key=job.key,
            kind="train",
            digest=job.digest,
            status="stopped" if curve.was_stopped else "ok",
            reason="told to stop early" if curve.was_stopped else None,
            metrics=metrics,
            details=details,
        )


def _held_already(device: str) -> AbstractContextManager[None]:
    """In place of the device's lock, which the worker holds."""
    return nullcontext()


class BadMetricsError(ValueError):
    """What a task reported or returned is not metrics: names with finite numbers, accuracy among them."""


class LearningCurve:
    """A `Report` that checks what it passes on, and remembers it."""

    def __init__(self, report: "Report") -> None:
        self._report = report
        self.points: list[list[Any]] = []
        """[step, metrics] of each report."""
        self.was_stopped = False

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """Pass on one report; see `Report`."""
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise BadMetricsError(f"a report at step {step!r}; steps are integers from 1")
        finite = finite_metrics(metrics)
        self.points.append([step, finite])
        decision = self._report(step, finite)
        self.was_stopped = self.was_stopped or decision == "stop"
        return decision


def finite_metrics(metrics: object) -> dict[str, float]:
    """`metrics` as plain floats.

    Raises:
        BadMetricsError: it is not a mapping of names to numbers.
        Diverged: a number is not finite.
    """
    from proxies.protocols import Diverged

    if not isinstance(metrics, Mapping):
        raise BadMetricsError(f"metrics are a {type(metrics).__name__}; return a mapping of names to numbers")
    finite = {}
    for name, value in metrics.items():
        if not isinstance(name, str):
            raise BadMetricsError(f"a metric's name is {name!r}, a {type(name).__name__}; use a string")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise BadMetricsError(f"metric {name!r} is a {type(value).__name__}; return a float")
        number = float(value)
        if not math.isfinite(number):
            raise Diverged(f"metric {name!r} is {number}")
        finite[name] = number
    return finite


def require_accuracy(metrics: Mapping[str, float]) -> None:
    """Refuse metrics of a finished training without an accuracy, as a fraction.

    Raises:
        BadMetricsError: it is missing or outside 0 to 1.
    """
    if "accuracy" not in metrics:
        names = ", ".join(sorted(metrics)) or "nothing"
        raise BadMetricsError(f"the task returned no 'accuracy' (it returned {names})")
    if not 0.0 <= metrics["accuracy"] <= 1.0:
        raise BadMetricsError(f"accuracy is {metrics['accuracy']:g}; return a fraction, 0 to 1")
