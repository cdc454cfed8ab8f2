"""A small finished run on disk, as a search would leave it, without a search."""

from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from results.directory import RunDirectory
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv

SETTINGS = TimingSettings(resolution=64, batch_size=8)
CONFIG = {
    "schema": "nas.run/1",
    "config": {"space": "tiny", "hardware": "cpu", "executor": "local", "candidates": 5},
    "objectives": ["accuracy:maximize", "step_ms:minimize", "params:minimize"],
    "jobs_per_candidate": {"time": 1, "train": 1},
    "hardware": {"profile": "cpu", "device": "Test CPU"},
}
MEASURED = {0: (0.5, 10.0), 1: (0.7, 20.0), 2: (0.6, 30.0), 3: (0.8, 40.0)}
"""Accuracy and step time; number 2 is dominated by number 1, number 4 broke."""


def architecture(number):
    return Architecture(
        stem=Stem(width=8),
        stages=(Stage(stride=2, depth=1, width=8 + number, block=FusedMBConv(expand=1)),),
        head=Head(width=32),
    )


def timing(digest, step_ms, *, status="ok", reason=None):
    job = TimeJob(digest=digest, architecture={}, hardware_fingerprint="here", settings=SETTINGS)
    metrics = {
        "step_ms": step_ms,
        "step_ms_low": 0.98 * step_ms,
        "step_ms_high": 1.02 * step_ms,
        "step_ratio": step_ms / 10,
        "images_per_second": 8e3 / step_ms,
    }
    return Outcome(
        key=job.key,
        kind="time",
        digest=digest,
        status=status,
        reason=reason,
        metrics=metrics if status in ("ok", "unstable") else {},
        details={"hardware": CONFIG["hardware"], "settings": SETTINGS.model_dump()},
        seconds=1.5,
    )


def training(digest, accuracy):
    job = TrainJob(digest=digest, architecture={}, task_fingerprint="task", seed=0)
    return Outcome(
        key=job.key, kind="train", digest=digest, status="ok", metrics={"accuracy": accuracy}, seconds=4.0
    )


def make_run(path, *, status="ok", reason=None):
    """Five candidates: four measured (their timings ended with `status`), one broken."""
    with RunDirectory.create(path, hint="tiny", config=CONFIG) as directory, directory.ledger() as ledger:
        for number in range(5):
            arch = architecture(number)
            ledger.add_candidate(
                digest=arch.digest,
                architecture=arch.to_document(),
                cost=cost(arch, 64),
                resolution=64,
                origin="random",
                proposal_index=number,
            )
            if number in MEASURED:
                accuracy, step_ms = MEASURED[number]
                ledger.record(timing(arch.digest, step_ms, status=status, reason=reason))
                ledger.record(training(arch.digest, accuracy))
            else:
                ledger.record(timing(arch.digest, 1.0, status="oom", reason="out of\nmemory \x1b[31m"))
    return path
