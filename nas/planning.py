"""From a configuration to everything a search needs, checked in the order of cost: nothing starts here."""

import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.config import CPU_WORKERS, RUN_SCHEMA, SearchConfig
from nas.errors import ConfigError
from nas.evaluations import Evaluations
from nas.goal import Goal, aimed, goal_of
from nas.objectives import timed_works, with_limits
from nas.step_prediction import STEP, decided_by_timing
from nas.strategies.registry import check_strategy
from proxies.estimates import (
    describe_estimated,
    estimate_fingerprint,
    estimate_outcome,
    profile_to_estimate,
    rates,
)
from proxies.hardware import (
    AUTO,
    HardwareProfile,
    ResolvedHardware,
    hardware_fingerprint,
    resolve_hardware,
    timing_settings,
)
from proxies.onnx_packages import require_onnx
from proxies.records import Outcome, TimedWork, TimingSettings
from results.errors import RunMismatchError
from search_spaces.architecture import Architecture
from search_spaces.space import Space
from search_spaces.space_document import load_space

if TYPE_CHECKING:
    from proxies.protocols import Task

LARGE_PARAMS = 2_000_000
SIZING_SAMPLES = 16
PACKAGES = ("torch", "ray", "optuna", "numpy", "scikit-learn", "training-aware-nas")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A resolved configuration: what will be searched, measured, and by what.

    Where `estimated` is a profile, step times are estimated for it and none is measured; `hardware` is then
    what is here, and trains.
    """

    config: SearchConfig
    space: Space
    hardware: ResolvedHardware
    task: "Task"
    task_fingerprint: str
    task_seeds: tuple[int, ...]
    goal: Goal
    workers: int
    estimated: HardwareProfile | None = None

    @property
    def threads(self) -> int:
        """CPU threads of one worker."""
        return self.hardware.profile.defaults.threads

    @property
    def hardware_name(self) -> str:
        """What the run's directory is named after."""
        return self.hardware.profile.name if self.estimated is None else f"{self.estimated.name}-estimated"

    @property
    def hardware_fingerprint(self) -> str:
        """What timings, or estimates, are filed under."""
        if self.estimated is not None:
            return estimate_fingerprint(self.estimated)
        return hardware_fingerprint(self.hardware, threads=self.threads)

    @property
    def works(self) -> tuple[TimedWork, ...]:
        """What is timed of every candidate, training first; where step times are estimated, nothing else."""
        return timed_works(self.goal.objectives, self.goal.bounds)

    def timing(self, arch: Architecture, work: TimedWork = "training") -> TimingSettings:
        """How `arch` is timed, or what its time is estimated of."""
        config = self.config
        return timing_settings(
            self.estimated or self.hardware.profile,
            arch,
            resolution=config.resolution,
            batch_size=config.batch if work == "training" else config.inference_batch or config.batch,
            precision=config.precision,
            work=work,
        )

    def estimate(self, arch: Architecture) -> Outcome:
        """The estimated step time of `arch`, where this plan estimates.

        Raises:
            ValueError: the profile states no rates for the precision; `make_plan` has looked.
        """
        assert self.estimated is not None
        return estimate_outcome(arch, self.estimated, self.timing(arch))

    def evaluations(self) -> Evaluations:
        """What is done with every candidate."""
        return Evaluations(
            hardware_fingerprint=self.hardware_fingerprint,
            timing=self.timing,
            further_timings=tuple(partial(self.timing, work=work) for work in self.works[1:]),
            task_fingerprint=self.task_fingerprint,
            seeds=self.task_seeds,
            bounds=self.goal.bounds,
            estimate=None if self.estimated is None else self.estimate,
        )

    def document(self) -> dict[str, Any]:
        """What `run.yaml` holds: configuration, and what it was resolved to on this machine."""
        return {
            "schema": RUN_SCHEMA,
            "config": self.config.model_dump(mode="json"),
            "objectives": [str(objective) for objective in self.goal.objectives],
            "jobs_per_candidate": {
                "time" if self.estimated is None else "estimate": len(self.works),
                "train": len(self.task_seeds),
            },
            "space": {
                "name": self.space.name,
                "size": f"{self.space.size:,}",
                "fingerprint": space_fingerprint(self.space),
            },
            "task": {
                **(describe() if (describe := getattr(self.task, "describe", None)) else {}),
                "fingerprint": self.task_fingerprint,
                "seeds": list(self.task_seeds),
            },
            "hardware": {**self.described_hardware(), "fingerprint": self.hardware_fingerprint},
            "workers": self.workers,
            "versions": versions(),
            "git": git_state(Path.cwd()),
        }

    def described_hardware(self) -> dict[str, Any]:
        """What step times are of: the devices here, or the profile they are estimated for and what trains."""
        if self.estimated is None:
            return self.hardware.describe()
        return {**describe_estimated(self.estimated), "trained_on": self.hardware.describe()}


def make_plan(config: SearchConfig, *, space: Space | None = None, task: "Task | None" = None) -> SearchPlan:
    """Resolve a configuration. `space` and `task` take the place of those that it names.

    Raises:
        HardwareNotFoundError: before anything else is looked at, and without loading torch.
        DocumentError, ConfigError, UnknownHardwareError: the configuration cannot be run.
    """
    hardware, estimated = _hardware(config)
    if config.allow_plugins:
        from search_spaces.registry import load_block_plugins

        load_block_plugins()
    try:
        check_strategy(config.strategy)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    config = aimed(config)
    goal = goal_of(config)
    require_timeable(timed_works(goal.objectives, goal.bounds), hardware)
    require_predictable(config, goal)
    space = with_limits(space or load_space(config.space), goal.bounds)
    task = task or named_task(config, space, hardware)
    goal = goal_of(config, task_reward=getattr(task, "reward", None))
    fingerprint = task.fingerprint()
    return SearchPlan(
        config=_with_budget(config, task),
        space=space,
        hardware=hardware,
        task=task,
        task_fingerprint=fingerprint,
        task_seeds=tuple(getattr(task, "seeds", (0,))),
        goal=goal,
        workers=config.workers or default_workers(hardware),
        estimated=estimated,
    )


def require_predictable(config: SearchConfig, goal: Goal) -> None:
    """See that predicted step times decide nothing that only a timing may.

    Raises:
        ConfigError: they would.
    """
    if config.predict_steps is None:
        return
    if config.estimate:
        raise ConfigError("--predict-steps goes with measured step times; leave out --estimate")
    limited = [bound.name for bound in goal.bounds if decided_by_timing([bound.name]) or bound.name == STEP]
    timed = [*decided_by_timing([objective.name for objective in goal.objectives]), *limited]
    if timed:
        raise ConfigError(
            f"--predict-steps predicts step_ms as an objective, and {', '.join(timed)} must be measured "
            "for every candidate; leave one of them out"
        )


def require_timeable(works: Iterable[TimedWork], hardware: ResolvedHardware) -> None:
    """See that what is to be timed can be.

    Raises:
        ConfigError: ONNX Runtime is asked for on an accelerator.
        OnnxMissingError: it is not installed.
    """
    if "onnx-inference" not in works:
        return
    if hardware.profile.kind != "cpu":
        raise ConfigError(
            f"onnx_ms is a time of the CPU, and this search is on {hardware.profile.name!r}; "
            "use inference_ms, or --hardware cpu"
        )
    require_onnx()


def _hardware(config: SearchConfig) -> tuple[ResolvedHardware, HardwareProfile | None]:
    """The devices that jobs run on, and the profile that step times are estimated for, if they are.

    Raises:
        ConfigError: the profile states no rates for the precision, or a cluster is named beside.
    """
    if not config.estimate:
        on_cluster = config.executor == "ray" and config.ray_address is not None
        return (_of_cluster if on_cluster else _of_this_machine)(config), None
    if config.ray_address is not None:
        raise ConfigError("--estimate trains on this machine; leave out --ray-address, or measure there")
    profile, _ = profile_to_estimate(config.hardware)
    try:
        rates(profile, config.precision or profile.defaults.precision)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return resolve_hardware(AUTO), profile


def _of_this_machine(config: SearchConfig) -> ResolvedHardware:
    return resolve_hardware(config.hardware)


def _of_cluster(config: SearchConfig) -> ResolvedHardware:
    """What the nodes have, who are asked: times are filed under their devices, not under those here.

    Raises:
        ExecutorError: the cluster is not there, or is open to all.
        HardwareNotFoundError: no node has it, or they have different ones.
    """
    from nas.executors.cluster_hardware import cluster_hardware
    from nas.executors.ray_environment import refuse_open_cluster, require_reachable

    assert config.ray_address is not None
    refuse_open_cluster(insecure=config.insecure)
    require_reachable(config.ray_address)
    from nas.executors.ray_tune import machines_of

    return cluster_hardware(config.hardware, machines_of(config.ray_address))


def _with_budget(config: SearchConfig, task: "Task") -> SearchConfig:
    """The configuration with the task's own number of candidates where none was asked for."""
    own = getattr(task, "max_candidates", None)
    if own is None or "candidates" in config.model_fields_set:
        return config
    return config.model_copy(update={"candidates": own})


def named_task(config: SearchConfig, space: Space, hardware: ResolvedHardware) -> "Task":
    """The proxy task that the configuration names, with its overrides.

    Raises:
        ConfigError: no such task.
        DataError: its data is not there, or none is named.
    """
    from proxies.task import UnknownTaskError, load_task

    name = automatic_proxy(space, hardware) if config.proxy == AUTO else config.proxy
    try:
        return load_task(
            name,
            data=config.data,
            precision=(None if config.estimate else config.precision) or hardware.profile.defaults.precision,
            allow_plugins=config.allow_plugins,
        )
    except UnknownTaskError as error:
        raise ConfigError(str(error)) from error


def automatic_proxy(space: Space, hardware: ResolvedHardware) -> str:
    """`default`; on a CPU `reduced` for a space whose networks are too large to be trained there.

    A network of a few million parameters takes minutes for the default task's epochs on one core.
    """
    if hardware.profile.kind != "cpu":
        return "default"
    genes = space.sample(np.random.default_rng(0), SIZING_SAMPLES)
    return "reduced" if np.median(space.costs(genes).params) > LARGE_PARAMS else "default"


def default_workers(hardware: ResolvedHardware) -> int:
    """One worker a device; on a CPU a few, since one training does not fill it."""
    return CPU_WORKERS if hardware.profile.kind == "cpu" else len(hardware.devices)


def space_fingerprint(space: Space) -> str:
    """Identifies a space's tree, rules and limits; a resumed run must search the same one."""
    import hashlib

    parts = (space.fixed, space.slots, space.genes, space.rules, space.limits)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of what decides results; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(directory: Path) -> dict[str, Any] | None:
    """Commit and cleanliness of the repository that the search is started in; None outside of one."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=directory, capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "is_dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def seed_count(plan: SearchPlan) -> int:
    """How many of the space's seeds a strategy starts from: at most a quarter of the budget."""
    return min(len(plan.space.seeds), max(1, plan.config.candidates // 4)) if plan.space.seeds else 0


def sample_members(space: Space, count: int, seed: int) -> Sequence[Architecture]:
    """A few members to look at."""
    return [space.decode(genes) for genes in space.sample(np.random.default_rng(seed), count)]


def require_same(path: Path, document: Mapping[str, Any], plan: SearchPlan) -> None:
    """Let pass a plan that measures as the run in `path` did, whose `run.yaml` is `document`.

    Raises:
        RunMismatchError: space, proxy task or hardware are others.
    """
    found = {
        "space": space_fingerprint(plan.space),
        "task": plan.task_fingerprint,
        "hardware": plan.hardware_fingerprint,
    }
    stored = {name: (document.get(name) or {}).get("fingerprint") for name in found}
    changed = [name for name, value in found.items() if stored[name] != value]
    if changed:
        raise RunMismatchError(
            f"{path}: {' and '.join(changed)} changed since this run was started; start a new run, "
            "which reuses every measurement that still holds"
        )
