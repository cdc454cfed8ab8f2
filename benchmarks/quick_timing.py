"""Whether a quick timing ranks networks of about equal multiply-adds as a long one does.

    python benchmarks/quick_timing.py    30 networks of `tiny`, a long timing of 17 s each: nine minutes

Networks are drawn within 20 % of one number of multiply-adds, so that these say little about their order.
Quick is the product's own timing under a small budget, in a worker process. Long is written out here: steps
of network and reference in turns on the same clock until the time is over, and the median of the ratios.

Exits with 0 where Kendall's tau between quick and long is at least 0.85, quick costs at most a tenth of long,
and the tau of multiply-adds is at least 0.2 lower; else with 1. Costs are seconds from building a network to
its number, warm-up included.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from nas.measuring import run_jobs
from proxies.hardware import hardware_fingerprint, resolve_hardware, timing_settings
from proxies.records import TimeJob, TimingSettings
from proxies.worker import WorkerSettings
from search_spaces.architecture import Architecture, cost
from search_spaces.space import Space
from search_spaces.space_document import load_space

MACS_WITHIN = 0.2
LEAST_TAU = 0.85
MOST_COST = 0.1
LEAST_GAIN = 0.2
POOL = 4_000
WARM_UP_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How quick timing ranks, and what it costs."""

    tau: float
    macs_tau: float
    cost_share: float
    """Seconds of the quick timings over seconds of the long ones."""

    @property
    def problems(self) -> list[str]:
        """Which criteria are not met, as clauses; empty: all are."""
        found = []
        if not self.tau >= LEAST_TAU:
            found.append(f"tau {self.tau:.3f} is below {LEAST_TAU}")
        if not self.cost_share <= MOST_COST:
            found.append(f"quick costs {self.cost_share:.1%} of long, more than {MOST_COST:.0%}")
        if not self.tau - self.macs_tau >= LEAST_GAIN:
            found.append(f"multiply-adds rank as well: tau {self.macs_tau:.3f}")
        return found


def compare(
    quick: Sequence[float],
    long: Sequence[float],
    macs: Sequence[int],
    quick_seconds: Sequence[float],
    long_seconds: Sequence[float],
) -> Comparison:
    """From one number of each kind for each network."""
    return Comparison(
        tau=float(kendalltau(quick, long).statistic),
        macs_tau=float(kendalltau(macs, long).statistic),
        cost_share=sum(quick_seconds) / sum(long_seconds),
    )


def equal_in_macs(space: Space, count: int, resolution: int, rng: np.random.Generator) -> list[Architecture]:
    """Different members within `MACS_WITHIN` of the median of the space.

    Raises:
        ValueError: there are not that many.
    """
    genes = space.sample(rng, POOL)
    members = {arch.digest: arch for arch in (space.decode(row) for row in genes)}
    macs = {digest: cost(arch, resolution).macs for digest, arch in members.items()}
    middle = float(np.median(list(macs.values())))
    near = [members[digest] for digest in members if abs(macs[digest] / middle - 1) <= MACS_WITHIN]
    if len(near) < count:
        raise ValueError(f"{len(near)} networks of {POOL} drawn are within {MACS_WITHIN:.0%} of {middle:.3g}")
    return near[:count]


def quick_timings(archs: Sequence[Architecture], settings: TimingSettings) -> list[tuple[float, float, str]]:
    """Ratio to the reference, seconds and status of each, by the product."""
    hardware = resolve_hardware("cpu")
    jobs = [
        TimeJob(
            digest=arch.digest,
            architecture=arch.to_document(),
            hardware_fingerprint=hardware_fingerprint(hardware, threads=settings.threads),
            settings=settings,
        )
        for arch in archs
    ]
    with tempfile.TemporaryDirectory() as folder:
        worker = WorkerSettings(hardware=hardware, timeout_seconds=300.0, baselines=Path(folder))
        outcomes = run_jobs(jobs, worker)
    for outcome in outcomes:
        if "step_ratio" not in outcome.metrics:
            raise RuntimeError(f"{outcome.digest[:8]}: {outcome.status}: {outcome.reason}")
    return [(each.metrics["step_ratio"], each.seconds, each.status) for each in outcomes]


def long_timing(arch: Architecture, settings: TimingSettings, seconds: float) -> tuple[float, float, int]:
    """Ratio to the reference, seconds and pairs of steps, by the plainest means."""
    import torch

    from proxies.cpu_backend import CpuBackend
    from proxies.reference_network import REFERENCE
    from proxies.training_step import TrainingStep
    from search_spaces.network import build

    backend, start = CpuBackend(), time.perf_counter()
    with backend.prepared(settings):
        sides = [
            TrainingStep(build(each, settings.num_classes), settings, device=torch.device("cpu"))
            for each in (arch, REFERENCE)
        ]
        for side in sides:
            backend.time_steps(side, WARM_UP_STEPS)
        ratios = []
        while time.perf_counter() < start + seconds:
            (mine,), (other,) = (backend.time_steps(side, 1) for side in sides)
            ratios.append(mine / other)
    return float(np.median(ratios)), time.perf_counter() - start, len(ratios)


def main(arguments: Sequence[str]) -> int:
    """Time everything both ways and print the table."""
    options = _options(arguments)
    space = load_space(options.space)
    archs = equal_in_macs(space, options.networks, options.resolution, np.random.default_rng(0))
    settings = timing_settings(
        resolve_hardware("cpu").profile,
        archs[0],
        resolution=options.resolution,
        batch_size=options.batch,
        budget_seconds=options.quick_seconds,
    )
    quick = quick_timings(archs, settings)
    long = [long_timing(arch, settings, options.long_seconds) for arch in archs]
    macs = [cost(arch, settings.resolution).macs for arch in archs]
    found = compare(
        [ratio for ratio, _, _ in quick],
        [ratio for ratio, _, _ in long],
        macs,
        [seconds for _, seconds, _ in quick],
        [seconds for _, seconds, _ in long],
    )
    print(
        f"{len(archs)} members of {options.space}, training steps at {settings.resolution} px, "
        f"batch {settings.batch_size}\n"
    )
    print("| network | MACs | quick ratio | long ratio | pairs of the long |\n|---|---|---|---|---|")
    for arch, number, (one, _, _), (two, _, pairs) in sorted(
        zip(archs, macs, quick, long, strict=True), key=lambda row: row[3][0]
    ):
        print(f"| {arch.digest[:8]} | {number:,} | {one:.3f} | {two:.3f} | {pairs} |")
    accepted = sum(status == "ok" for _, _, status in quick)
    print(f"\nquick timings accepted at their tolerance of {settings.tolerance:.0%}: {accepted}")
    print(f"Kendall's tau with the long timing: quick {found.tau:.3f}, multiply-adds {found.macs_tau:.3f}")
    print(f"a quick timing costs {found.cost_share:.1%} of a long one")
    print("; ".join(found.problems) or "all criteria are met")
    return 1 if found.problems else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--quick-seconds", type=float, default=1.0)
    parser.add_argument("--long-seconds", type=float, default=17.0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
