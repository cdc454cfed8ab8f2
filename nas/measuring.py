"""Measuring architectures without a search, each in a guarded process on this machine."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from proxies.baselines import BaselineStore, conditions_of
from proxies.hardware import hardware_fingerprint, resolve_hardware, timing_settings
from proxies.records import CompileMode, MemoryFormat, Outcome, Precision, TimeJob
from proxies.worker import WorkerSettings
from search_spaces.architecture import Architecture
from search_spaces.document import load_architecture


def measure(
    architectures: Sequence[Architecture | str | Path],
    *,
    hardware: str = "auto",
    resolution: int | None = None,
    batch: int | None = None,
    precision: Precision | None = None,
    memory_format: MemoryFormat | None = None,
    compile: CompileMode | None = None,  # noqa: A002 -- the setting's name
    autotune: bool | None = None,
    recalibrate: bool = False,
    timeout_seconds: float = 600.0,
) -> list[Outcome]:
    """Measure the training step time of architectures on this machine, each in a guarded process.

    With `recalibrate`, the stored time of the reference network is forgotten first, and the first of these
    measurements sets a new one.

    Raises:
        HardwareNotFoundError, DocumentError: what was named is not here.
    """
    from nas.executors.local import LocalExecutor

    resolved = resolve_hardware(hardware)
    archs = [arch if isinstance(arch, Architecture) else load_architecture(arch) for arch in architectures]
    threads = resolved.profile.defaults.threads
    jobs = [
        TimeJob(
            digest=arch.digest,
            architecture=arch.to_document(),
            hardware_fingerprint=hardware_fingerprint(resolved, threads=threads),
            settings=timing_settings(
                resolved.profile,
                arch,
                resolution=resolution,
                batch_size=batch,
                precision=precision,
                memory_format=memory_format,
                compile=compile,
                autotune=autotune,
            ),
        )
        for arch in archs
    ]
    if recalibrate:
        store = BaselineStore.of_user()
        for job in jobs:
            store.forget(conditions_of(job.hardware_fingerprint, job.settings))
    executor = LocalExecutor(
        WorkerSettings(hardware=resolved, threads=threads, timeout_seconds=timeout_seconds), workers=1
    )
    outcomes: dict[str, Outcome] = {}
    with contextlib.closing(executor):
        for job in {job.key: job for job in jobs}.values():
            executor.submit(job)
        while len(outcomes) < len({job.key for job in jobs}):
            outcomes.update({e.key: e for e in executor.wait() if isinstance(e, Outcome)})
    return [outcomes[job.key] for job in jobs]
