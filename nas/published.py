"""Measuring published networks just as the networks of a finished run were, beside its ledger."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.beside_run import open_or_create, run_here
from nas.config import make_config
from nas.confirming import searched_with
from nas.planning import make_plan
from nas.reuse import Reuse
from nas.run_scale import RunScale
from proxies.hardware import hardware_fingerprint, resolve_hardware
from proxies.records import Outcome, TimeJob, TrainJob
from proxies.worker import WorkerSettings
from results.anchors import (
    ANCHORS_NAME,
    IMAGENET_TOP1,
    PUBLISHED,
    Published,
    jobs_like,
    published_networks,
    timings_of,
)
from results.directory import LEDGER_NAME
from results.errors import RunError, RunMismatchError
from results.ledger import Ledger
from results.run import Run, find_run, load_run
from search_spaces.architecture import Architecture, cost
from search_spaces.document import load_architecture
from search_spaces.space import Space

if TYPE_CHECKING:
    from proxies.protocols import Task

ATTEMPTS = 2
"""What failed once may fail of the moment; what failed twice stays failed."""


def measure_anchors(
    run: str | Path | Run,
    names: Sequence[str] = tuple(IMAGENET_TOP1),
    *,
    train: bool = False,
    reuse: Sequence[Run] = (),
    space: Space | None = None,
    task: "Task | None" = None,
    told: Callable[[str, Outcome], None] = lambda name, outcome: None,
) -> tuple[Published, ...]:
    """Time published networks here as the run's own were timed; with `train`, train them by its proxy too.

    The settings are those of the run's own timings, its resolution among them, and its scale of milliseconds.
    What the run, or one of `reuse`, has measured already is not measured again. Outcomes are kept in
    `anchors.sqlite` in the run's directory, from where `nas.compare`, plots and reports have them; `told`
    hears each as it comes. By default EfficientNetV2 B0 to L and EfficientNet B0 to B7.

    Raises:
        RunMismatchError: the device here with its software, or the proxy task, is not the run's.
        HardwareNotFoundError: the run's hardware is not here.
        DocumentError: a name is of no shipped network.
        RunError: the run has timed nothing yet, or its step times are estimates.
    """
    found = run if isinstance(run, Run) else load_run(find_run(run))
    archs = [load_architecture(name) for name in names]
    labels = {arch.digest: arch.name or arch.digest[:12] for arch in archs}
    settings, workers = _here(found, train=train, space=space, task=task)
    jobs = _missing(found, archs, reuse, with_training=train)
    if jobs:
        run_here(
            jobs,
            settings,
            found.path / ANCHORS_NAME,
            workers=workers,
            told=lambda outcome: told(labels[outcome.digest], outcome),
        )
    return tuple(each for each in published_networks(found) if each.result.digest in labels)


def _here(run: Run, *, train: bool, space: Space | None, task: "Task | None") -> tuple[WorkerSettings, int]:
    """What measures here as the run was measured, and with how many workers."""
    if run.is_estimated:
        raise RunError(
            f"{run.name}: its step times are estimates, beside which no measurement stands;"
            " nas measure --estimate estimates published networks"
        )
    config = make_config(searched_with(run))
    hardware = resolve_hardware(config.hardware)
    threads = hardware.profile.defaults.threads
    known = run.config.get("hardware") or {}
    if hardware_fingerprint(hardware, threads=threads) != known.get("fingerprint"):
        raise RunMismatchError(
            f"{run.name} was measured on {known.get('device') or 'a device that it does not name'} with the"
            f" software of that time, and here is {hardware.describe().get('device')}; measure published"
            " networks where the run was made, or search anew here with --reuse"
        )
    workers = 1
    if train:
        plan = make_plan(config, space=space, task=task)
        if plan.task_fingerprint != (run.config.get("task") or {}).get("fingerprint"):
            raise RunMismatchError(
                f"{run.name}: its proxy task is not the one here; give the task that it was searched with,"
                " or leave out the training"
            )
        task, workers = plan.task, plan.workers
    return (
        WorkerSettings(
            task=task if train else None,
            hardware=hardware,
            threads=threads,
            allow_plugins=config.allow_plugins,
            timeout_seconds=config.candidate_timeout_seconds,
            memory_limit_bytes=config.memory_limit_bytes,
        ),
        workers,
    )


def _missing(
    run: Run, archs: Sequence[Architecture], reuse: Sequence[Run], *, with_training: bool
) -> list[TimeJob | TrainJob]:
    """File the networks beside the run, take over what is known, and return what is to be done."""
    timings = timings_of(run)
    if not timings:
        raise RunError(f"{run.name} has timed no network yet, so published ones cannot be timed like them")
    resolution = run.results[0].resolution
    scale = RunScale()
    others = Reuse.of([other.path for other in reuse], files=(LEDGER_NAME, ANCHORS_NAME))
    with (
        Ledger.open(run.path / LEDGER_NAME, read_only=True) as own,
        open_or_create(run.path / ANCHORS_NAME) as ledger,
    ):
        for outcome in own.first_timings():
            scale.learn(outcome)
        missing: list[TimeJob | TrainJob] = []
        for number, arch in enumerate(archs):
            ledger.add_candidate(
                digest=arch.digest,
                architecture=arch.to_document(),
                cost=cost(arch, resolution),
                resolution=resolution,
                origin=PUBLISHED,
                proposal_index=number,
            )
            for job in jobs_like(run, arch, timings):
                if isinstance(job, TrainJob) and not with_training:
                    continue
                if own.find(job.key) or others.copy(job.key, ledger, accepts=scale.fits):
                    continue
                if ledger.find(job.key) and not ledger.retry(job.key, limit=ATTEMPTS):
                    continue
                missing.append(scale.applied_to(job) if isinstance(job, TimeJob) else job)
    return missing
