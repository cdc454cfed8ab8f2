"""The step time of one network: measured beside a fixed reference, judged, retried, or called unstable.

The result is the median of paired ratios with its 95 % interval; in milliseconds it is that ratio times the
reference's own time. How the pairs are taken is in `interleaving`, how they are judged in `step_statistics`,
what a device must offer in `backend`.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from proxies.backend import Backend, PeakMemory
from proxies.cpu_backend import CpuBackend
from proxies.detection import Device
from proxies.device_lock import exclusive
from proxies.hardware import HardwareNotFoundError, ResolvedHardware, hardware_fingerprint
from proxies.interleaving import (
    Attempt,
    BlockPlan,
    StepTooSlowError,
    WarmUp,
    interleave,
    plan_blocks,
    warm_up,
)
from proxies.protocols import Diverged
from proxies.records import Outcome, Status, TimeJob, TimingSettings, failure
from proxies.reference_network import REFERENCE
from proxies.training_step import OPTIMIZER, TrainingStep
from search_spaces.network import build


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """A measured step time: every attempt, and the best of them as the result."""

    attempts: tuple[Attempt, ...]
    plan: BlockPlan
    candidate_warm_up: WarmUp
    reference_warm_up: WarmUp
    peak_memory: PeakMemory
    baseline_ms: float | None
    software: dict[str, Any]
    """Versions and switches in force while measuring."""

    @property
    def best(self) -> Attempt:
        """The accepted attempt, else the one with the narrowest interval."""
        return min(self.attempts, key=lambda attempt: (len(attempt.reasons) > 0, attempt.verdict.half_width))

    @property
    def reason(self) -> str | None:
        """Why the result is provisional; None: it is accepted."""
        if not self.best.reasons:
            return None
        why = self.best.conditions.explanation()
        tried = f"not accepted in {len(self.attempts)} attempt{'s' if len(self.attempts) > 1 else ''}"
        return f"{tried}: {'; '.join([*self.best.reasons, *([why] if why else [])])}"

    @property
    def reference_ms(self) -> float:
        """The reference's calibrated time where a baseline was given, else its median in this measurement."""
        return self.best.verdict.reference_ms if self.baseline_ms is None else self.baseline_ms

    @property
    def step_ms(self) -> float:
        """Milliseconds of one training step: the ratio times `reference_ms`."""
        return self.best.verdict.ratio * self.reference_ms

    @property
    def step_ms_low(self) -> float:
        """Lower end of the 95 % interval; the scale `reference_ms` is taken as exact."""
        return self.best.verdict.ratio_low * self.reference_ms

    @property
    def step_ms_high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.best.verdict.ratio_high * self.reference_ms

    def method(self) -> dict[str, Any]:
        """How the number came about, as plain JSON."""
        return {
            "reference": {"name": REFERENCE.name, "digest": REFERENCE.digest},
            "reference_ms": self.reference_ms,
            "reference_ms_from": "this measurement" if self.baseline_ms is None else "the baseline",
            "raw_step_ms": self.best.verdict.candidate_ms,
            "optimizer": OPTIMIZER,
            "block_steps": {"candidate": self.plan.candidate, "reference": self.plan.reference},
            "warm_up": {
                "candidate": asdict(self.candidate_warm_up),
                "reference": asdict(self.reference_warm_up),
            },
            "attempts": [
                {
                    **asdict(attempt.verdict),
                    "reasons": list(attempt.reasons),
                    "conditions": attempt.conditions.document(),
                }
                for attempt in self.attempts
            ],
            "peak_memory_method": self.peak_memory.method,
        }


def measure_step(
    network: Callable[[], nn.Module],
    settings: TimingSettings,
    *,
    backend: Backend,
    rng: np.random.Generator,
    channels: int = 3,
    reference_baseline_ms: float | None = None,
) -> StepTiming:
    """Measure the training step time of the network that `network()` builds, in this process, now.

    The budget counts from the second step on: initialisation and compilation are reported apart. The caller
    holds the device's lock.

    Raises:
        StepTooSlowError: fewer than three pairs fit into the budget.
        Diverged: the loss of a step is not finite.
        MemoryError, torch.OutOfMemoryError, RuntimeError: the network does not fit (`is_out_of_memory`).
    """
    with backend.prepared(settings), _garbage_collection_off():
        reference = _reference_step(settings, backend)
        backend.reset_peak_memory()
        candidate = TrainingStep(network(), settings, device=backend.device, channels=channels)
        first_ms = backend.time_steps(candidate, 1)[0]
        candidate.check_finite()
        deadline = backend.now() + settings.budget_seconds
        candidate_warm_up = warm_up(candidate, first_ms, settings.budget_seconds, backend)
        peak_memory = backend.peak_memory()
        reference_warm_up = warm_up(
            reference, backend.time_steps(reference, 1)[0], settings.budget_seconds, backend
        )
        plan = plan_blocks(candidate_warm_up.last_ms, reference_warm_up.last_ms, backend)
        attempts = interleave(
            candidate,
            reference,
            plan,
            backend=backend,
            rng=rng,
            tolerance=settings.tolerance,
            deadline=deadline,
            baseline_ms=reference_baseline_ms,
        )
        candidate.check_finite()
        software = backend.describe()
    return StepTiming(
        attempts=attempts,
        plan=plan,
        candidate_warm_up=candidate_warm_up,
        reference_warm_up=reference_warm_up,
        peak_memory=peak_memory,
        baseline_ms=reference_baseline_ms,
        software=software,
    )


def _reference_step(settings: TimingSettings, backend: Backend) -> TrainingStep:
    """The reference network's step, run once."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            step = TrainingStep(build(REFERENCE, settings.num_classes), settings, device=backend.device)
        backend.time_steps(step, 1)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise MemoryError(
                "the reference network itself does not fit; lower --batch or --resolution"
            ) from error
        raise
    return step


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def backend_for(device: Device) -> Backend:
    """The backend that times on `device`.

    Raises:
        HardwareNotFoundError: torch does not see it, or this version cannot time on its kind.
    """
    if device.kind == "cpu":
        return CpuBackend()
    if device.kind == "tpu":
        raise HardwareNotFoundError(
            f"{device} is here, but this version does not time TPUs; use --hardware cpu"
        )
    from proxies.cuda_backend import CudaBackend

    if device.kind == "rocm":
        return CudaBackend(device)
    import pynvml

    pynvml.nvmlInit()
    return CudaBackend(device, nvml=pynvml)


def time_candidate(
    job: TimeJob,
    hardware: ResolvedHardware,
    *,
    device: Device | None = None,
    backend: Backend | None = None,
    lock: Callable[[str], AbstractContextManager[None]] = exclusive,
    reference_baseline_ms: float | None = None,
) -> Outcome:
    """Time the job's architecture on `device` (default: the hardware's first), alone on it.

    Status ok, unstable (interval kept, `reason` says why), oom, diverged, timeout (a step is too slow for the
    budget) or error (the job is for other hardware). Everything else is raised. `lock` takes the device's
    lock name; waiting for it is not in `Outcome.seconds`.

    Raises:
        HardwareNotFoundError: torch does not see the device.
        DocumentError: the architecture of the job cannot be read.
    """
    from search_spaces.document import architecture_from_document

    here = hardware_fingerprint(hardware, threads=job.settings.threads)
    if here != job.hardware_fingerprint:
        found = f"{hardware.device} with torch {hardware.torch_version}"
        return failure(job, "error", f"this job is for other hardware than {found}; it was not timed")
    device = device or hardware.device
    arch = architecture_from_document(job.architecture)
    backend = backend or backend_for(device)

    def network() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(arch, job.settings.num_classes, resolution=job.settings.resolution)

    with lock(device.lock_name):
        start = backend.now()
        try:
            timing = measure_step(
                network,
                job.settings,
                backend=backend,
                rng=np.random.default_rng(int(job.key[:16], 16)),
                channels=arch.input.channels,
                reference_baseline_ms=reference_baseline_ms,
            )
        except (MemoryError, RuntimeError, Diverged, StepTooSlowError) as error:
            status = _status(error)
            what = (str(error).splitlines() or [type(error).__name__])[0][:300]
            if status == "oom":
                what = (
                    f"out of memory at batch {job.settings.batch_size}, {job.settings.resolution} px: {what}"
                )
            return failure(job, status, what, backend.now() - start)
    return _outcome(job, hardware, timing, backend.now() - start)


def _status(error: Exception) -> Status:
    """The status an exception of a measurement stands for; re-raised when it stands for none."""
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, StepTooSlowError):
        return "timeout"
    if is_out_of_memory(error):
        return "oom"
    raise error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the host or on a device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _outcome(job: TimeJob, hardware: ResolvedHardware, timing: StepTiming, seconds: float) -> Outcome:
    metrics = {
        "step_ms": timing.step_ms,
        "step_ms_low": timing.step_ms_low,
        "step_ms_high": timing.step_ms_high,
        "step_ratio": timing.best.verdict.ratio,
        "images_per_second": job.settings.batch_size / timing.step_ms * 1e3,
    }
    if timing.peak_memory.peak_bytes is not None:
        metrics["peak_memory_bytes"] = float(timing.peak_memory.peak_bytes)
    return Outcome(
        key=job.key,
        kind="time",
        digest=job.digest,
        status="ok" if timing.reason is None else "unstable",
        reason=timing.reason,
        metrics=metrics,
        details={
            "hardware": hardware.describe(),
            "hardware_fingerprint": job.hardware_fingerprint,
            "software": timing.software,
            "settings": job.settings.model_dump(),
            "method": timing.method(),
        },
        seconds=seconds,
    )
