"""A whole search whose jobs note on disk that they ran. Run as a script: RUN_DIR EXECUTOR CANDIDATES.

The executor is local, ray, or ray:ADDRESS of a cluster. Prints a line for each candidate that is settled,
"finished" at the end. Resumes what is there.
"""

import os
import sys
import time
from pathlib import Path

from nas.evaluations import Budget, Evaluations
from nas.executors.protocol import Executor
from nas.objectives import parse_objectives
from nas.progress import ProgressEvent
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

WORK_SECONDS = float(os.environ.get("NAS_TEST_WORK_SECONDS", "0.05"))


class NotingRunner:
    """Works for a moment, and notes on disk that the job was carried through."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def run(self, job: TimeJob | TrainJob, report: Report) -> Outcome:
        del report
        time.sleep(WORK_SECONDS)  # the work itself
        with self.notes.open("ab", buffering=0) as file:
            file.write(f"{job.key}\n".encode())
            os.fsync(file.fileno())
        number = int(job.digest[:6], 16) / 16**6
        metrics = {"step_ms": 1.0 + number} if job.kind == "time" else {"accuracy": number}
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics=metrics)


class Printing:
    def update(self, event: ProgressEvent) -> None:
        print(event.evaluated, flush=True)


def make_executor(name: str, settings: WorkerSettings) -> Executor:
    if name == "local":
        from nas.executors.local import LocalExecutor

        return LocalExecutor(settings, workers=2)
    from nas.executors.ray_tune import RayTuneExecutor

    return RayTuneExecutor(settings, workers=2, ray_address=name.partition(":")[2] or None)


def main(folder: Path, executor_name: str, candidates: int) -> None:
    space = load_space("tiny")
    spool = folder / "spool"
    path = folder / "ledger.sqlite"
    settings = WorkerSettings(spool=spool, runner=NotingRunner(folder / "notes"), preload=())
    inputs = StrategyInputs(space=space, reward=EFFICIENTNETV2_REWARD, budget=candidates)
    executor = make_executor(executor_name, settings)
    try:
        with Ledger.open(path) if path.exists() else Ledger.create(path) as ledger:
            Session(
                space=space,
                strategy=make_strategy("evolution", inputs),
                strategy_name="evolution",
                executor=executor,
                ledger=ledger,
                spool=Spool(directory=spool),
                evaluations=Evaluations(
                    hardware_fingerprint="none",
                    timing=lambda _: TimingSettings(resolution=32, batch_size=1),
                    task_fingerprint="none",
                    seeds=(0,),
                ),
                objectives=parse_objectives(["accuracy", "step_ms"]),
                budget=Budget(candidates=candidates),
                seed=0,
                lag=4,
                reuse=Reuse(),
                progress=Printing(),
            ).run()
    finally:
        executor.close()
    print("finished", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
