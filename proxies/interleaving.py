"""The measuring itself: warm up, run candidate and reference in turn, judge, try again.

Blocks run A B, B A, A B, ..., so that whatever changes the machine's speed meets both networks. Nothing here
knows what a step is or what the device is: see `training_step` and `backend`.
"""

import math
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np

from proxies.backend import Backend, Conditions, Step, conditions
from proxies.step_statistics import MIN_PAIRS, Verdict, drift, is_steady, judge

MAX_ATTEMPTS = 3
MAX_PAIRS = 200
FEWEST_PAIRS = 3
"""A measurement of which fewer pairs fit into the budget is not begun."""
WARM_UP_SHARE = 0.2
"""Of the budget, the most that the warm-up of one network may take."""
STEADY_TOLERANCE = 0.05
LONG_ENOUGH = 2
"""An attempt leaves time to the next one only after this many times the fewest pairs, and where the fewest
still fit: slow networks and busy machines get one long attempt."""
MIN_SERIES_SECONDS = 2.0
"""A shorter series could lie inside one burst of other work, and be sharp and wrong."""
AIM = 0.4
"""A series goes on until its interval is this share of the tolerance, or its time is over: better than needed
where that is cheap."""
CHEAP_SHARE, FINE = 0.25, 0.03
"""After this share of its time, a series whose interval is this fine and within the tolerance ends, too."""
BACK_OFF_SECONDS = 0.25
"""Pause before the second attempt; twice that before the third."""


class StepTooSlowError(Exception):
    """A step takes so long that no interval fits into the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """The steps before anything counted. `first_ms` includes initialisation and any compilation."""

    steps: int
    first_ms: float
    last_ms: float
    steady: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The mean step of each block in milliseconds, in the order taken; those at one place are a pair."""

    candidate_ms: tuple[float, ...]
    reference_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One series of pairs, what it says, and what happened around it. Accepted when `reasons` is empty."""

    verdict: Verdict
    conditions: Conditions
    reasons: tuple[str, ...]
    drift: float | None = None
    """How far the reference was from its baseline, relative to it; positive is slower. None: no baseline."""
    is_off_baseline: bool = False
    """Whether that is too far, which is then one of the reasons."""
    series: Series | None = None
    """The times that the verdict is of."""

    @property
    def is_evidence(self) -> bool:
        """Whether its time of the reference can be trusted: nothing else is wrong with it."""
        return len(self.reasons) == int(self.is_off_baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """Steps in one block of each network."""

    candidate: int
    reference: int
    pair_seconds: float


def warm_up(step: Step, first_ms: float, budget_seconds: float, backend: Backend) -> WarmUp:
    """Run `step` until it no longer gets faster, within a share of the budget; at least one more step."""
    until = backend.now() + WARM_UP_SHARE * budget_seconds
    times: list[float] = []
    steady = False
    while not steady:
        times += backend.time_steps(step, 1)
        enough = len(times) >= backend.pace.warm_up_steps
        steady = enough and is_steady(times, tolerance=STEADY_TOLERANCE)
        if backend.now() + times[-1] / 1e3 > until:
            break
    last_ms = median(times[-max(1, len(times) // 4) :])
    return WarmUp(steps=len(times) + 1, first_ms=first_ms, last_ms=last_ms, steady=steady)


def plan_blocks(candidate_ms: float, reference_ms: float, backend: Backend) -> BlockPlan:
    """Blocks of about equal length: the slower network's step, or the pace's block if that is longer."""
    pace = backend.pace
    target_ms = max(candidate_ms, reference_ms, pace.block_ms)

    def steps(step_ms: float) -> int:
        return min(pace.most_steps, max(1, round(target_ms / step_ms)))

    candidate, reference = steps(candidate_ms), steps(reference_ms)
    lead_in = pace.lead_in_steps
    pair_ms = candidate_ms * (candidate + lead_in) + reference_ms * (reference + lead_in)
    return BlockPlan(candidate=candidate, reference=reference, pair_seconds=pair_ms / 1e3)


def interleave(
    candidate: Step,
    reference: Step,
    plan: BlockPlan,
    *,
    backend: Backend,
    rng: np.random.Generator,
    tolerance: float,
    deadline: float,
    baseline_ms: float | None = None,
) -> tuple[Attempt, ...]:
    """Up to three attempts, the last of them accepted if any is. `deadline` is on the backend's clock.

    Raises:
        StepTooSlowError: fewer than three pairs fit before the deadline.
    """
    if backend.now() + FEWEST_PAIRS * plan.pair_seconds > deadline:
        raise StepTooSlowError(
            f"a pair of blocks takes {plan.pair_seconds:.2g} s, so an interval does not fit into the budget; "
            "lower the resolution or the batch, or raise budget_seconds in the hardware profile"
        )
    attempts: list[Attempt] = []
    while True:
        start = backend.now()
        last = len(attempts) + 1 == MAX_ATTEMPTS
        series, verdict, around = _series(
            candidate,
            reference,
            plan,
            backend=backend,
            rng=rng,
            tolerance=tolerance,
            until=deadline if last else (start + deadline) / 2,
            deadline=deadline,
        )
        judged = _judged(verdict, around, backend=backend, tolerance=tolerance, baseline_ms=baseline_ms)
        attempts.append(replace(judged, series=series))
        pause = BACK_OFF_SECONDS * len(attempts)
        pair_seconds = (backend.now() - start) / attempts[-1].verdict.pairs
        needed = pause + MIN_PAIRS * pair_seconds
        if not attempts[-1].reasons or last or backend.now() + needed > deadline:
            return tuple(attempts)
        backend.wait(pause)


def _judged(
    verdict: Verdict, around: Conditions, *, backend: Backend, tolerance: float, baseline_ms: float | None
) -> Attempt:
    reasons = [*verdict.reasons, *around.complaints(counts_waiting=backend.counts_waiting)]
    if baseline_ms is None:
        return Attempt(verdict=verdict, conditions=around, reasons=tuple(reasons))
    away = drift(verdict.reference_ms, baseline_ms)
    is_off = abs(away) > backend.pace.drift_per_tolerance * tolerance
    if is_off:
        reasons.append(
            f"the reference took {verdict.reference_ms:.3g} ms, {away:+.0%} from its {baseline_ms:.3g} ms"
        )
    return Attempt(
        verdict=verdict, conditions=around, reasons=tuple(reasons), drift=away, is_off_baseline=is_off
    )


def _series(
    candidate: Step,
    reference: Step,
    plan: BlockPlan,
    *,
    backend: Backend,
    rng: np.random.Generator,
    tolerance: float,
    until: float,
    deadline: float,
) -> tuple[Series, Verdict, Conditions]:
    """Pairs in rotating order, judged at 6, 9, 14, ... of them, until sharp or out of time.

    Where the times do no more than scatter, beginning anew would only throw pairs away: then the series goes
    on to the deadline.
    """
    candidate_ms: list[float] = []
    reference_ms: list[float] = []

    def candidate_block() -> None:
        candidate_ms.append(_block_ms(candidate, plan.candidate, backend))

    def reference_block() -> None:
        reference_ms.append(_block_ms(reference, plan.reference, backend))

    before, start, look = backend.observe(), backend.now(), MIN_PAIRS
    while True:
        order = (candidate_block, reference_block)
        for block in order if len(candidate_ms) % 2 == 0 else reversed(order):
            block()
        pairs = len(candidate_ms)
        pair_seconds = (backend.now() - start) / pairs
        has_next = backend.now() + MIN_PAIRS * pair_seconds <= deadline
        is_last = backend.now() + pair_seconds > deadline or pairs >= MAX_PAIRS
        is_early = has_next and pairs >= LONG_ENOUGH * MIN_PAIRS and backend.now() + pair_seconds > until
        if pairs == look or is_early or is_last:
            verdict = judge(candidate_ms, reference_ms, tolerance=tolerance, rng=rng)
            spent = backend.now() - start
            is_cheap = spent < CHEAP_SHARE * (deadline - start)
            aim = AIM * tolerance if is_cheap else max(AIM * tolerance, min(tolerance, FINE))
            is_sharp = not verdict.reasons and verdict.half_width <= aim and spent >= MIN_SERIES_SECONDS
            if is_sharp or is_early or is_last:
                around = conditions(before, backend.observe())
                is_disturbed = bool(around.complaints(counts_waiting=backend.counts_waiting))
                if is_sharp or is_last or is_disturbed or not verdict.is_only_wide:
                    series = Series(candidate_ms=tuple(candidate_ms), reference_ms=tuple(reference_ms))
                    return series, verdict, around
                until = deadline
            look = math.ceil(max(look, pairs) * 1.5)


def _block_ms(step: Step, count: int, backend: Backend) -> float:
    """The mean step of one block. Blocks are about equally long, so a burst of other work hits both alike;
    a median inside the block would forgive it to the network with more steps in its blocks."""
    lead_in = backend.pace.lead_in_steps
    return fmean(backend.time_steps(step, lead_in + count)[lead_in:])
