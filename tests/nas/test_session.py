"""The search loop: budget, order, failures, limits, resumption, reuse. Outcomes are replayed."""

from pathlib import Path

import numpy as np
import pytest
from replayed import Heard, ReplayExecutor, fail_where, lawful, make_session

from nas.errors import StoppedEarlyError
from nas.executors.protocol import ExecutorError
from nas.objectives import parse_bounds
from nas.reuse import Reuse
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from proxies.spool import Spool
from results.ledger import Ledger
from search_spaces.space import Space
from search_spaces.space_document import load_space, space

TINY = load_space("tiny")
STRATEGIES = ("random", "evolution")


def digests(ledger: Ledger) -> list[str]:
    return [candidate.digest for candidate in ledger.candidates()]


def first_timings(executor: ReplayExecutor) -> list[str]:
    return [job.key for job in executor.jobs if isinstance(job, TimeJob) and job.repeat == 0]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.sqlite")


def test_every_candidate_is_timed_then_trained_once(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor()
    make_session(TINY, ledger, executor, tmp_path, seeds=(0, 1)).run()
    assert len(set(digests(ledger))) == 10
    for digest in digests(ledger):
        jobs = [job for job in executor.jobs if job.digest == digest]
        assert [job.kind for job in jobs[:3]] == ["time", "train", "train"]
        assert {job.seed for job in jobs if isinstance(job, TrainJob)} == {0, 1}
    assert len({job.key for job in executor.jobs}) == len(executor.jobs)


def inferring(job: TimeJob | TrainJob) -> Outcome:
    """Lawful, but that inference takes a third of a step."""
    outcome = lawful(job)
    if isinstance(job, TrainJob) or job.settings.work == "training":
        return outcome
    found = lawful(job.model_copy(update={"settings": job.settings.model_copy(update={"work": "training"})}))
    return outcome.model_copy(update={"metrics": {"inference_ms": found.metrics["step_ms"] / 3}})


def test_inference_is_timed_beside_training_and_repeated_on_the_front(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(inferring)
    session = make_session(
        TINY,
        ledger,
        executor,
        tmp_path,
        objectives=("accuracy", "inference_ms"),
        further_timings=(lambda _: TimingSettings(resolution=32, batch_size=1, work="inference"),),
    )
    session.run()
    repeated = set()
    for digest in digests(ledger):
        jobs = [job for job in executor.jobs if job.digest == digest]
        works = [(job.settings.work, job.repeat) for job in jobs if isinstance(job, TimeJob)]
        assert works[:2] == [("training", 0), ("inference", 0)]
        assert works[2:] in ([], [("training", 1), ("inference", 1)])
        repeated |= {digest} if works[2:] else set()
    assert 0 < len(repeated) < 10
    assert all("inference_ms" in evaluation.values for evaluation in session._settled.values())


def test_a_failed_inference_is_a_failed_candidate(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(
        fail_where(lambda job: job.kind == "time" and job.settings.work == "inference" and job.digest < "8")
    )
    further = (lambda _: TimingSettings(resolution=32, batch_size=1, work="inference"),)
    make_session(TINY, ledger, executor, tmp_path, further_timings=further).run()
    bad = {digest for digest in digests(ledger) if digest < "8"}
    assert bad
    assert not {job.digest for job in executor.jobs if isinstance(job, TrainJob)} & bad


def test_costs_in_the_ledger_are_those_of_the_architecture(ledger: Ledger, tmp_path: Path) -> None:
    make_session(TINY, ledger, ReplayExecutor(), tmp_path, candidates=3).run()
    for candidate in ledger.candidates():
        genes = TINY.encode(_arch(candidate.architecture))
        assert candidate.cost.params == int(TINY.costs(genes[None]).params[0])
        assert candidate.cost.macs == int(TINY.costs(genes[None]).macs[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_proposals_do_not_depend_on_the_order_in_which_jobs_end(strategy: str, tmp_path: Path) -> None:
    proposals = []
    for attempt, order in enumerate(
        (lambda _: 0, lambda count: count - 1, np.random.default_rng(3).integers)
    ):
        with Ledger.create(tmp_path / f"{attempt}.sqlite") as ledger:
            executor = ReplayExecutor(order=lambda count, order=order: int(order(count)))
            make_session(TINY, ledger, executor, tmp_path, strategy=strategy, candidates=24).run()
            proposals.append(digests(ledger))
    assert proposals[0] == proposals[1] == proposals[2]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_seed_proposes_other_candidates(strategy: str, tmp_path: Path) -> None:
    proposals = []
    for seed in (0, 1):
        with Ledger.create(tmp_path / f"{seed}.sqlite") as ledger:
            make_session(TINY, ledger, ReplayExecutor(), tmp_path, strategy=strategy, seed=seed).run()
            proposals.append(set(digests(ledger)))
    assert not proposals[0] & proposals[1]


def test_evolution_depends_on_what_it_is_told(tmp_path: Path) -> None:
    """The control of the test above: proposals are not a function of the seed alone."""

    def inverted(job: TimeJob | TrainJob) -> Outcome:
        outcome = lawful(job)
        if job.kind == "time":
            return outcome
        return outcome.model_copy(update={"metrics": {"accuracy": 1.0 - outcome.metrics["accuracy"]}})

    proposals = []
    for attempt, answer in enumerate((lawful, inverted)):
        with Ledger.create(tmp_path / f"{attempt}.sqlite") as ledger:
            session = make_session(
                TINY, ledger, ReplayExecutor(answer), tmp_path, strategy="evolution", candidates=30
            )
            session.run()
            proposals.append(digests(ledger))
    assert proposals[0][:10] == proposals[1][:10]
    assert proposals[0] != proposals[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("die_after", [0, 1, 7, 20])
def test_a_resumed_search_is_the_uninterrupted_one(strategy: str, die_after: int, tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "whole.sqlite") as ledger:
        whole = ReplayExecutor()
        make_session(TINY, ledger, whole, tmp_path, strategy=strategy, candidates=14).run()
        expected, outcomes = digests(ledger), {outcome.key for outcome in ledger.outcomes()}
    with Ledger.create(tmp_path / "killed.sqlite") as ledger:
        killed = ReplayExecutor(die_after=die_after)
        with pytest.raises(ExecutorError):
            make_session(TINY, ledger, killed, tmp_path, strategy=strategy, candidates=14).run()
        resumed = ReplayExecutor()
        make_session(TINY, ledger, resumed, tmp_path, strategy=strategy, candidates=14).run()
        assert digests(ledger) == expected
        assert {outcome.key for outcome in ledger.outcomes()} == outcomes
        finished = {outcome.key for outcome in killed.done}
        assert not finished & {job.key for job in resumed.jobs}, "a finished job ran again"


def test_outcomes_left_in_the_spool_are_taken_in(ledger: Ledger, tmp_path: Path) -> None:
    first = ReplayExecutor(die_after=0)
    with pytest.raises(ExecutorError):
        make_session(TINY, ledger, first, tmp_path, candidates=4).run()
    left = lawful(first.jobs[0])
    Spool(directory=tmp_path / "spool").write(left)
    second = ReplayExecutor()
    make_session(TINY, ledger, second, tmp_path, candidates=4).run()
    assert left.key not in {job.key for job in second.jobs}
    assert ledger.find(left.key) == left
    assert Spool(directory=tmp_path / "spool").read_all() == []


def test_a_complete_search_does_nothing_when_resumed(ledger: Ledger, tmp_path: Path) -> None:
    make_session(TINY, ledger, ReplayExecutor(), tmp_path).run()
    again = ReplayExecutor()
    make_session(TINY, ledger, again, tmp_path).run()
    assert again.jobs == []


def test_a_failure_costs_its_candidate_alone(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(fail_where(lambda job: job.digest[0] in "01234567"))
    heard = Heard()
    make_session(TINY, ledger, executor, tmp_path, candidates=20, progress=heard).run()
    failed = [outcome for outcome in ledger.outcomes() if outcome.status == "error"]
    assert len(digests(ledger)) == 20
    assert 0 < len(failed) < 20
    assert {outcome.kind for outcome in failed} == {"time"}, "a candidate that cannot be timed is not trained"
    assert heard.events[-1].failed == len(failed)
    assert heard.events[-1].evaluated == 20


def test_one_failed_seed_fails_the_candidate(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(fail_where(lambda job: isinstance(job, TrainJob) and job.seed == 0))
    heard = Heard()
    make_session(TINY, ledger, executor, tmp_path, candidates=3, seeds=(0, 1), progress=heard).run()
    assert heard.events[-1].failed == 3
    assert heard.events[-1].front_size == 0


def test_too_many_failures_stop_the_search(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(fail_where(lambda _: True))
    with pytest.raises(StoppedEarlyError, match=r"3 candidates failed, more than --max-failed 2.*it broke"):
        make_session(TINY, ledger, executor, tmp_path, candidates=20, max_failed=2).run()
    assert len(ledger.outcomes()) == 3


def test_a_measured_limit_spares_the_training(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor()
    bounds = parse_bounds(["step_ms<=20"])
    make_session(TINY, ledger, executor, tmp_path, candidates=20, bounds=bounds).run()
    slow = {o.digest for o in ledger.outcomes("time") if o.metrics["step_ms"] > 20.0}
    trained = {outcome.digest for outcome in ledger.outcomes("train")}
    assert slow
    assert trained
    assert not slow & trained
    decisions = {decision.digest: decision.reason for decision in ledger.decisions()}
    assert set(decisions) == slow
    assert all("outside the limit step_ms<=20" in reason for reason in decisions.values())


def test_members_of_the_front_are_timed_once_more(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor()
    make_session(TINY, ledger, executor, tmp_path).run()
    repeated = {job.digest for job in executor.jobs if isinstance(job, TimeJob) and job.repeat == 1}
    assert repeated
    assert repeated < set(digests(ledger))


def test_a_failed_second_timing_leaves_the_first(ledger: Ledger, tmp_path: Path) -> None:
    executor = ReplayExecutor(fail_where(lambda job: isinstance(job, TimeJob) and job.repeat == 1))
    make_session(TINY, ledger, executor, tmp_path).run()
    assert {outcome.status for outcome in ledger.outcomes()} == {"ok"}


def test_a_time_budget_ends_the_proposals(ledger: Ledger, tmp_path: Path) -> None:
    ticks = iter(range(10_000))
    session = make_session(TINY, ledger, ReplayExecutor(), tmp_path, candidates=500, seconds=60.0)
    session.clock = lambda: float(next(ticks))
    session.run()
    assert 0 < len(digests(ledger)) < 500
    assert all(_measured(ledger, digest) for digest in digests(ledger)), "what was begun is finished"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_small_space_is_exhausted_without_repeating_anything(
    strategy: str, ledger: Ledger, tmp_path: Path
) -> None:
    small = _small_space()
    executor = ReplayExecutor()
    make_session(small, ledger, executor, tmp_path, strategy=strategy, candidates=50).run()
    assert len(digests(ledger)) == small.size == 4
    assert len(first_timings(executor)) == 4


def test_nothing_is_measured_twice_across_runs(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with Ledger.create(tmp_path / "one" / "ledger.sqlite") as ledger:
        make_session(TINY, ledger, ReplayExecutor(), tmp_path, candidates=6).run()
    reuse = Reuse.of([tmp_path / "one", tmp_path / "absent"])
    with Ledger.create(tmp_path / "two.sqlite") as ledger:
        executor = ReplayExecutor()
        make_session(TINY, ledger, executor, tmp_path, candidates=8, reuse=reuse).run()
        assert len(first_timings(executor)) == 2
        assert {record.origin for record in ledger.records()} == {"one", None}
        assert len(digests(ledger)) == 8


def test_a_ledger_that_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ledger.sqlite").write_text("not a database, but long enough to be looked at")
    reuse = Reuse.of([tmp_path / "broken"])
    assert reuse.ledgers == {}
    assert len(reuse.skipped) == 1


def test_progress_says_how_far_it_is(ledger: Ledger, tmp_path: Path) -> None:
    heard = Heard()
    make_session(TINY, ledger, ReplayExecutor(), tmp_path, progress=heard).run()
    assert [event.evaluated for event in heard.events] == list(range(11))
    assert all(event.total == 10 for event in heard.events)
    assert heard.events[-1].front_size > 0
    assert heard.events[-1].hypervolume is not None
    assert heard.events[-1].eta_seconds == 0.0


def _small_space() -> Space:
    from search_spaces.choice import one_of

    block = {"op": "mbconv", "expand": one_of(1, 2)}
    return space(
        {
            "name": "four",
            "stem": {"width": one_of(8, 16)},
            "stages": [{"stride": 2, "depth": 1, "width": 16, "block": block}],
            "head": {"width": 32},
        }
    )


def _arch(document: dict[str, object]):
    from search_spaces.document import architecture_from_document

    return architecture_from_document(document)


def _measured(ledger: Ledger, digest: str) -> bool:
    outcomes = [outcome for outcome in ledger.outcomes() if outcome.digest == digest]
    return {outcome.kind for outcome in outcomes if outcome.status == "ok"} == {"time", "train"}
