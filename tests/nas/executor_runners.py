"""Jobs for the executors' conformance suite: each does what its digest says. Workers import this module."""

import time
from dataclasses import dataclass
from typing import Any

from proxies.records import Outcome, TimeJob, TrainJob

NUM_STEPS = 5


@dataclass(frozen=True)
class ScriptedRunner:
    """`ok`; `steps`: reports, then ok; `obedient`: reports until told to stop; `fail`; `deaf`: never ends."""

    def run(self, job: TimeJob | TrainJob, report: Any) -> Outcome:
        status = "ok"
        if job.digest == "fail":
            raise ValueError("as asked")
        if job.digest == "steps":
            for step in range(1, NUM_STEPS + 1):
                report(step, {"accuracy": step / 10})
        if job.digest == "obedient":
            step, status = 1, "stopped"
            while report(step, {"accuracy": 0.5}) == "continue":
                step += 1
                time.sleep(0.02)
        if job.digest == "deaf":
            report(1, {"accuracy": 0.0})
            time.sleep(60)
        return Outcome.model_validate(
            {
                "key": job.key,
                "kind": job.kind,
                "digest": job.digest,
                "status": status,
                "metrics": {"accuracy": 0.5},
            }
        )


def job(does: str, seed: int = 0) -> TrainJob:
    return TrainJob(digest=does, architecture={"does": does}, task_fingerprint="scripted", seed=seed)
