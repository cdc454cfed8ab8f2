"""A ledger of any number of settled candidates, written in one transaction."""

from pathlib import Path

import numpy as np
from replayed import lawful

from nas.evaluations import Evaluations
from proxies.records import TimeJob, TimingSettings, TrainJob
from results.entries import encode_architecture, encode_outcome
from results.ledger import Ledger
from search_spaces.architecture import cost
from search_spaces.space import Space

EVALUATIONS = Evaluations(
    hardware_fingerprint="hardware",
    timing=lambda _: TimingSettings(resolution=32, batch_size=8),
    task_fingerprint="task",
    seeds=(0,),
)


def fill(path: Path, space: Space, candidates: int) -> None:
    """A new ledger with a timing and a training each. The digests are made up, and the networks all one."""
    arch = space.decode(space.sample(np.random.default_rng(0)))
    costs, document = cost(arch, space.resolution), encode_architecture(arch.to_document(), "")
    settings = EVALUATIONS.timing(arch)
    insert = f"INSERT INTO candidates VALUES ({', '.join('?' * 11)})"
    with Ledger.create(path) as ledger, ledger._transaction():
        for number in range(candidates):
            digest = f"{number:064x}"
            row = (number + 1, digest, document, *costs, space.resolution, "random", number, 0.0)
            ledger._connection.execute(insert, row)
            jobs = (
                TimeJob(digest=digest, architecture={}, hardware_fingerprint="hardware", settings=settings),
                TrainJob(digest=digest, architecture={}, task_fingerprint="task", seed=0),
            )
            for job in jobs:
                ledger._insert(encode_outcome(lawful(job)), None)
