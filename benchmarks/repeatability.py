"""Whether a step time measured twice is the same twice, beside a neighbour that computes half of the time.

    python benchmarks/repeatability.py             20 networks of `tiny`, two processes each: ten minutes
    python benchmarks/repeatability.py --control   the same criteria, without the method: must not be met

Exits with 0 where at least three quarters of the networks are accepted both times, their two ratios to the
reference network agree within 5 %, and the median of the differences is at most 3 %; else with 1.

The second process takes the networks in the opposite order, so that a neighbour's habit meets other ones.

With `--control` a step is timed as it often is: by the wall clock, one network's steps in a row, the
reference once and before all others. During the second process, neighbour and timing share one core. That
the criteria are then missed says that the neighbour matters and that they can be.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from nas.measuring import run_jobs
from proxies.hardware import ResolvedHardware, hardware_fingerprint, resolve_hardware, timing_settings
from proxies.records import Outcome, TimeJob, TimingSettings
from proxies.worker import WorkerSettings
from search_spaces.architecture import Architecture
from search_spaces.space_document import load_space

LEAST_ACCEPTED = 0.75
MOST_APART = 0.05
MOST_APART_IN_THE_MIDDLE = 0.03
BUSY_SECONDS = 4.0
"""The neighbour works this long, then sleeps as long."""
BUDGET_SECONDS = 12.0
CONTROL_SHARE = 0.25
"""Of the budget, what a series of the control takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A network's ratio to the reference in one of the two processes; None: it could not be timed."""

    ratio: float | None
    is_accepted: bool
    seconds: float
    reason: str | None = None
    """Why it is not accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What two timings of each network say. Differences are |second / first - 1| of the accepted ones."""

    networks: int
    differences: tuple[float, ...]

    @property
    def problems(self) -> list[str]:
        """Which criteria are not met, as clauses; empty: all are."""
        found = []
        accepted = len(self.differences)
        if accepted < LEAST_ACCEPTED * self.networks:
            found.append(f"only {accepted} of {self.networks} networks were accepted twice")
        if not self.differences:
            return found
        if max(self.differences) > MOST_APART:
            found.append(f"two ratios are {max(self.differences):.1%} apart, more than {MOST_APART:.0%}")
        if median(self.differences) > MOST_APART_IN_THE_MIDDLE:
            found.append(
                f"the median difference is {median(self.differences):.1%}, "
                f"more than {MOST_APART_IN_THE_MIDDLE:.0%}"
            )
        return found


def agreement(first: Sequence[Timed], second: Sequence[Timed]) -> Agreement:
    """Of two timings of the same networks, in the same order."""
    return Agreement(
        networks=len(first),
        differences=tuple(
            abs(two.ratio / one.ratio - 1)
            for one, two in zip(first, second, strict=True)
            if one.is_accepted and two.is_accepted and one.ratio and two.ratio
        ),
    )


def timed_by_the_method(
    archs: Sequence[Architecture], hardware: ResolvedHardware, settings: TimingSettings, baselines: Path
) -> list[Timed]:
    """As `nas measure` and a search do it, in one worker process."""
    fingerprint = hardware_fingerprint(hardware, threads=settings.threads)
    jobs = [
        TimeJob(
            digest=arch.digest,
            architecture=arch.to_document(),
            hardware_fingerprint=fingerprint,
            settings=settings,
        )
        for arch in archs
    ]
    outcomes = run_jobs(jobs, WorkerSettings(hardware=hardware, timeout_seconds=300.0, baselines=baselines))
    return [_timed(outcome) for outcome in outcomes]


def _timed(outcome: Outcome) -> Timed:
    if outcome.status != "ok":
        print(f"{outcome.digest[:8]}: {outcome.status}: {outcome.reason}", file=sys.stderr)
    return Timed(
        ratio=outcome.metrics.get("step_ratio"),
        is_accepted=outcome.status == "ok",
        seconds=outcome.seconds,
        reason=outcome.reason,
    )


def timed_in_a_row(
    documents: Sequence[dict[str, object]],
    settings: TimingSettings,
    core: int | None,
    reference_ms: list[float],
) -> tuple[list[Timed], list[float]]:
    """The control: the wall clock, one network after the other, the reference first if it has no times yet.

    Returns the times of the reference, too. `core` is where this process is kept.
    """
    from proxies.cpu_backend import CpuBackend
    from proxies.reference_network import REFERENCE
    from search_spaces.document import architecture_from_document

    if core is not None:
        os.sched_setaffinity(0, {core})
    with CpuBackend().prepared(settings):
        reference_ms = reference_ms or _series(REFERENCE, settings)
        timed = []
        for document in documents:
            start = time.perf_counter()
            series = _series(architecture_from_document(document), settings)
            timed.append(_judged(series, reference_ms, settings, time.perf_counter() - start))
    return timed, reference_ms


def _series(arch: Architecture, settings: TimingSettings) -> list[float]:
    """Milliseconds of steps in a row on the wall clock, the first ones left out."""
    import torch

    from proxies.training_step import TrainingStep
    from search_spaces.network import build

    step = TrainingStep(build(arch, settings.num_classes), settings, device=torch.device("cpu"))
    for _ in range(5):
        step()
    times: list[float] = []
    until = time.perf_counter() + CONTROL_SHARE * settings.budget_seconds
    while len(times) < 10 or time.perf_counter() < until:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _judged(
    series: list[float], reference_ms: list[float], settings: TimingSettings, seconds: float
) -> Timed:
    from proxies.step_statistics import judge

    pairs = min(len(series), len(reference_ms))
    verdict = judge(
        series[:pairs], reference_ms[:pairs], tolerance=settings.tolerance, rng=np.random.default_rng(0)
    )
    return Timed(ratio=verdict.ratio, is_accepted=not verdict.reasons, seconds=seconds)


@contextmanager
def neighbour(*, idle_seconds: float = BUSY_SECONDS, core: int | None = None) -> Iterator[None]:
    """A process that computes beside us, with pauses; on one core if that is given."""
    process = multiprocessing.get_context("spawn").Process(
        target=_compute, args=(idle_seconds, core, os.getpid()), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _compute(idle_seconds: float, core: int | None, parent: int) -> None:
    """Products and streams through memory on one thread, until the parent is gone."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if core is not None:
        os.sched_setaffinity(0, {core})
    matrix, stream = np.full((256, 256), 1e-3), np.zeros(4_000_000)
    while os.getppid() == parent:
        until = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < until:
            matrix @ matrix
            np.add(stream, 1.0, out=stream)
        time.sleep(idle_seconds)


def twice(
    archs: Sequence[Architecture], hardware: ResolvedHardware, settings: TimingSettings
) -> tuple[list[Timed], list[Timed]]:
    """Both timings by the method, the neighbour at work half of the time."""
    with tempfile.TemporaryDirectory() as folder, neighbour():
        first = timed_by_the_method(archs, hardware, settings, Path(folder))
        second = timed_by_the_method(archs[::-1], hardware, settings, Path(folder))
    return first, second[::-1]


def twice_without_the_method(
    archs: Sequence[Architecture], settings: TimingSettings
) -> tuple[list[Timed], list[Timed]]:
    """Both timings of the control: alone, then on one core with the neighbour."""
    documents = [arch.to_document() for arch in archs]
    core = min(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        first, reference_ms = pool.apply(timed_in_a_row, (documents, settings, None, []))
        with neighbour(idle_seconds=0.0, core=core):
            second, _ = pool.apply(timed_in_a_row, (documents[::-1], settings, core, reference_ms))
    return first, second[::-1]


def main(arguments: Sequence[str]) -> int:
    """Time everything twice and print the table."""
    options = _options(arguments)
    space = load_space(options.space)
    archs = [space.decode(row) for row in space.sample(np.random.default_rng(0), options.networks)]
    hardware = resolve_hardware("cpu")
    settings = timing_settings(
        hardware.profile,
        archs[0],
        resolution=options.resolution,
        batch_size=options.batch,
        budget_seconds=options.budget_seconds,
    )
    start = time.perf_counter()
    if options.control:
        first, second = twice_without_the_method(archs, settings)
    else:
        first, second = twice(archs, hardware, settings)
    found = agreement(first, second)
    print(
        f"{'control: ' if options.control else ''}{len(archs)} members of {options.space}, training steps at "
        f"{settings.resolution} px, batch {settings.batch_size}, {time.perf_counter() - start:.0f} s in all\n"
    )
    print("| network | ratio to the reference | again | apart | accepted |\n|---|---|---|---|---|")
    for arch, one, two in zip(archs, first, second, strict=True):
        apart = f"{two.ratio / one.ratio - 1:+.1%}" if one.ratio and two.ratio else "-"
        accepted = " ".join("yes" if each.is_accepted else "no" for each in (one, two))
        print(f"| {arch.digest[:8]} | {_shown(one.ratio)} | {_shown(two.ratio)} | {apart} | {accepted} |")
    print(f"\naccepted twice: {len(found.differences)} of {found.networks}")
    if found.differences:
        print(f"apart: median {median(found.differences):.1%}, at most {max(found.differences):.1%}")
    print("; ".join(found.problems) or "all criteria are met")
    return 1 if found.problems else 0


def _shown(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--budget-seconds", type=float, default=BUDGET_SECONDS)
    parser.add_argument("--control", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
