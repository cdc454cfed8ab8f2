"""One timing job from start to end: its device, its lock, its baseline, and an outcome whatever happens."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from proxies.backend import Backend
from proxies.baselines import BaselineStore, conditions_of
from proxies.cpu_backend import CpuBackend
from proxies.detection import Device
from proxies.device_lock import exclusive
from proxies.hardware import HardwareNotFoundError, ResolvedHardware, hardware_fingerprint
from proxies.interleaving import StepTooSlowError
from proxies.protocols import Diverged
from proxies.records import METRIC_NAMES, Outcome, Status, TimeJob, failure
from proxies.timing import StepTiming, is_out_of_memory, measure_step
from search_spaces.network import build


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
    baselines: BaselineStore | None = None,
) -> Outcome:
    """Time the job's architecture on `device` (default: the hardware's first), alone on it.

    Status ok, unstable (interval kept, `reason` says why), oom, diverged, timeout (a step is too slow for the
    budget) or error (the job is for other hardware). Everything else is raised. `lock` takes the device's
    lock name; waiting for it is not in `Outcome.seconds`. The scale of the milliseconds is the job's own
    reference time, else the one in `baselines`, where the first trusted measurement puts it.

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

    conditions = conditions_of(job.hardware_fingerprint, job.settings)
    with lock(device.lock_name):
        start = backend.now()
        stored = baselines.find(conditions) if baselines is not None else None
        known_ms = job.reference_ms or (stored.reference_ms if stored is not None else None)
        try:
            timing = measure_step(
                network,
                job.settings,
                backend=backend,
                rng=np.random.default_rng(int(job.key[:16], 16)),
                channels=arch.input.channels,
                reference_baseline_ms=known_ms,
            )
        except (MemoryError, RuntimeError, Diverged, StepTooSlowError) as error:
            status = _status(error)
            what = (str(error).splitlines() or [type(error).__name__])[0][:300]
            if status == "oom":
                what = (
                    f"out of memory at batch {job.settings.batch_size}, {job.settings.resolution} px: {what}"
                )
            return failure(job, status, what, backend.now() - start)
    if baselines is not None:
        timing = _on_baseline(timing, job, baselines)
    return _outcome(job, hardware, timing, backend.now() - start)


def _on_baseline(timing: StepTiming, job: TimeJob, baselines: BaselineStore) -> StepTiming:
    """The timing on the scale of the baseline that it was the first to see, if it was; sightings are kept."""
    if not timing.best.is_evidence:
        return timing
    seen_ms = timing.best.verdict.reference_ms
    conditions = conditions_of(job.hardware_fingerprint, job.settings)
    try:
        baseline = baselines.see(conditions, seen_ms, tolerance=job.settings.tolerance)
    except OSError as error:  # a cache that cannot be written is no reason to lose a measurement
        return replace(timing, baseline_problem=f"the baseline could not be stored ({error})")
    return timing if timing.baseline_ms is not None else replace(timing, baseline_ms=baseline.reference_ms)


def _status(error: Exception) -> Status:
    """The status an exception of a measurement stands for; re-raised when it stands for none."""
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, StepTooSlowError):
        return "timeout"
    if is_out_of_memory(error):
        return "oom"
    raise error


def _outcome(job: TimeJob, hardware: ResolvedHardware, timing: StepTiming, seconds: float) -> Outcome:
    time, other = METRIC_NAMES[job.settings.work]
    metrics = {
        f"{time}_ms": timing.step_ms,
        f"{time}_ms_low": timing.step_ms_low,
        f"{time}_ms_high": timing.step_ms_high,
        f"{time}_ratio": timing.best.verdict.ratio,
        f"{other}images_per_second": job.settings.batch_size / timing.step_ms * 1e3,
    }
    if timing.peak_memory.peak_bytes is not None:
        metrics[f"{other}peak_memory_bytes"] = float(timing.peak_memory.peak_bytes)
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
