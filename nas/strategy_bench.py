"""Strategies compared by replaying them against a table of measured networks: hypervolume by evaluations."""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError
from nas.goal import reward_of
from nas.oracle import ModelOracle, Oracle, TableOracle
from nas.strategies.protocol import Evaluation
from nas.strategies.registry import StrategyInputs, check_strategy, make_strategy
from results.pareto import Objective
from results.table import Table
from search_spaces.limits import COST_NAMES
from search_spaces.space import Genes, Space

Floats = npt.NDArray[np.float64]

MAX_REPEATS = 200
EVERY = 50
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is compared. `noise` is in multiples of what the oracle leaves unexplained; fronts are scored
    without.

    `reference` and `ideal` span the box in which hypervolume is counted, one value an objective; a share of
    1 is a network that reaches the ideal in every one.
    """

    objectives: tuple[Objective, ...]
    strategies: tuple[str, ...]
    budget: int = 200
    seeds: int = 20
    parallel: int = 1
    noise: float = 0.0
    reference: tuple[float, ...]
    ideal: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in self.strategies:
            try:
                check_strategy(name)
            except ValueError as error:
                raise ConfigError(str(error)) from error
        for objective, low, high in zip(self.objectives, self.reference, self.ideal, strict=True):
            if objective.sign * high >= objective.sign * low:
                raise ConfigError(
                    f"{objective.name}: the ideal {high:g} is not better than the reference {low:g}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One strategy with one seed: hypervolume after each evaluation, and seconds it took for a proposal."""

    hypervolume: Floats
    seconds_per_proposal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds with its 95 % interval (Student's t)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """A strategy against the best of the others at the end: one-sided Wilcoxon signed-rank over seeds."""

    baseline: str
    at: int
    wins: int
    p: float | None


def default_box(
    oracle: Oracle, objectives: Sequence[Objective], table: Table
) -> tuple[list[float], list[float]]:
    """Reference and ideal: the table's 1st and 99th percentiles, the better one as the ideal."""
    reference, ideal = [], []
    costs = oracle.space.costs(table.genes)
    for objective in objectives:
        is_cost = objective.name in COST_NAMES
        values = getattr(costs, objective.name) if is_cost else table.written(objective.name).values
        low, high = (float(each) for each in np.percentile(values, [1, 99]))
        worse, better = (high, low) if objective.direction == "minimize" else (low, high)
        reference.append(worse)
        ideal.append(better)
    return reference, ideal


def make_oracle(
    kind: Literal["model", "table"], table: Table, space: Space, objectives: Sequence[Objective]
) -> ModelOracle | TableOracle:
    """The oracle of a table."""
    return (ModelOracle if kind == "model" else TableOracle)(table, space, objectives)


def replay(oracle: Oracle, plan: BenchPlan, strategy_name: str, seed: int) -> Trace:
    """Spend the budget of one strategy. Known networks cost nothing; a table is asked for its rows only."""
    space = oracle.space
    strategy = make_strategy(
        strategy_name,
        StrategyInputs(
            space=space,
            reward=reward_of(plan.objectives),
            budget=plan.budget,
            objectives=plan.objectives,
            parallel=plan.parallel,
            seed=seed,
        ),
    )
    known: set[str] = set()
    pending: list[Evaluation] = []
    points: list[Floats] = []
    trace, busy = np.zeros(plan.budget), 0.0
    for index in range(plan.budget):
        rng = np.random.default_rng([seed, index])
        start = time.perf_counter()
        while len(pending) >= plan.parallel:
            strategy.tell(pending.pop(0))
        proposed = _proposal(strategy.ask, oracle, known, rng)
        busy += time.perf_counter() - start
        if proposed is None:  # everything is known
            trace[index:] = trace[index - 1] if index else 0.0
            break
        genes, digest, values = proposed
        known.add(digest)
        told = {name: _noisy(oracle, plan, name, value, digest, seed) for name, value in values.items()}
        pending.append(Evaluation(index=index, genes=genes, digest=digest, values=told))
        points.append(_scaled(plan, values))
        trace[index] = _hypervolume(np.array(points))
    return Trace(hypervolume=trace, seconds_per_proposal=busy / plan.budget)


def compare(
    oracle: Oracle, plan: BenchPlan, *, jobs: int = 1, done: Callable[[str], None] = lambda name: None
) -> dict[str, list[Trace]]:
    """Every strategy with every seed, in `jobs` processes; `done` hears of each replay. Seeds are 0, 1, ...

    The traces do not depend on `jobs`.
    """
    tasks = [(name, seed) for seed in range(plan.seeds) for name in plan.strategies]
    traces: dict[str, dict[int, Trace]] = {name: {} for name in plan.strategies}
    if jobs == 1:
        for name, seed in tasks:
            traces[name][seed] = replay(oracle, plan, name, seed)
            done(name)
    else:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(jobs, context, initializer=_keep, initargs=(oracle, plan)) as pool:
            waiting = {pool.submit(_replay_kept, name, seed): (name, seed) for name, seed in tasks}
            for future in as_completed(waiting):
                name, seed = waiting[future]
                traces[name][seed] = future.result()
                done(name)
    return {name: [found[seed] for seed in sorted(found)] for name, found in traces.items()}


_kept: tuple[Oracle, BenchPlan] | None = None
"""What the replays of this process have in common."""


def _keep(oracle: Oracle, plan: BenchPlan) -> None:
    from threadpoolctl import threadpool_limits

    global _kept  # a process of the pool has one comparison for life
    _kept = (oracle, plan)
    threadpool_limits(1)


def _replay_kept(name: str, seed: int) -> Trace:
    assert _kept is not None
    return replay(*_kept, name, seed)


def _proposal(
    ask: Callable[[np.random.Generator], Genes], oracle: Oracle, known: set[str], rng: np.random.Generator
) -> tuple[Genes, str, dict[str, float]] | None:
    """The next network that is not known, with its values. As in a search, chance helps a stuck strategy."""
    for attempt in range(MAX_REPEATS):
        genes = ask(rng) if attempt < MAX_REPEATS // 2 else oracle.space.sample(rng)
        arch = oracle.space.decode(genes)
        if arch.digest in known:
            continue
        values = oracle.values(oracle.space.encode(arch))
        if values is not None:
            return oracle.space.encode(arch), arch.digest, values
    if isinstance(oracle, TableOracle):
        return _nearest_row(oracle, known, genes)
    return None


def _nearest_row(
    oracle: TableOracle, known: set[str], genes: Genes
) -> tuple[Genes, str, dict[str, float]] | None:
    """The unknown row that differs from the last proposal in the fewest choices."""
    for row in np.argsort((oracle.genes != genes).sum(axis=1), kind="stable"):
        digest = oracle.space.decode(oracle.genes[row]).digest
        values = oracle.values(oracle.genes[row])
        if digest not in known and values is not None:
            return oracle.genes[row].copy(), digest, values
    return None


def _noisy(oracle: Oracle, plan: BenchPlan, name: str, value: float, digest: str, seed: int) -> float:
    """What the strategy is told: the same for the same network and seed."""
    if not plan.noise or name in COST_NAMES:
        return value
    rng = np.random.default_rng([seed, int(digest[:12], 16), sum(map(ord, name))])
    error = plan.noise * oracle.scatter(name) * float(rng.standard_normal())
    fit = oracle.fits[name] if isinstance(oracle, ModelOracle) else None
    return value * float(np.exp(error)) if fit is not None and fit.is_logarithmic else value + error


def _scaled(plan: BenchPlan, values: Mapping[str, float]) -> Floats:
    """Shares of the way from reference to ideal, cut to 0 and 1."""
    found = np.array([values[objective.name] for objective in plan.objectives])
    low, high = np.array(plan.reference), np.array(plan.ideal)
    return np.asarray(np.clip((found - low) / (high - low), 0.0, 1.0))


def _hypervolume(points: Floats) -> float:
    import moocore

    return float(moocore.hypervolume(-points, ref=np.zeros(points.shape[1])))


def interval(values: Floats) -> Interval:
    """Mean and 95 % interval over seeds; of a single seed the interval is the value."""
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean=mean, low=mean, high=mean)
    from scipy.stats import t

    half = float(t.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return Interval(mean=mean, low=mean - half, high=mean + half)


def significance(traces: Mapping[str, Sequence[Trace]]) -> dict[str, Significance]:
    """Each strategy against the best of the others, seed by seed, at the end of the budget."""
    ends = {name: np.array([trace.hypervolume[-1] for trace in found]) for name, found in traces.items()}
    compared = {}
    for name, own in ends.items():
        others = {other: values for other, values in ends.items() if other != name}
        if others:
            best = max(others, key=lambda other: float(others[other].mean()))
            budget = len(traces[name][0].hypervolume)
            wins = int((own > others[best]).sum())
            compared[name] = Significance(baseline=best, at=budget, wins=wins, p=_wilcoxon(own, others[best]))
    return compared


def _wilcoxon(own: Floats, other: Floats) -> float | None:
    """The one-sided p-value that `own` is larger; None where every pair ties or there are under five."""
    from scipy.stats import wilcoxon

    if len(own) < 5 or not np.any(own != other):
        return None
    return float(wilcoxon(own, other, alternative="greater").pvalue)


def checkpoints(budget: int) -> list[int]:
    """The numbers of evaluations that are reported: every 50, and the last."""
    return sorted({*range(EVERY, budget + 1, EVERY), budget})


def evaluations_to_reach(traces: Sequence[Trace], level: float) -> int | None:
    """After how many evaluations the mean over seeds reaches a hypervolume; None: never."""
    mean = np.mean([trace.hypervolume for trace in traces], axis=0)
    reached = np.flatnonzero(mean >= level)
    return int(reached[0]) + 1 if len(reached) else None
