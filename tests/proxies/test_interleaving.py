import numpy as np
import pytest
from fake_device import FakeBackend, FakeStep

from proxies.backend import Observation, Pace, conditions
from proxies.interleaving import (
    AIM,
    BACK_OFF_SECONDS,
    MAX_ATTEMPTS,
    MAX_PAIRS,
    MIN_SERIES_SECONDS,
    Attempt,
    StepTooSlowError,
    interleave,
    plan_blocks,
    warm_up,
)
from proxies.step_statistics import MIN_PAIRS


def run(
    candidate: FakeStep,
    reference: FakeStep,
    backend: FakeBackend | None = None,
    *,
    tolerance: float = 0.03,
    budget_seconds: float = 60.0,
    baseline_ms: float | None = None,
    seed: int = 0,
) -> tuple[Attempt, ...]:
    backend = backend or FakeBackend()
    plan = plan_blocks(20.0, 10.0, backend)
    return interleave(
        candidate,
        reference,
        plan,
        backend=backend,
        rng=np.random.default_rng(seed),
        tolerance=tolerance,
        deadline=backend.now() + budget_seconds,
        baseline_ms=baseline_ms,
    )


def steps(noise: float = 0.01, seed: int = 0) -> tuple[FakeStep, FakeStep]:
    return FakeStep(20.0, noise=noise, seed=2 * seed), FakeStep(10.0, noise=noise, seed=2 * seed + 1)


# --- order and size of blocks -----------------------------------------------------------------------------


def test_blocks_alternate_and_change_their_order():
    backend = FakeBackend()
    candidate, reference = FakeStep(20.0), FakeStep(10.0)
    run(candidate, reference, backend)
    letters = "".join("A" if step is candidate else "B" for step in backend.order)
    assert len(letters) >= 2 * MIN_PAIRS
    assert letters == ("ABBA" * len(letters))[: len(letters)]


@pytest.mark.parametrize(
    ("candidate_ms", "reference_ms", "blocks"),
    [
        (500.0, 67.0, (1, 3)),  # the reference fills its block up to the most steps
        (10.0, 60.0, (3, 1)),
        (30.0, 30.0, (1, 1)),
        (10.0, 10.0, (3, 3)),
        (0.1, 0.1, (3, 3)),
    ],
)
def test_blocks_are_about_equally_long(candidate_ms, reference_ms, blocks):
    plan = plan_blocks(candidate_ms, reference_ms, FakeBackend())
    assert (plan.candidate, plan.reference) == blocks
    assert plan.pair_seconds == pytest.approx((candidate_ms * blocks[0] + reference_ms * blocks[1]) / 1e3)


def test_lead_in_steps_are_run_and_not_counted():
    """The first step of each block takes 100 times as long, as on a GPU with an empty queue."""
    pace = Pace(block_ms=30.0, most_steps=3, lead_in_steps=1, warm_up_steps=4)
    plan = plan_blocks(20.0, 10.0, FakeBackend(pace=pace))
    candidate = FakeStep(lambda n, now: 2000.0 if n % (plan.candidate + 1) == 1 else 20.0)
    (attempt,) = run(candidate, FakeStep(10.0), FakeBackend(pace=pace))
    assert attempt.verdict.ratio == 2.0


# --- when to stop -----------------------------------------------------------------------------------------


def test_a_clean_series_stops_soon_and_a_noisy_one_goes_on_until_it_is_sharp():
    backend = FakeBackend()
    (clean,) = run(*steps(0.001), backend)
    assert MIN_SERIES_SECONDS <= backend.now() - 1000.0 <= 2 * MIN_SERIES_SECONDS
    (noisy,) = run(*steps(0.06))
    assert noisy.verdict.pairs > clean.verdict.pairs
    assert noisy.verdict.half_width <= AIM * 0.03
    assert not clean.reasons
    assert not noisy.reasons


def test_a_series_has_an_end():
    attempts = run(*steps(0.5), budget_seconds=1e9)
    assert len(attempts) == MAX_ATTEMPTS
    assert [attempt.verdict.pairs for attempt in attempts] == [MAX_PAIRS] * MAX_ATTEMPTS


@pytest.mark.parametrize("budget_seconds", [0.5, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_the_budget_is_kept(budget_seconds, noise):
    backend = FakeBackend()
    start = backend.now()
    run(*steps(noise), backend, budget_seconds=budget_seconds)
    assert backend.now() - start <= budget_seconds * 1.1  # noise moves the last pair


def test_a_busy_machine_gets_one_long_attempt_instead_of_three_short_ones():
    """Waiting that the step clock does not see: each pair takes ten times as long by the wall."""
    backend = FakeBackend(waiting=9.0)
    (attempt,) = run(*steps(0.2), backend, budget_seconds=10.0)
    assert attempt.verdict.pairs == 14  # of 0.7 s each
    assert backend.pauses == []


def test_times_that_only_scatter_are_pooled_in_one_series():
    """Beginning anew would throw pairs away: the one series takes the whole budget, and is sharper for it."""
    backend = FakeBackend()
    (attempt,) = run(*steps(0.2), backend, budget_seconds=10.0)
    assert attempt.verdict.is_only_wide
    assert backend.now() - 1000.0 > 9.0
    assert backend.pauses == []


def test_times_that_drift_apart_are_measured_anew():
    """Negative control: here the halves differ, which more pairs would not mend."""
    candidate = FakeStep(lambda n, now: 20.0 if now < 1001.0 else 30.0)
    attempts = run(candidate, FakeStep(10.0), FakeBackend(), budget_seconds=4.0)
    assert "the halves differ" in " ".join(attempts[0].reasons)
    assert not attempts[0].verdict.is_only_wide
    assert len(attempts) > 1
    assert not attempts[-1].reasons
    assert attempts[-1].verdict.ratio == pytest.approx(3.0)


def test_a_fine_interval_ends_a_series_that_has_cost_enough():
    """At 6 % noise the aim of 1.2 % takes long; 3 %, within the tolerance, is enough after a quarter."""
    backend = FakeBackend()
    (attempt,) = run(*steps(0.12), backend, budget_seconds=20.0)
    assert not attempt.reasons
    assert AIM * 0.03 < attempt.verdict.half_width <= 0.03
    assert 5.0 <= backend.now() - 1000.0 < 15.0
    loose = FakeBackend()
    (attempt,) = run(*steps(0.2), loose, tolerance=0.10, budget_seconds=20.0)
    assert attempt.verdict.half_width <= AIM * 0.10, "a loose tolerance does not lower the aim"


def test_a_step_too_slow_for_an_interval_is_not_begun():
    backend = FakeBackend()
    with pytest.raises(
        StepTooSlowError, match=r"a pair of blocks takes 0\.07 s, so an interval does not fit"
    ):
        run(*steps(), backend, budget_seconds=0.05)
    assert backend.order == []


def test_few_pairs_keep_their_interval_and_say_so():
    (attempt,) = run(*steps(), budget_seconds=0.3)
    assert 3 <= attempt.verdict.pairs < MIN_PAIRS
    assert "fitted into the budget" in attempt.reasons[0]
    assert attempt.verdict.ratio == pytest.approx(2.0, rel=0.05)


def test_stopping_early_does_not_spoil_the_interval():
    """Coverage of the truth over whole measurements, the choice of when to stop included."""
    hits = 0
    for seed in range(120):
        attempts = run(*steps(0.04, seed), tolerance=0.10, seed=seed)
        verdict = attempts[-1].verdict
        hits += verdict.ratio_low <= 2.0 <= verdict.ratio_high
    assert hits / 120 >= 0.87


# --- what disturbs ----------------------------------------------------------------------------------------


def test_a_machine_that_slows_down_leaves_the_ratio():
    """Law: 30 % drift in time moves the paired ratio by less than 1 %, and the raw time by much more."""
    backend = FakeBackend(slowdown=lambda now: 1.0 + 0.3 * (now - 1000.0))
    (attempt,) = run(*steps(0.02), backend, tolerance=0.03)
    assert attempt.verdict.ratio == pytest.approx(2.0, rel=0.01)
    assert attempt.verdict.candidate_ms > 22.0


def test_without_interleaving_the_same_drift_would_show():
    """Negative control: all of one side first, then all of the other."""
    backend = FakeBackend(slowdown=lambda now: 1.0 + 0.3 * (now - 1000.0))
    candidate, reference = steps(0.02)
    first = backend.time_steps(candidate, 60)
    second = backend.time_steps(reference, 60)
    assert abs(np.median(first) / np.median(second) / 2.0 - 1) > 0.05


def test_stalls_of_either_network_do_not_move_the_ratio():
    """Law: a fivefold stall in 5 % of the steps, both networks alike, moves it by less than 2 %."""
    rng = np.random.default_rng(5)

    def stalling(ms: float) -> FakeStep:
        return FakeStep(lambda n, now: ms * (5.0 if rng.random() < 0.05 else 1.0), noise=0.01)

    attempts = run(stalling(20.0), stalling(10.0), tolerance=0.02)
    assert attempts[-1].verdict.ratio == pytest.approx(2.0, rel=0.02)


def test_a_candidate_that_gets_slower_on_its_own_is_unstable():
    candidate = FakeStep(lambda n, now: 20.0 * (1.0 + 0.1 * (now - 1000.0)), noise=0.01)
    attempts = run(candidate, FakeStep(10.0, noise=0.01), budget_seconds=20.0)
    assert len(attempts) == MAX_ATTEMPTS
    assert all(any("the halves differ" in reason for reason in attempt.reasons) for attempt in attempts)


FOREIGN = {"foreign_processes": ("pid 42",)}
THROTTLED = {"throttle_reasons": ("hardware thermal slowdown",)}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (FOREIGN, "another process computes on the device (pid 42)"),
        (THROTTLED, "the device was slowed down (hardware thermal slowdown)"),
    ],
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_disturbed_attempt_is_repeated_after_a_pause(state, reason, moment):
    states = [state, {}] if moment == "before" else [{}, state]
    backend = FakeBackend(states=states)
    bad, good = run(*steps(), backend)
    assert bad.reasons == (reason,)
    assert good.reasons == ()
    assert backend.pauses == [BACK_OFF_SECONDS]


def test_a_device_that_stays_disturbed_is_tried_three_times():
    backend = FakeBackend(states=[FOREIGN] * 6)
    attempts = run(*steps(), backend)
    assert len(attempts) == MAX_ATTEMPTS
    assert all(attempt.reasons for attempt in attempts)
    assert backend.pauses == [BACK_OFF_SECONDS, 2 * BACK_OFF_SECONDS]


@pytest.mark.parametrize(
    ("baseline_ms", "tolerance", "accepted"),
    [(10.0, 0.03, True), (10.4, 0.03, True), (10.7, 0.03, False), (9.3, 0.03, False), (9.0, 0.10, True)],
)
def test_the_reference_must_be_near_its_baseline(baseline_ms, tolerance, accepted):
    attempts = run(*steps(0.001), tolerance=tolerance, baseline_ms=baseline_ms)
    assert (not attempts[-1].reasons) is accepted
    if not accepted:
        assert f"from its {baseline_ms:.3g} ms" in attempts[-1].reasons[0]


# --- conditions -------------------------------------------------------------------------------------------


def around(cpu_seconds: float | None) -> tuple[Observation, Observation]:
    before = Observation(wall_seconds=10.0, cpu_seconds=None if cpu_seconds is None else 1.0)
    after = Observation(wall_seconds=20.0, cpu_seconds=None if cpu_seconds is None else 1.0 + cpu_seconds)
    return before, after


@pytest.mark.parametrize(
    ("cpu_seconds", "counts_waiting", "complains", "explains"),
    [
        (9.9, True, False, False),
        (7.4, True, False, True),
        (4.0, True, True, True),
        (4.0, False, False, True),
        (None, True, False, False),
    ],
)
def test_a_lost_cpu_is_refused_only_where_waiting_counts(cpu_seconds, counts_waiting, complains, explains):
    found = conditions(*around(cpu_seconds))
    assert bool(found.complaints(counts_waiting=counts_waiting)) is complains
    assert bool(found.explanation()) is explains
    assert (found.cpu_share is None) is (cpu_seconds is None)


def test_conditions_are_differences_and_plain_json():
    before = Observation(wall_seconds=1.0, cpu_pressure_seconds=5.0, involuntary_switches=3)
    after = Observation(wall_seconds=3.0, cpu_pressure_seconds=6.0, involuntary_switches=10, clock_mhz=1410)
    found = conditions(before, after)
    assert (found.cpu_pressure, found.involuntary_switches, found.cpu_share) == (0.5, 7, None)
    document = found.document()
    assert document["after"]["clock_mhz"] == 1410
    assert document["before"]["foreign_processes"] == []


# --- warm-up ----------------------------------------------------------------------------------------------


def test_warm_up_lasts_until_steps_no_longer_get_faster():
    cold = FakeStep(lambda n, now: 10.0 + 90.0 * 0.7**n)
    done = warm_up(cold, 100.0, 60.0, FakeBackend())
    assert done.steady
    assert done.last_ms < 14.0
    assert done.first_ms == 100.0
    assert done.steps == cold.runs + 1
    warm = warm_up(FakeStep(10.0), 10.0, 60.0, FakeBackend())
    assert warm.steps == FakeBackend().pace.warm_up_steps + 1


def test_warm_up_gives_up_within_its_share_of_the_budget():
    backend = FakeBackend()
    start = backend.now()
    done = warm_up(FakeStep(lambda n, now: 1000.0 * 0.9**n), 1000.0, 10.0, backend)
    assert not done.steady
    assert backend.now() - start <= 2.0
    slow = warm_up(FakeStep(5000.0), 5000.0, 10.0, FakeBackend())
    assert slow.steps == 2
