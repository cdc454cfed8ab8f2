"""How much training the gate and early stopping save: training spent until the hypervolume of a full search.

    python benchmarks/sparing.py                   on a planted law, simulated: minutes
    python benchmarks/sparing.py --real --out DIR  real searches of `tiny` over cluttered-digits: half an hour

Each line is a search with one kind of sparing, from the same seed as the full one. `to equal` is the training
that it had spent when its front reached the full search's last hypervolume, as a share of all that the full
search spent; hypervolumes count from one reference. Training is counted in work, epochs times the
multiply-adds of the network, which no neighbour on the machine changes; of real searches also in seconds of
the workers. Real searches go on where they stopped, and their full ones are replayed: the trainings that they
recorded, in their order, ended where halving would have ended them.
"""

import argparse
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.evaluations import Budget, Evaluations, learning_curve
from nas.gate import OptimisticGate
from nas.halving import NonDominatedHalving
from nas.objectives import parse_objectives
from nas.progress import Silent
from nas.reuse import Reuse
from nas.reward import EFFICIENTNETV2_REWARD
from nas.session import Session
from nas.strategies.registry import StrategyInputs, make_strategy
from proxies.records import Outcome, Partial, TimeJob, TimingSettings, TrainJob
from proxies.spool import Spool
from results.ledger import Ledger
from results.pareto import default_reference, hypervolume
from search_spaces.document import architecture_from_document
from search_spaces.space import Genes, Space
from search_spaces.space_document import load_space

if TYPE_CHECKING:
    from results.run import Run

OBJECTIVES = parse_objectives(["accuracy", "step_ms"])
KINDS = {"full": (False, False), "gate": (True, False), "halving": (False, True), "both": (True, True)}
EPOCHS = 9
TASK = Path(__file__).with_name("nine_epochs.yaml")
LAG = 4


CURVE_MEAN = np.array([0.31, 0.58, 0.79, 0.89, 0.94, 0.96, 0.99, 1.0, 1.0])
CURVE_DEVIATION = np.array([0.08, 0.13, 0.08, 0.054, 0.039, 0.031, 0.013, 0.01, 0.0])
"""Accuracy after each epoch over that at the end, in 32 real trainings of `tiny` over cluttered-digits."""
WORK_SLOPE = 0.05
"""Accuracy that they gained with the logarithm of their multiply-adds."""
SCATTER = 0.06
"""The standard deviation of their accuracies about that line: what the choices and chance make."""
STEP_SCATTER = 0.2
"""The standard deviation of their logarithmic step times about a line through multiply-adds and memory."""


class PlantedTraining:
    """Answers jobs from a law like what real trainings recorded; the choices' effects are drawn by the seed.

    The accuracy at the end grows with the logarithm of the work; every choice, and every pair of neighbouring
    ones, adds an effect of its own. Curves scatter about their mean as real ones do, so they cross.
    """

    capacity = 2

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._effects = np.random.default_rng(seed).standard_normal((2, 2, len(space.chain.genes), 16))
        self._waiting: deque[TimeJob | TrainJob] = deque()
        self._curves: dict[str, list[list[object]]] = {}
        self._stopped: set[str] = set()
        self.spent: list[tuple[str, float]] = []
        """Digests of ended trainings with the work they had."""

    def submit(self, job: TimeJob | TrainJob) -> None:
        """See `Executor`."""
        self._waiting.append(job)

    def stop(self, key: str) -> None:
        """See `Executor`."""
        self._stopped.add(key)

    def go_on(self, key: str) -> None:
        """See `Executor`."""

    def close(self) -> None:
        """See `Executor`."""

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome | Partial]:
        """One step of the job that has waited longest; two trainings take turns."""
        job = self._waiting.popleft()
        final, step_ms, rng = self._law(job)
        if isinstance(job, TimeJob):
            return [_outcome(job, "ok", {"step_ms": step_ms})]
        curve = self._curves.setdefault(job.key, [])
        if job.key in self._stopped or len(curve) == EPOCHS:
            self.spent.append((job.digest, len(curve) * self._mega_macs(job)))
            status = "ok" if len(curve) == EPOCHS else "stopped"
            return [_outcome(job, status, dict(curve[-1][1]), learning_curve=curve)]  # type: ignore[call-overload]
        step = len(curve) + 1
        haste = rng.standard_normal()
        noise = 0.005 * rng.standard_normal(EPOCHS)[step - 1] * (step < EPOCHS)
        share = CURVE_MEAN[step - 1] + haste * CURVE_DEVIATION[step - 1]
        curve.append([step, {"accuracy": float(np.clip(final * share + noise, 0.0, 1.0))}])
        self._waiting.insert(min(1, len(self._waiting)), job)
        return [Partial(key=job.key, step=step, metrics=curve[-1][1])]  # type: ignore[arg-type]

    def _mega_macs(self, job: TimeJob | TrainJob) -> float:
        genes = self._space.encode(architecture_from_document(job.architecture))
        return float(self._space.costs(genes[None]).macs[0]) * 1e-6

    def _law(self, job: TimeJob | TrainJob) -> tuple[float, float, np.random.Generator]:
        """The accuracy at the end, milliseconds a step, and what else chance decides about the network."""
        genes = self._space.encode(architecture_from_document(job.architecture))
        costs = self._space.costs(genes[None])
        rng = np.random.default_rng([self._seed, int(job.digest[:12], 16)])
        better, slower = self._effects_of(genes)
        work = float(np.log(costs.macs[0] * 1e-6))
        accuracy = 0.66 + WORK_SLOPE * work + SCATTER * better + 0.01 * float(rng.standard_normal())
        step_ms = 2.4 + float(costs.macs[0] / 2.5e6 + costs.activation_bytes[0] / 1.1e5)
        return accuracy, step_ms * float(np.exp(STEP_SCATTER * slower)), rng

    def _effects_of(self, genes: Genes) -> npt.NDArray[np.float64]:
        """Of all choices together on accuracy and on step time, about one standard deviation in size."""
        places = np.arange(len(genes))
        one, pair = (
            self._effects[:, 0, places, genes],
            self._effects[:, 1, places[1:], genes[1:] * genes[:-1]],
        )
        total: npt.NDArray[np.float64] = one.sum(axis=1) + pair.sum(axis=1)
        return total / (2 * len(genes)) ** 0.5


def _outcome(job: TimeJob | TrainJob, status: str, metrics: dict[str, float], **details: object) -> Outcome:
    return Outcome.model_validate(
        {
            "key": job.key,
            "kind": job.kind,
            "digest": job.digest,
            "status": status,
            "metrics": metrics,
            "details": details,
        }
    )


Trace = list[tuple[float, dict[str, float] | None]]
"""Training spent when a candidate's ended, and its values where it ended complete."""


def simulated(kind: str, seed: int, given: argparse.Namespace, space: Space) -> Trace:
    """One search on the planted law."""
    candidates, strategy = _count(kind, given), given.strategy
    halving = NonDominatedHalving(objectives=OBJECTIVES, reduction=given.reduction, first=given.first)
    executor = PlantedTraining(space, seed)
    has_gate, halves = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder, Ledger.create(Path(folder) / "ledger.sqlite") as ledger:
        inputs = StrategyInputs(
            space=space,
            reward=EFFICIENTNETV2_REWARD,
            budget=candidates,
            objectives=OBJECTIVES,
            parallel=LAG,
            seed=seed,
        )
        session = Session(
            space=space,
            strategy=make_strategy(strategy, inputs),
            strategy_name=strategy,
            executor=executor,
            ledger=ledger,
            spool=Spool(directory=Path(folder) / "spool"),
            evaluations=Evaluations(
                hardware_fingerprint="simulated",
                timing=lambda _: TimingSettings(resolution=32, batch_size=8),
                task_fingerprint="planted",
                seeds=(0,),
            ),
            objectives=OBJECTIVES,
            budget=Budget(candidates=candidates),
            seed=seed,
            lag=LAG,
            reuse=Reuse(),
            progress=Silent(),
            gate=OptimisticGate(space, OBJECTIVES) if has_gate else None,
            early_stopping=halving if halves else None,
        )
        session.run()
        complete = {
            each.digest: dict(each.values) for each in session.evaluations_so_far() if each.is_complete
        }
    spent, trace = 0.0, []
    for digest, work in executor.spent:
        spent += work
        trace.append((spent, complete.get(digest)))
    return trace


def _count(kind: str, given: argparse.Namespace) -> int:
    return given.candidates if kind == "full" else round(given.more * given.candidates)


def real(kind: str, seed: int, given: argparse.Namespace) -> Trace:
    """One search of `tiny` over cluttered-digits, in two local workers."""
    import nas

    has_gate, halves = KINDS[kind]
    out = given.out / f"{kind}-{seed}"
    run = (
        nas.resume(out)
        if out.exists()
        else nas.search(
            space="tiny",
            hardware="cpu",
            proxy=str(TASK),
            executor="local",
            candidates=_count(kind, given),
            strategy=given.strategy,
            objectives=[str(each) for each in OBJECTIVES],
            seed=seed,
            gate=has_gate,
            early_stopping="halving" if halves else "none",
            halving_reduction=given.reduction,
            halving_first=given.first,
            no_reuse=True,
            out=str(out),
        )
    )
    with Ledger.open(run.path / "ledger.sqlite", read_only=True) as ledger:
        trainings = sorted(ledger.records(kind="train"), key=lambda each: each.recorded_at)
    seconds = sum(record.outcome.seconds for record in trainings)
    print(
        f"{kind}: {len(run.candidates())} candidates, {len(trainings)} trainings, {seconds:.0f} s of training"
    )
    return _trace(run, [(each.outcome.digest, each.outcome.metrics.get("epochs", 0.0)) for each in trainings])


def replayed(seed: int, given: argparse.Namespace) -> Trace:
    """The trainings of the real full search, each ended where halving would have ended it."""
    import nas

    run = nas.load_run(given.out / f"full-{seed}")
    halving = NonDominatedHalving(
        objectives=OBJECTIVES, reduction=given.reduction, first=given.first, last=EPOCHS
    )
    candidates = {each.digest: each for each in run.candidates()}
    with Ledger.open(run.path / "ledger.sqlite", read_only=True) as ledger:
        trainings = sorted(ledger.records(kind="train"), key=lambda each: each.recorded_at)
    ended = []
    for outcome in (record.outcome for record in trainings if record.outcome.status == "ok"):
        known = candidates[outcome.digest].values(["step_ms"])
        ends = (
            step
            for step, metrics in learning_curve(outcome)
            if halving.judge(outcome.key, seed, step, {**known, **metrics}) is not None
        )
        ended.append((outcome.digest, float(next(ends, EPOCHS))))
    return _trace(run, ended)


def _trace(run: "Run", ended: Sequence[tuple[str, float]]) -> Trace:
    """From trainings in the order of their end, with their epochs; values of those that had all."""
    candidates = {each.digest: each for each in run.candidates()}
    spent, trace = 0.0, []
    for digest, epochs in ended:
        candidate = candidates[digest]
        spent += epochs * candidate.cost.macs * 1e-6
        is_complete = candidate.is_measured and epochs == EPOCHS
        trace.append((spent, candidate.values([each.name for each in OBJECTIVES]) if is_complete else None))
    return trace  # type: ignore[return-value]


def volumes(trace: Trace, reference: dict[str, float]) -> list[tuple[float, float]]:
    """Training spent and hypervolume of what was complete by then."""
    points: list[dict[str, float]] = []
    found = []
    for spent, values in trace:
        if values is not None:
            points.append(values)
        found.append((spent, hypervolume(points, OBJECTIVES, reference)))
    return found


def report(traces: dict[str, list[Trace]]) -> None:
    """A line a kind: training, and volume at the end, as shares of the full search's; means over seeds."""
    print(
        f"{'':10}{'training, epochs x MMAC':>25}{'of full':>9}"
        f"{'to equal':>10}{'reached':>9}{'volume, of full':>17}"
    )
    for kind, runs in traces.items():
        shares, equal, ends, total = [], [], [], []
        for index, trace in enumerate(runs):
            points = [values for each in traces.values() for _, values in each[index] if values is not None]
            reference = default_reference(points, OBJECTIVES)
            assert reference is not None
            full = volumes(traces["full"][index], reference)
            own = volumes(trace, reference)
            reached = next((spent for spent, volume in own if volume >= full[-1][1]), None)
            shares.append(own[-1][0] / full[-1][0])
            equal += [reached / full[-1][0]] if reached is not None else []
            ends.append(own[-1][1] / full[-1][1])
            total.append(own[-1][0])
        mean = f"{fmean(equal):.2f}" if equal else "-"
        print(
            f"{kind:10}{fmean(total):>25.0f}{fmean(shares):>9.2f}{mean:>10}{f'{len(equal)}/{len(runs)}':>9}"
            f"{fmean(ends):>17.3f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run every kind with every seed, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", action="store_true", help="train for real")
    parser.add_argument("--seeds", type=int, default=None, help="default: 10 simulated, 1 real")
    parser.add_argument("--candidates", type=int, default=60)
    parser.add_argument(
        "--more", type=float, default=1.5, help="times as many candidates where some are spared"
    )
    parser.add_argument("--strategy", default="surrogate")
    parser.add_argument("--reduction", type=float, default=2.0, help="of halving")
    parser.add_argument("--first", type=int, default=2, help="the first rung of halving, an epoch")
    parser.add_argument("--kinds", default="full,gate,halving,both")
    parser.add_argument("--out", type=Path, default=Path("runs/sparing"), help="where real runs are kept")
    given = parser.parse_args(arguments)
    seeds = given.seeds or (1 if given.real else 10)
    space = load_space("tiny")
    traces: dict[str, list[Trace]] = {}
    for kind in given.kinds.split(","):
        traces[kind] = [
            real(kind, seed, given) if given.real else simulated(kind, seed, given, space)
            for seed in range(seeds)
        ]
    if given.real:
        traces["replayed"] = [replayed(seed, given) for seed in range(seeds)]
    report(traces)


if __name__ == "__main__":
    main()
