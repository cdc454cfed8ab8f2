"""Measuring the front of a run again: fresh timings, and fresh trainings from seeds that it did not use."""

from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.beside_run import run_here
from nas.config import make_config
from nas.errors import ConfigError
from nas.planning import SearchPlan, make_plan, require_same
from proxies.records import Outcome, TimeJob, TrainJob
from proxies.worker import WorkerSettings
from results.candidate import CandidateResult
from results.confirmations import CONFIRMATIONS_NAME, all_outcomes, honest
from results.directory import read_config
from results.errors import RunError
from results.honest import Honest, to_confirm
from results.run import Run, find_run, load_run
from search_spaces.document import architecture_from_document
from search_spaces.space import Space

if TYPE_CHECKING:
    from proxies.protocols import Task


def confirm(
    run: str | Path | Run,
    *,
    timings: int = 1,
    seeds: int = 1,
    top: int | None = None,
    space: Space | None = None,
    task: "Task | None" = None,
) -> tuple[Honest, ...]:
    """Measure the likely members of a run's front again, here; returns the honest front, best first.

    `timings` fresh timings and `seeds` fresh trainings of each. Before anything is known of the noise those
    are the members of the front; else the networks that are likeliest on the true one, as many as the front
    has. `top` is how many at most. The search's own ledger is left as it is; see `results.confirmations`.

    Raises:
        RunMismatchError: this machine, the proxy task or the space are not what the run was measured with.
        ConfigError: nothing to measure was asked for.
        RunError: the run has no front, or the noise of an objective stays unknown.
    """
    if timings < 0 or seeds < 0 or timings + seeds == 0:
        raise ConfigError(f"{timings} timings and {seeds} seeds: nothing to measure; give 1 or more of one")
    found = run if isinstance(run, Run) else load_run(find_run(run))
    plan = _plan(found, space, task)
    if plan.estimated is not None:
        raise RunError(f"{found.name}: its step times are estimates, which no measuring here confirms")
    chosen = _chosen(found, top)
    if not chosen:
        raise RunError(f"{found.name} has no front yet, so there is nothing to confirm")
    jobs = fresh_jobs(plan, chosen, all_outcomes(found), timings=timings, seeds=seeds)
    settings = WorkerSettings(
        task=plan.task,
        hardware=plan.hardware,
        threads=plan.threads,
        allow_plugins=plan.config.allow_plugins,
        timeout_seconds=plan.config.candidate_timeout_seconds,
        memory_limit_bytes=plan.config.memory_limit_bytes,
    )
    run_here(jobs, settings, found.path / CONFIRMATIONS_NAME, workers=plan.workers)
    return honest(found)


def fresh_jobs(
    plan: SearchPlan,
    chosen: Sequence[CandidateResult],
    known: Sequence[Outcome],
    *,
    timings: int,
    seeds: int,
) -> list[TimeJob | TrainJob]:
    """For each candidate the first repeats and seeds that are on file nowhere."""
    keys = {outcome.key for outcome in known}
    evaluations = plan.evaluations()
    jobs: list[TimeJob | TrainJob] = []
    for result in chosen:
        arch = architecture_from_document(result.architecture)
        timed = (evaluations.time_jobs(result.candidate, arch, repeat)[0] for repeat in count(1))
        trained = (
            TrainJob(
                digest=result.digest,
                architecture=result.architecture,
                task_fingerprint=plan.task_fingerprint,
                seed=seed,
            )
            for seed in count(0)
            if seed not in plan.task_seeds
        )
        jobs += islice((job for job in timed if job.key not in keys), timings)
        jobs += islice((job for job in trained if job.key not in keys), seeds)
    return jobs


def _plan(run: Run, space: Space | None, task: "Task | None") -> SearchPlan:
    document = read_config(run.path)
    plan = make_plan(make_config(searched_with(run)), space=space, task=task)
    require_same(run.path, document, plan)
    return plan


def searched_with(run: Run) -> Mapping[str, Any]:
    """The configuration of a run's search, as it is in `run.yaml`.

    Raises:
        RunError: there is none.
    """
    stored = run.config.get("config")
    if not isinstance(stored, Mapping):
        raise RunError(f"{run.path}/run.yaml: config is missing; this run was not written by a search")
    return stored


def _chosen(run: Run, top: int | None) -> list[CandidateResult]:
    """Whom to measure again."""
    front = run.pareto()
    limit = len(front) if top is None else top
    try:
        likely = honest(run)
    except RunError:  # nothing has been measured twice yet
        return list(front[:limit])
    return [run.candidate(number) for number in to_confirm(likely, limit)]
