"""Step times beside neighbours that compute: what is accepted must be right, what is not must say why.

The truth is known beforehand: the reference network measured beside itself takes once its own time. A second
network, whose true ratio nobody knows, must at least get the same ratio each time that one is accepted.
"""

import contextlib
import multiprocessing
import os
import random
import sys
from pathlib import Path
from statistics import median

import numpy as np
from promises import Figures, require

from proxies.hardware import resolve_hardware, timing_settings
from proxies.records import TimingSettings
from proxies.reference_network import REFERENCE
from search_spaces.space_document import load_space

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from repeatability import Timed, neighbour, timed_by_the_method, timed_in_a_row

MOST_WRONG = 0.05
"""How far an accepted ratio may be from the truth: the tolerance that the timings are asked for."""
RESOLUTION, BATCH, BUDGET_SECONDS = 32, 16, 6.0
CONTROL_NEIGHBOURS = 4
"""On the one core of the control, so that they are felt however busy the machine is anyway."""


def noisy_neighbour(folder: Path, rng: random.Random, count: int, *, believe: bool = False) -> Figures:
    """Both networks, `count` times, with a neighbour for every core that works and rests by turns.

    `believe`: as times are often taken, by the wall clock and not side by side, and whatever comes out is
    accepted, which must be noticed.
    """
    space = load_space("tiny")
    other = space.decode(space.sample(np.random.default_rng(rng.randrange(2**32)), 1)[0])
    hardware = resolve_hardware("cpu")
    settings = timing_settings(
        hardware.profile,
        other,
        resolution=RESOLUTION,
        batch_size=BATCH,
        budget_seconds=BUDGET_SECONDS,
        tolerance=MOST_WRONG,
    )
    if believe:
        return judged([_in_a_row(settings)], [])
    own, others = [], []
    with contextlib.ExitStack() as neighbours:
        for _ in os.sched_getaffinity(0):
            neighbours.enter_context(neighbour(idle_seconds=rng.uniform(0.5, 4.0)))
        for _ in range(count):
            of_reference, of_other = timed_by_the_method((REFERENCE, other), hardware, settings, folder)
            own.append(of_reference)
            others.append(of_other)
    return judged(own, others)


def judged(own: list[Timed], others: list[Timed]) -> Figures:
    """The figures of timings of the reference beside itself, and of another network.

    Raises:
        Wrong: one that was accepted is too far off, or one that was not says no reason.
    """
    kept = [_ratio(each) for each in own if each.is_accepted]
    repeated = [_ratio(each) for each in others if each.is_accepted]
    for each in (*own, *others):
        require(each.is_accepted or bool(each.reason), "a timing was refused without a reason")
    errors = [abs(ratio - 1.0) for ratio in kept]
    middle = median(repeated) if repeated else 1.0
    spread = [abs(ratio / middle - 1.0) for ratio in repeated]
    for what, found in (("of the truth", errors), ("of one another", spread)):
        require(
            max(found, default=0.0) <= MOST_WRONG,
            f"accepted ratios are not right: {max(found, default=0.0):.1%} {what}",
        )
    return {
        "timings": len(own) + len(others),
        "accepted": len(kept) + len(repeated),
        "refused with a reason": len(own) + len(others) - len(kept) - len(repeated),
        "furthest from the truth": f"{max(errors):.1%}" if errors else "none accepted",
        "furthest from their median": f"{max(spread):.1%}" if spread else "none accepted",
    }


def _ratio(timed: Timed) -> float:
    assert timed.ratio is not None
    return timed.ratio


def _in_a_row(settings: TimingSettings) -> Timed:
    """The reference alone on a core, then once more with neighbours on it; taken for granted."""
    core = min(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(1) as pool, contextlib.ExitStack() as neighbours:
        _, reference_ms = pool.apply(timed_in_a_row, ([], settings, core, []))
        for _ in range(CONTROL_NEIGHBOURS):
            neighbours.enter_context(neighbour(idle_seconds=0.0, core=core))
        (timed,), _ = pool.apply(timed_in_a_row, ([REFERENCE.to_document()], settings, core, reference_ms))
    return Timed(ratio=timed.ratio, is_accepted=True, seconds=timed.seconds)
