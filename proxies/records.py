"""Jobs and outcomes: the plain data that travels between the session, the executors and the workers.

A job says what to find out about one architecture; an outcome says what was found, or why nothing was.
Both are values without torch, and both are JSON, so they cross processes, machines and restarts.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, PositiveFloat

from search_spaces.spec import Spec

RECORD_SCHEMA = 2
"""Part of every key. Raised when a change of code changes what a training or a timing means."""
TIMING_SCHEMA = 1
"""Part of every timing's key. Raised when only timings change their meaning, so that trainings stay."""

Status = Literal["ok", "infeasible", "oom", "timeout", "diverged", "stopped", "unstable", "error"]
"""How a job ended.

    ok          measured; the metrics are complete
    infeasible  refused by a limit before any work
    oom         ran out of memory
    timeout     passed its deadline
    diverged    the loss or a metric stopped being finite
    stopped     told to stop early; the metrics are partial
    unstable    timed, but not within the tolerance; the interval is kept, the value is provisional
    error       anything else: an exception, a signal, an exit
"""

Decision = Literal["continue", "stop"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
MemoryFormat = Literal["channels_last", "contiguous"]
CompileMode = Literal["none", "default", "max-autotune", "cuda-graph"]
"""How a step is run: eagerly; compiled by `torch.compile` in one of its modes; or captured once as a CUDA
graph and replayed, which leaves out the time that Python needs to launch a step's kernels."""
TimedWork = Literal["training", "inference", "onnx-inference"]
"""What one step does: forward, backward and optimizer; or the forward pass alone, in torch or, exported, in
ONNX Runtime on the CPU."""
METRIC_NAMES: dict[TimedWork, tuple[str, str]] = {
    "training": ("step", ""),
    "inference": ("inference", "inference_"),
    "onnx-inference": ("onnx", "onnx_"),
}
"""What the metrics of a timing are called: the prefix of times and ratio, and that of the other numbers."""


class TimingSettings(Spec):
    """What a step time is a step time *of*. Two timings compare only when these agree.

    In ONNX Runtime, precision is fp32 and what is torch's alone (layout, compilation) does nothing.
    """

    resolution: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    num_classes: Annotated[int, Field(ge=1)] = 1000
    precision: Precision = "fp32"
    memory_format: MemoryFormat = "channels_last"
    compile: CompileMode = "none"
    autotune: bool = True
    """Whether cuDNN tries its algorithms for every convolution before the first step (`cudnn.benchmark`)."""
    work: TimedWork = "training"
    fused_optimizer: bool = False
    """Whether the optimizer updates all weights in one kernel (`fused=True` of torch's optimizers)."""
    threads: Annotated[int, Field(ge=1)] = 1
    tolerance: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.03
    budget_seconds: Annotated[float, Field(gt=0.0)] = 60.0


class TimeJob(Spec):
    """Measure the training step time of one architecture on one kind of device."""

    kind: Literal["time"] = "time"
    digest: str
    architecture: dict[str, Any]
    hardware_fingerprint: str
    settings: TimingSettings
    repeat: Annotated[int, Field(ge=0)] = 0
    """Counts further, independent timings of the same thing; 0 is the first."""
    reference_ms: PositiveFloat | None = None
    """The time of the reference that all timings of a run are scaled by; None: the worker's own baseline."""

    @property
    def key(self) -> str:
        """What a timing is filed under: architecture, device with its software, settings. Not the scale."""
        return _key(*_key_parts(self, self.digest))


class TrainJob(Spec):
    """Train one architecture on the proxy task once."""

    kind: Literal["train"] = "train"
    digest: str
    architecture: dict[str, Any]
    task_fingerprint: str
    seed: Annotated[int, Field(ge=0)]

    @property
    def key(self) -> str:
        """What a training is filed under: architecture, task, seed. Not the device."""
        return _key(*_key_parts(self, self.digest))


Job = Annotated[TimeJob | TrainJob, Field(discriminator="kind")]


class Partial(Spec):
    """An interim report of a running training."""

    key: str
    step: Annotated[int, Field(ge=0)]
    metrics: dict[str, FiniteFloat]


class Outcome(Spec):
    """How one job ended.

    `metrics` holds finite numbers only; what is missing is absent, and `reason` says why. Names carry
    their unit: a timing has step_ms, step_ms_low, step_ms_high (95 % interval), step_ratio (to the
    reference network) and peak_memory_bytes; a training has accuracy (fraction, 0 to 1), train_loss_sum
    and whatever else its task reports; an estimate has estimated_step_ms and never step_ms. `details` is
    provenance as plain JSON: device, versions, settings, learning curve.
    """

    key: str
    kind: Literal["time", "train", "estimate"]
    digest: str
    status: Status
    reason: str | None = None
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    seconds: Annotated[float, Field(ge=0.0)] = 0.0


def failure(job: TimeJob | TrainJob, status: Status, reason: str, seconds: float = 0.0) -> Outcome:
    """The outcome of a job that measured nothing."""
    return Outcome(
        key=job.key, kind=job.kind, digest=job.digest, status=status, reason=reason, seconds=seconds
    )


def keys_like(job: TimeJob | TrainJob) -> Callable[[str], str]:
    """The keys that jobs like this one have for other networks, by digest; far cheaper than making the jobs.

    Law: `keys_like(job)(digest)` is the key of `job` with that digest.
    """
    before, after = _canonical(*_key_parts(job, _PLACEHOLDER)).split(json.dumps(_PLACEHOLDER), 1)

    def key(digest: str) -> str:
        quoted = f'"{digest}"' if digest.isalnum() and digest.isascii() else json.dumps(digest)
        return hashlib.sha256(f"{before}{quoted}{after}".encode()).hexdigest()

    return key


_PLACEHOLDER = "a digest"


def _key_parts(job: TimeJob | TrainJob, digest: str) -> tuple[Any, ...]:
    if isinstance(job, TimeJob):
        settings = job.settings.model_dump()
        return "time", TIMING_SCHEMA, digest, job.hardware_fingerprint, settings, job.repeat
    return "train", digest, job.task_fingerprint, job.seed


def _canonical(*parts: Any) -> str:
    return json.dumps([RECORD_SCHEMA, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)


def _key(*parts: Any) -> str:
    return hashlib.sha256(_canonical(*parts).encode()).hexdigest()
