"""Measuring architectures without a search, each in a guarded process on this machine."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from nas.errors import ConfigError
from nas.largest_batch import LargestBatch, Probe
from nas.largest_batch import largest_batch as find_largest_batch
from nas.runtime_tuning import tune
from proxies.baselines import BaselineStore, conditions_of
from proxies.hardware import AUTO, ResolvedHardware, hardware_fingerprint, resolve_hardware, timing_settings
from proxies.probes import MemoryProbe, SoundnessProbe
from proxies.records import (
    CompileMode,
    MemoryFormat,
    Outcome,
    Precision,
    TimedWork,
    TimeJob,
    TimingSettings,
)
from proxies.worker import JobRunner, WorkerSettings
from search_spaces.architecture import Architecture
from search_spaces.document import load_architecture

FREE_SHARE = 0.8
"""Of a host's free memory, what the search for the largest batch on its CPU may use."""


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
    tune_runtime: bool = False,
    largest_batch: bool = False,
    memory_limit_bytes: int | None = None,
    timeout_seconds: float = 600.0,
) -> list[Outcome]:
    """Measure the step time of architectures on this machine, each in a guarded process.

    `work` says what a step is: training, or inference in torch or ONNX Runtime (on the CPU, one thread).
    With `recalibrate`, the stored time of the reference network is forgotten first, and the first of these
    measurements sets a new one. With `tune_runtime`, each is timed in the sensible layouts, precisions,
    compilations and optimizers that are not given here, and the fastest is kept whose gradients are those of
    eager fp32. With `largest_batch`, each is timed at the largest batch that fits (on a CPU into most of
    the free memory), or that needs no more than `memory_limit_bytes`.

    Raises:
        HardwareNotFoundError, DocumentError: what was named is not here.
        ConfigError: a step of the search for the largest batch failed otherwise than by its memory.
        ValueError: settings that this hardware is not timed in, or what is not tuned.
        OnnxMissingError: ONNX Runtime is not installed.
    """
    if tune_runtime and work != "training":
        raise ValueError("tune_runtime is for training steps; leave it out for inference")
    if work == "onnx-inference":
        from proxies.onnx_packages import require_onnx

        require_onnx()
        hardware = "cpu" if hardware == AUTO else hardware
    resolved = resolve_hardware(hardware)
    archs = [arch if isinstance(arch, Architecture) else load_architecture(arch) for arch in architectures]
    bench = Workbench(hardware=resolved, timeout_seconds=timeout_seconds)
    settings = [
        timing_settings(
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
        )
        for arch in archs
    ]
    found: list[LargestBatch | None] = [None] * len(archs)
    if largest_batch:
        found = [bench.largest_batch(*each, memory_limit_bytes) for each in zip(archs, settings, strict=True)]
        settings = [
            each
            if of is None or of.batch_size is None
            else each.model_copy(update={"batch_size": of.batch_size})
            for each, of in zip(settings, found, strict=True)
        ]
    if recalibrate:
        bench.forget_baselines(settings)
    if tune_runtime:
        asked = {"precision": precision, "memory_format": memory_format, "compile": compile}
        fixed = {name for name, value in asked.items() if value is not None}
        fixed |= {"fused_optimizer"} if fused_optimizer else set()
        outcomes = [
            bench.tuned(arch, each, frozenset(fixed), recalibrate=recalibrate)
            for arch, each in zip(archs, settings, strict=True)
        ]
    else:
        outcomes = bench.time([bench.job(arch, each) for arch, each in zip(archs, settings, strict=True)])
    return [
        each if of is None else _with(each, "largest_batch", asdict(of))
        for each, of in zip(outcomes, found, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Where architectures are measured one at a time: hardware of this machine, in guarded processes."""

    hardware: ResolvedHardware
    timeout_seconds: float

    def job(self, arch: Architecture, settings: TimingSettings) -> TimeJob:
        """The timing of one architecture."""
        threads = self.hardware.profile.defaults.threads
        return TimeJob(
            digest=arch.digest,
            architecture=arch.to_document(),
            hardware_fingerprint=hardware_fingerprint(self.hardware, threads=threads),
            settings=settings,
        )

    def time(self, jobs: Sequence[TimeJob], runner: JobRunner | None = None) -> list[Outcome]:
        """The outcomes of jobs, in their order."""
        settings = WorkerSettings(
            hardware=self.hardware,
            threads=self.hardware.profile.defaults.threads,
            timeout_seconds=self.timeout_seconds,
            runner=runner,
        )
        return run_jobs(jobs, settings)

    def forget_baselines(self, settings: Iterable[TimingSettings]) -> None:
        """Let the reference's times under these settings be measured anew."""
        store = BaselineStore.of_user()
        fingerprint = hardware_fingerprint(self.hardware, threads=self.hardware.profile.defaults.threads)
        for each in settings:
            store.forget(conditions_of(fingerprint, each))

    def tuned(
        self,
        arch: Architecture,
        settings: TimingSettings,
        fixed: frozenset[str],
        *,
        recalibrate: bool = False,
    ) -> Outcome:
        """The timing of the fastest sound way of running; `details["runtime"]` has all that were tried.

        With `recalibrate`, the reference is measured anew in each way that is tried.
        """

        def time(ways: Sequence[TimingSettings]) -> list[Outcome]:
            if recalibrate:
                self.forget_baselines(ways)
            return self.time([self.job(arch, way) for way in ways])

        def check(way: TimingSettings) -> str | None:
            probe = SoundnessProbe(hardware=self.hardware)
            (outcome,) = self.time([self.job(arch, way)], probe)
            return None if outcome.status == "ok" else outcome.reason or outcome.status

        outcome, tried = tune(
            settings,
            profile=self.hardware.profile,
            fixed=fixed,
            time=time,
            check=check,
        )
        return _with(outcome, "runtime", [each.document() for each in tried])

    def largest_batch(
        self, arch: Architecture, settings: TimingSettings, limit_bytes: int | None
    ) -> LargestBatch:
        """The largest batch whose step fits into the limit; by default into what the device has free."""
        if limit_bytes is None and self.hardware.profile.kind == "cpu":
            limit_bytes = int(FREE_SHARE * psutil.virtual_memory().available)

        def probe(batch_size: int) -> Probe:
            job = self.job(arch, settings.model_copy(update={"batch_size": batch_size}))
            (outcome,) = self.time([job], MemoryProbe(hardware=self.hardware))
            if outcome.status not in {"ok", "oom"}:
                raise ConfigError(
                    f"batch {batch_size} could not be tried: {outcome.status}: {outcome.reason}"
                )
            peak = outcome.metrics.get("peak_memory_bytes")
            return Probe(
                batch_size=batch_size,
                fits=outcome.status == "ok",
                peak_bytes=None if peak is None else int(peak),
            )

        return find_largest_batch(probe, start=settings.batch_size, limit_bytes=limit_bytes)


def _with(outcome: Outcome, name: str, document: object) -> Outcome:
    """The outcome with one more detail of how it came about."""
    return outcome.model_copy(update={"details": {**outcome.details, name: document}})


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
