"""What is found out about a network before it is timed: whether it runs soundly, and whether it fits.

Both stand in for timing in a worker process (`WorkerSettings.runner`), where a crash costs the probe alone.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from proxies.hardware import ResolvedHardware
from proxies.records import Outcome, TimeJob, TrainJob, failure

if TYPE_CHECKING:  # these load torch
    from torch import nn

    from proxies.backend import Backend
    from proxies.protocols import Report

PROBED_STEPS = 2
"""The first allocates the optimizer's state after its peak; the second has both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundnessProbe:
    """Compares a timing job's step with the eager one in fp32; the details say how they differ."""

    hardware: ResolvedHardware

    def run(self, job: TimeJob | TrainJob, report: "Report") -> Outcome:
        """Status ok where the step is sound; error, with the reason, where it is not."""
        from proxies.time_job import backend_for

        assert isinstance(job, TimeJob)
        return probe_soundness(job, backend_for(self.hardware.device))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProbe:
    """Runs a timing job's step twice and says how much memory it took at most."""

    hardware: ResolvedHardware

    def run(self, job: TimeJob | TrainJob, report: "Report") -> Outcome:
        """Status ok with `peak_memory_bytes`, where it is known; oom where the step does not fit."""
        from proxies.time_job import backend_for

        assert isinstance(job, TimeJob)
        return probe_memory(job, backend_for(self.hardware.device))


def probe_soundness(job: TimeJob, backend: "Backend") -> Outcome:
    """See `SoundnessProbe`."""
    from proxies.soundness import soundness
    from proxies.timing import is_out_of_memory

    network, channels = _network_of(job)
    try:
        found = soundness(network, job.settings, backend=backend, channels=channels)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return failure(job, "oom", "out of memory beside the eager step in fp32")
        return failure(job, "error", f"it does not run: {(str(error).splitlines() or ['?'])[0][:200]}")
    return Outcome(
        key=job.key,
        kind="time",
        digest=job.digest,
        status="error" if found.problem else "ok",
        reason=found.problem,
        details={"soundness": asdict(found)},
    )


def probe_memory(job: TimeJob, backend: "Backend") -> Outcome:
    """See `MemoryProbe`."""
    from proxies.timed_step import make_step
    from proxies.timing import is_out_of_memory

    network, channels = _network_of(job)
    try:
        with backend.prepared(job.settings):
            _load_libraries(job, backend)
            backend.reset_peak_memory()
            step = make_step(network(), job.settings, device=backend.device, channels=channels)
            backend.time_steps(step, PROBED_STEPS)
            peak = backend.peak_memory()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return failure(job, "oom", f"out of memory at batch {job.settings.batch_size}")
    return Outcome(
        key=job.key,
        kind="time",
        digest=job.digest,
        status="ok",
        metrics={} if peak.peak_bytes is None else {"peak_memory_bytes": float(peak.peak_bytes)},
        details={"peak_memory_method": peak.method},
    )


def _load_libraries(job: TimeJob, backend: "Backend") -> None:
    """A step of the reference network on two images: what libraries keep for good is not the network's."""
    from proxies.reference_network import REFERENCE
    from proxies.timed_step import make_step
    from search_spaces.network import build

    one = job.settings.model_copy(update={"batch_size": 2})
    backend.time_steps(make_step(build(REFERENCE, one.num_classes), one, device=backend.device), 1)


def _network_of(job: TimeJob) -> tuple[Callable[[], "nn.Module"], int]:
    """What builds the job's network, each time with the same weights, and its image channels."""
    import torch

    from search_spaces.document import architecture_from_document
    from search_spaces.network import build

    arch = architecture_from_document(job.architecture)

    def network() -> "nn.Module":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(arch, job.settings.num_classes, resolution=job.settings.resolution)

    return network, arch.input.channels
