"""Small candidates and outcomes for the tests of `results`, made as the product makes them."""

from hypothesis import HealthCheck, settings

from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

LAW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: how fast the machine is right now says nothing about a law."""

SETTINGS = TimingSettings(resolution=64, batch_size=8)
HARDWARE = "cpu-test"


def architecture(number):
    """One of many small, different networks."""
    return Architecture(
        stem=Stem(width=8),
        stages=(
            Stage(stride=2, depth=1, width=8 + number, block=FusedMBConv(expand=1)),
            Stage(stride=2, depth=2, width=16, block=MBConv(expand=4)),
        ),
        head=Head(width=32),
    )


def add_candidate(ledger, number, **changes):
    arch = architecture(number)
    given = {
        "digest": arch.digest,
        "architecture": arch.to_document(),
        "cost": cost(arch, 64, 10),
        "resolution": 64,
        "origin": "random",
        "proposal_index": number,
    }
    return ledger.add_candidate(**(given | changes))


def timing(number, step_ms=10.0, *, status="ok", reason=None, hardware=HARDWARE, **changes):
    """A timing of network `number`, with a 95 % interval of +-2 %."""
    digest = architecture(number).digest
    job = TimeJob(digest=digest, architecture={}, hardware_fingerprint=hardware, settings=SETTINGS)
    metrics = {
        "step_ms": step_ms,
        "step_ms_low": 0.98 * step_ms,
        "step_ms_high": 1.02 * step_ms,
        "step_ratio": step_ms / 10,
    }
    given = {
        "key": job.key,
        "kind": "time",
        "digest": digest,
        "status": status,
        "reason": reason,
        "metrics": metrics if status in ("ok", "unstable") else {},
        "details": {"device": hardware, "settings": SETTINGS.model_dump()},
        "seconds": 1.5,
    }
    return Outcome(**(given | changes))


def training(number, accuracy=0.5, *, seed=0, status="ok", reason=None, **changes):
    """A training of network `number`."""
    digest = architecture(number).digest
    job = TrainJob(digest=digest, architecture={}, task_fingerprint="task", seed=seed)
    given = {
        "key": job.key,
        "kind": "train",
        "digest": digest,
        "status": status,
        "reason": reason,
        "metrics": {"accuracy": accuracy, "train_loss_sum": 3.0} if status == "ok" else {},
        "details": {"seed": seed, "curve": [[1, accuracy / 2], [2, accuracy]]},
        "seconds": 4.0,
    }
    return Outcome(**(given | changes))
