"""What tests send to the nodes of a cluster, which must be able to import it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from proxies.records import Outcome, TimeJob, TrainJob


@dataclass(frozen=True)
class OnlyHere:
    """A task whose data only one process has."""

    pid: int

    def fingerprint(self) -> str:
        if os.getpid() != self.pid:
            raise FileNotFoundError(f"no data in process {os.getpid()}")
        return "here"


@dataclass(frozen=True)
class TellNode:
    """Tells the process id of the node that a job was placed on, once so many jobs are at work together."""

    folder: Path
    together: int

    def run(self, job: TimeJob | TrainJob, report: object) -> Outcome:
        (self.folder / job.key).touch()
        while len(list(self.folder.iterdir())) < self.together:
            time.sleep(0.05)
        where = {"node": next(p.pid for p in psutil.Process().parents() if p.name() == "raylet")}
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", details=where)
