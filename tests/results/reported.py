"""Runs for the tests of the report, made as a search makes them, and what a written report holds."""

import json
import re

import numpy as np
from recorded import SETTINGS

from proxies.records import Outcome, TimeJob, TrainJob
from results.confirmations import CONFIRMATIONS_NAME
from results.directory import RunDirectory
from results.ledger import Ledger
from search_spaces.architecture import cost
from search_spaces.space_document import load_space

HARDWARE = {"profile": "cpu", "device": "Test CPU", "torch": "2.13.0", "fingerprint": "a" * 64}
CONFIG = {
    "schema": "nas.run/1",
    "config": {"space": "tiny", "hardware": "cpu", "candidates": 9},
    "objectives": ["accuracy:maximize", "step_ms:minimize", "params:minimize"],
    "jobs_per_candidate": {"time": 1, "train": 1},
    "task": {"name": "quick", "fingerprint": "b" * 64},
    "hardware": HARDWARE,
    "versions": {"python": "3.11.7"},
}
HOSTILE = "</script><script>document.title='taken'</script><!--<script>&amp;\u2028' \" ${1} {{title}}"
"""Text that would end a script element, begin one, or be filled in, if it could."""


def sampled(space="tiny", count=6, seed=0):
    """Networks of a shipped space, each once."""
    found = load_space(space)
    rng = np.random.default_rng(seed)
    networks = {}
    while len(networks) < count:
        drawn = (found.decode(genes) for genes in found.sample(rng, count))
        networks |= {arch.digest: arch for arch in drawn}
    return list(networks.values())[:count], found.resolution


def make_run(path, *, space="tiny", count=6, seed=0, config=CONFIG, reason="out of memory", finished=True):
    """Networks of a space: every fifth broke, the others measured, accuracy and time rising with size."""
    networks, resolution = sampled(space, count, seed)
    rng = np.random.default_rng(seed + 1)
    with RunDirectory.create(path, hint="run", config=config, root=path.parent) as directory:
        directory.log("started")
        with directory.ledger() as ledger:
            ledger._connection.execute("PRAGMA synchronous=OFF")  # no power is cut here
            for number, arch in enumerate(networks):
                file_candidate(ledger, arch, resolution, number, rng, reason=reason)
        if finished:
            directory.log("finished")
    return path


def file_candidate(ledger, arch, resolution, number, rng, *, reason):
    exact = cost(arch, resolution)
    ledger.add_candidate(
        digest=arch.digest,
        architecture=arch.to_document(),
        cost=exact,
        resolution=resolution,
        origin="surrogate" if number % 2 else "random",
        proposal_index=number,
    )
    size = np.log10(exact.params)
    if number % 5 == 4:
        ledger.record(outcome("time", arch.digest, {}, status="oom", reason=reason))
        return
    step_ms = float(np.exp(rng.normal(size - 4, 0.3)))
    times = {"step_ms": step_ms, "step_ms_low": 0.98 * step_ms, "step_ms_high": 1.03 * step_ms}
    ledger.record(outcome("time", arch.digest, times | {"step_ratio": step_ms / 10}))
    accuracy = float(np.clip(rng.normal(0.1 * size, 0.05), 0.01, 0.99))
    ledger.record(outcome("train", arch.digest, {"accuracy": accuracy, "train_loss_sum": 3.25}))


def confirm_front(run, *, seed=0):
    """One fresh timing and training of each member of the front, a little worse than the search's own."""
    rng = np.random.default_rng(seed)
    with Ledger.create(run.path / CONFIRMATIONS_NAME) as ledger:
        for member in run.pareto():
            step_ms = member.step_ms * float(rng.uniform(1.0, 1.1))
            accuracy = member.accuracy - float(rng.uniform(0.0, 0.04))
            ledger.record(outcome("time", member.digest, {"step_ms": step_ms}, seed=1))
            ledger.record(outcome("train", member.digest, {"accuracy": accuracy}, seed=1))


def outcome(kind, digest, metrics, *, status="ok", reason=None, seed=0):
    """An outcome of a job; of a timing `seed` counts the repeats."""
    if kind == "time":
        job = TimeJob(
            digest=digest, architecture={}, hardware_fingerprint="here", settings=SETTINGS, repeat=seed
        )
        details = {"hardware": HARDWARE, "settings": SETTINGS.model_dump(), "method": {"attempts": []}}
    else:
        job = TrainJob(digest=digest, architecture={}, task_fingerprint="task", seed=seed)
        accuracy = metrics["accuracy"]
        curve = [[step, {"accuracy": accuracy * (1 - 0.5**step), "loss": 1.0}] for step in range(1, 7)]
        details = {"torch": "2.13.0", "threads": 1, "learning_curve": curve}
    return Outcome(
        key=job.key,
        kind=kind,
        digest=digest,
        status=status,
        reason=reason,
        metrics=metrics,
        details=details,
        seconds=2.5,
    )


def content_of(page):
    """What a browser would parse out of the page's block of data."""
    (block,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return json.loads(block)


__all__ = ["CONFIG", "HOSTILE", "confirm_front", "content_of", "file_candidate", "make_run", "sampled"]
