"""Measuring architectures without a search, each in a guarded process on this machine."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from nas.errors import ConfigError
from proxies.baselines import BaselineStore, conditions_of
from proxies.hardware import AUTO, hardware_fingerprint, resolve_hardware, timing_settings
from proxies.records import CompileMode, MemoryFormat, Outcome, Precision, TimedWork, TimeJob
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
    fused_optimizer: bool = False,
    work: TimedWork = "training",
    recalibrate: bool = False,
    timeout_seconds: float = 600.0,
) -> list[Outcome]:
    """Measure the step time of architectures on this machine, each in a guarded process.

    `work` says what a step is: training, or inference in torch or ONNX Runtime (on the CPU, one thread).
    With `recalibrate`, the stored time of the reference network is forgotten first, and the first of these
    measurements sets a new one.

    Raises:
        HardwareNotFoundError, DocumentError: what was named is not here.
        ValueError: settings that this hardware is not timed in.
        OnnxMissingError: ONNX Runtime is not installed.
    """
    if work == "onnx-inference":
        from proxies.onnx_packages import require_onnx

        require_onnx()
        hardware = "cpu" if hardware == AUTO else hardware
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
                fused_optimizer=fused_optimizer,
                work=work,
            ),
        )
        for arch in archs
    ]
    if recalibrate:
        store = BaselineStore.of_user()
        for job in jobs:
            store.forget(conditions_of(job.hardware_fingerprint, job.settings))
    settings = WorkerSettings(hardware=resolved, threads=threads, timeout_seconds=timeout_seconds)
    return run_jobs(jobs, settings)


def run_jobs(jobs: Sequence[TimeJob], settings: WorkerSettings) -> list[Outcome]:
    """The outcomes of jobs, in their order; equal ones are run once."""
    from nas.executors.local import LocalExecutor

    executor = LocalExecutor(settings, workers=1)
    outcomes: dict[str, Outcome] = {}
    with contextlib.closing(executor):
        for job in {job.key: job for job in jobs}.values():
            executor.submit(job)
        while len(outcomes) < len({job.key for job in jobs}):
            outcomes.update({e.key: e for e in executor.wait() if isinstance(e, Outcome)})
    return [outcomes[job.key] for job in jobs]


def architecture_names(names: Iterable[str]) -> list[str]:
    """The names with every directory replaced by the YAML files in it, in alphabetical order.

    Raises:
        ConfigError: a directory has none.
    """
    found: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        files = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})
        if not files:
            raise ConfigError(f"{name}: no .yaml file in this directory; name architectures or their files")
        found += map(str, files)
    return found
