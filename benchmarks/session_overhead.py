"""What the engine itself costs for each candidate: proposing, filing, dispatching, recording, telling.

Candidates whose work is nothing are searched on real executors; the wall time is divided by their number.
Start-up and shutdown are left out. Usage: python benchmarks/session_overhead.py [local ray]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from nas.evaluations import Budget, Evaluations
from nas.executors.protocol import Executor
from nas.objectives import parse_objectives
from nas.progress import Silent
from nas.reuse import Reuse
from nas.reward import EFFICIENTNETV2_REWARD
from nas.session import Session
from nas.strategies.registry import StrategyInputs, make_strategy
from proxies.protocols import Report
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from proxies.spool import Spool
from proxies.worker import WorkerSettings
from results.ledger import Ledger
from search_spaces.space_document import load_space

CANDIDATES = 50
REPEATS = {"local": 3, "ray": 1}
WORKERS = 2


class Nothing:
    """A job runner that answers at once."""

    def run(self, job: TimeJob | TrainJob, report: Report) -> Outcome:
        """Made-up numbers, real plumbing."""
        del report
        metrics = {"step_ms": 1.0} if job.kind == "time" else {"accuracy": 0.5}
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics=metrics)


def make_executor(name: str, settings: WorkerSettings) -> Executor:
    if name == "local":
        from nas.executors.local import LocalExecutor

        return LocalExecutor(settings, workers=WORKERS)
    from nas.executors.ray_tune import RayTuneExecutor

    return RayTuneExecutor(settings, workers=WORKERS)


def one(name: str) -> float:
    """Milliseconds for each candidate, of a search of two jobs each on a warm executor."""
    space = load_space("effnetv2")
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder) / "spool"
        executor = make_executor(name, WorkerSettings(spool=spool, runner=Nothing()))

        def search(candidates: int, file: str) -> float:
            with Ledger.create(Path(folder) / file) as ledger:
                inputs = StrategyInputs(space=space, reward=EFFICIENTNETV2_REWARD, budget=candidates)
                session = Session(
                    space=space,
                    strategy=make_strategy("random", inputs),
                    strategy_name="random",
                    executor=executor,
                    ledger=ledger,
                    spool=Spool(directory=spool),
                    evaluations=Evaluations(
                        hardware_fingerprint="none",
                        timing=lambda _: TimingSettings(resolution=32, batch_size=1),
                        task_fingerprint="none",
                        seeds=(0,),
                    ),
                    objectives=parse_objectives(["accuracy"]),
                    budget=Budget(candidates=candidates),
                    seed=0,
                    lag=2 * WORKERS,
                    reuse=Reuse(),
                    progress=Silent(),
                )
                started = time.perf_counter()
                session.run()
                return time.perf_counter() - started

        try:
            search(4, "warm.sqlite")
            return 1e3 * search(CANDIDATES, "timed.sqlite") / CANDIDATES
        finally:
            executor.close()


def main(names: list[str]) -> None:
    print(f"{CANDIDATES} candidates of two jobs that do nothing, effnetv2, {WORKERS} workers\n")
    print("| executor | ms a candidate: median | min | max | runs |\n|---|---|---|---|---|")
    for name in names or ["local", "ray"]:
        times = [one(name) for _ in range(REPEATS[name])]
        figures = (statistics.median(times), min(times), max(times))
        print(f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} | {len(times)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
