"""What a user calls: search, resume, plan, measure. The command line is a thin layer over this."""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Unpack

from nas.config import EDITABLE, SAID_EACH_TIME, SearchConfig, SearchSettings, make_config
from nas.errors import ConfigError, NothingFeasibleError, NothingMeasuredError
from nas.evaluations import Budget
from nas.executors.protocol import Executor, ExecutorError
from nas.executors.ray_environment import refuse_open_cluster, require_reachable
from nas.failure_budget import FAILED
from nas.gate import OptimisticGate
from nas.halving import NonDominatedHalving
from nas.interruption import Interruption, noting_interrupts
from nas.measuring import measure
from nas.planning import SearchPlan, make_plan, require_same, sample_members, seed_count
from nas.predictor_quality import predictor_quality
from nas.progress import Progress, Silent
from nas.reuse import Reuse
from nas.session import Session
from nas.step_prediction import StepPrediction
from nas.strategies.protocol import Evaluation
from nas.strategies.registry import StrategyInputs, make_strategy
from nas.warm_start import front_of, warm_start
from proxies.spool import Spool
from proxies.worker import WorkerSettings
from results.directory import ROOT, RunDirectory, list_runs, read_config
from results.errors import RunError
from results.export import write_front
from results.ledger import Ledger
from results.predictor_notes import PREDICTORS_EVENT
from results.run import Run, find_run, load_run
from search_spaces.architecture import Architecture, cost
from search_spaces.cost import Cost
from search_spaces.space import Space

if TYPE_CHECKING:
    from proxies.protocols import Task

SEARCH_LAG = 2
"""Proposals that a strategy may be ahead of what it was told, for each worker."""
VERDICT_SECONDS = 5.0
"""How long a training waits at most to hear whether it goes on, where some are stopped early."""


class TerminatedError(BaseException):
    """The process was asked to end (SIGTERM). Not an Exception, so that nothing swallows it."""


def search(
    config: SearchConfig | None = None,
    *,
    space: Space | str | None = None,
    task: "Task | None" = None,
    progress: Progress | None = None,
    **settings: Unpack[SearchSettings],
) -> Run:
    """Search, and return the finished run. `settings` are the fields of `SearchConfig`.

        nas.search(space="tiny", hardware="cpu", candidates=12, executor="local").pareto()

    `space` may be a Space and `task` any object of the Task protocol; such a run is resumed by giving the
    same objects to `resume`.

    Raises:
        ConfigError, DocumentError: the configuration cannot be run.
        HardwareNotFoundError, DataNotFoundError: what was named is not here.
        NothingMeasuredError: every candidate failed.
        StoppedEarlyError, ExecutorError: stopped before the end; what was measured is kept, see `resume`.
    """
    given_space = space if isinstance(space, Space) else None
    chosen: dict[str, Any] = {**settings}
    if space is not None:
        chosen["space"] = given_space.name if given_space is not None else space
    if config is None or chosen:
        config = make_config({**(config.model_dump() if config is not None else {}), **chosen})
    plan = make_plan(config, space=given_space, task=task)
    _require_cluster(plan.config)
    out = Path(config.out) if config.out else None
    hint = f"{plan.space.name}-{plan.hardware_name}"
    with RunDirectory.create(out, hint=hint, config=plan.document()) as directory:
        return _run(plan, directory, progress or Silent())


def resume(
    run: str | Path,
    *,
    space: Space | None = None,
    task: "Task | None" = None,
    progress: Progress | None = None,
    changes: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
) -> Run:
    """Go on with a run that was interrupted; one that is complete is returned as it is.

    With `retry_failed`, jobs that broke get one more attempt; their failures stay on record.

    `changes` may hold settings that say where and how fast, not what (see `nas.config.EDITABLE`), and a
    larger number of candidates.

    Raises:
        RunMismatchError: space, proxy task or hardware are not what the run was started with.
    """
    path = find_run(run)
    document = read_config(path)
    stored = document.get("config")
    if not isinstance(stored, dict):
        raise RunError(f"{path}/run.yaml: config is missing; this run was not written by a search")
    refused = sorted(set(changes or {}) - EDITABLE - {"candidates", "time_budget_seconds"})
    if refused:
        raise ConfigError(
            f"{', '.join(refused)}: cannot be changed when resuming; start a new run, which reuses this"
        )
    kept = {name: value for name, value in stored.items() if name not in SAID_EACH_TIME}
    plan = make_plan(make_config({**kept, **(changes or {})}), space=space, task=task)
    require_same(path, document, plan)
    _require_cluster(plan.config)
    with RunDirectory.open(path) as directory:
        return _run(plan, directory, progress or Silent(), retry_failed=retry_failed)


def _run(plan: SearchPlan, directory: RunDirectory, progress: Progress, *, retry_failed: bool = False) -> Run:
    executor = _executor(plan, directory)
    interruption = Interruption()
    with (
        _closing(executor),
        _terminated_by_signal(),
        noting_interrupts(interruption),
        directory.ledger() as ledger,
    ):
        if retry_failed:
            _retry_failed(ledger)
        directory.log("started", {"workers": plan.workers, "executor": plan.config.executor})
        reuse = Reuse.of([] if plan.config.no_reuse else _other_runs(plan.config, directory.path))
        for reason in reuse.skipped:
            directory.log("not reused", {"reason": reason})
        earlier = _earlier(plan, directory.path)
        objectives = plan.goal.objectives
        session = Session(
            space=plan.space,
            strategy=make_strategy(plan.config.strategy, _strategy_inputs(plan, earlier)),
            strategy_name=plan.config.strategy,
            executor=executor,
            ledger=ledger,
            spool=Spool(directory=directory.spool),
            evaluations=plan.evaluations(),
            objectives=objectives,
            budget=Budget(
                candidates=plan.config.candidates,
                seconds=plan.config.time_budget_seconds,
                max_failed=plan.config.max_failed,
            ),
            seed=plan.config.seed,
            lag=SEARCH_LAG * plan.workers,
            reuse=reuse,
            progress=progress,
            gate=OptimisticGate(plan.space, objectives) if plan.config.gate else None,
            early_stopping=_early_stopping(plan),
            prediction=_prediction(plan),
            earlier=earlier,
            interruption=interruption,
        )
        session.run()
        _note_predictors(plan, directory, session.evaluations_so_far())
        directory.log("finished")
    finished = write_front(directory.path)
    results = finished.candidates()
    if results and not any(result.is_measured for result in results):
        reasons = sorted({f"{result.status}: {result.reason}" for result in results})
        is_infeasible = all(result.status == "infeasible" for result in results)
        raise (NothingFeasibleError if is_infeasible else NothingMeasuredError)(
            f"0 of {len(results)} candidates could be measured ({'; '.join(reasons[:3])}); "
            f"see nas show {directory.path}"
        )
    return finished


def _retry_failed(ledger: Ledger) -> None:
    """Put the outcomes of what broke aside, where it has not broken twice."""
    for outcome in ledger.outcomes():
        if outcome.status in FAILED:
            ledger.retry(outcome.key)


def _earlier(plan: SearchPlan, directory: Path) -> list[Evaluation]:
    if not plan.config.warm_start:
        return []
    return warm_start(
        directory,
        [find_run(name) for name in plan.config.warm_start],
        plan.space,
        task_fingerprint=plan.task_fingerprint,
        hardware_fingerprint=plan.hardware_fingerprint,
    )


def _note_predictors(plan: SearchPlan, directory: RunDirectory, evaluations: Sequence[Evaluation]) -> None:
    """Keep how well what was measured could be predicted; see `Run.predictor_quality`."""
    quality = predictor_quality(plan.space, plan.goal.objectives, evaluations)
    found = {name: asdict(each) for name, each in quality.items()}
    directory.log(PREDICTORS_EVENT, {"evaluated": len(evaluations), "quality": found})


def _early_stopping(plan: SearchPlan) -> NonDominatedHalving | None:
    if plan.config.early_stopping == "none":
        return None
    return NonDominatedHalving(
        objectives=plan.goal.objectives,
        reduction=plan.config.halving_reduction,
        first=plan.config.halving_first,
        last=getattr(plan.task, "num_reports", None),
    )


def _prediction(plan: SearchPlan) -> StepPrediction | None:
    width = plan.config.predict_steps
    return None if width is None else StepPrediction(plan.space, plan.goal.objectives, width)


def _strategy_inputs(plan: SearchPlan, earlier: Sequence[Evaluation]) -> StrategyInputs:
    """What the strategy is made from; it begins with the best of earlier runs, then the space's own seeds."""
    best = front_of(earlier, plan.goal.objectives)[: max(1, plan.config.candidates // 4)]
    seeds = [each.genes for each in best] + [
        plan.space.encode(seed) for seed in plan.space.seeds[: seed_count(plan)] if plan.space.contains(seed)
    ]
    return StrategyInputs(
        space=plan.space,
        reward=plan.goal.reward,
        budget=plan.config.candidates,
        objectives=plan.goal.objectives,
        bounds=plan.goal.bounds,
        seeds=seeds,
        parallel=SEARCH_LAG * plan.workers,
        seed=plan.config.seed,
    )


def _other_runs(config: SearchConfig, path: Path) -> list[Path]:
    runs = [find_run(name) for name in config.reuse] or [*list_runs(path.parent), *list_runs(ROOT)]
    runs += [find_run(name) for name in config.warm_start]
    return [run for run in dict.fromkeys(run.resolve() for run in runs) if run != path.resolve()]


def _require_cluster(config: SearchConfig) -> None:
    """See, before anything is made, that the cluster named is there, and that none is open to all.

    Raises:
        ExecutorError: it is not, or the environment would open it.
    """
    if config.executor == "ray":
        refuse_open_cluster(insecure=config.insecure)
        if config.ray_address is not None:
            require_reachable(config.ray_address)


def _executor(plan: SearchPlan, directory: RunDirectory) -> Executor:
    config = plan.config
    settings = WorkerSettings(
        task=plan.task,
        hardware=plan.hardware,
        threads=plan.threads,
        allow_plugins=config.allow_plugins,
        timeout_seconds=config.candidate_timeout_seconds,
        memory_limit_bytes=config.memory_limit_bytes,
        spool=directory.spool,
        verdict_seconds=0.0 if config.early_stopping == "none" else VERDICT_SECONDS,
        keep_weights=directory.path / "weights" if config.keep_weights else None,
    )
    if config.executor == "local":
        from nas.executors.local import LocalExecutor

        return LocalExecutor(settings, workers=plan.workers)
    from nas.executors.ray_tune import RayTuneExecutor

    return RayTuneExecutor(
        settings, workers=plan.workers, ray_address=config.ray_address, insecure=config.insecure
    )


@contextmanager
def _closing(executor: Executor) -> Iterator[None]:
    try:
        yield
    finally:
        executor.close()


@contextmanager
def _terminated_by_signal() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that workers are stopped and files are whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> None:
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- without a search ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a search would do. `predicted_seconds` is None, with the reason, where nothing is known."""

    plan: SearchPlan
    samples: tuple[tuple[Architecture, Cost], ...]
    predicted_seconds: float | None
    prediction: str


def plan(config: SearchConfig, *, samples: int = 3) -> DryRun:
    """Resolve a configuration, draw a few members with their costs, predict the wall time; start nothing."""
    made = make_plan(config)
    members = sample_members(made.space, samples, config.seed)
    seconds, basis = _predict(made)
    return DryRun(
        plan=made,
        samples=tuple((arch, cost(arch, made.space.resolution)) for arch in members),
        predicted_seconds=seconds,
        prediction=basis,
    )


def _predict(made: SearchPlan) -> tuple[float | None, str]:
    """Wall time from what earlier runs of the same space, task and hardware took."""
    seconds = []
    for path in list_runs(ROOT):
        document = read_config(path)
        same = (
            (document.get("task") or {}).get("fingerprint") == made.task_fingerprint
            and (document.get("hardware") or {}).get("fingerprint") == made.hardware_fingerprint
            and (document.get("space") or {}).get("name") == made.space.name
        )
        if same:
            seconds += [result.seconds for result in load_run(path).candidates() if result.is_measured]
    if not seconds:
        return None, "no earlier run of this space, proxy and hardware to predict from"
    total = median(seconds) * made.config.candidates / made.workers
    return total, f"{len(seconds)} candidates of earlier runs took {median(seconds):.1f} s each in the median"


__all__ = ["DryRun", "ExecutorError", "TerminatedError", "measure", "plan", "resume", "search"]
