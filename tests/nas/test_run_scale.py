"""One run, one scale of milliseconds."""

from pathlib import Path

from replayed import ReplayExecutor, lawful, make_session

from nas.reuse import Reuse
from nas.run_scale import RunScale
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from proxies.reference_network import REFERENCE
from results.ledger import Ledger
from search_spaces.space_document import load_space

TINY = load_space("tiny")
JOB = TimeJob(
    digest="d",
    architecture={},
    hardware_fingerprint="here",
    settings=TimingSettings(resolution=32, batch_size=4),
)


def on_baseline(reference_ms: float):
    """Answers as a worker does whose own baseline is `reference_ms`, unless the job brings one."""

    def answer(job: TimeJob | TrainJob) -> Outcome:
        outcome = lawful(job)
        if isinstance(job, TrainJob):
            return outcome
        return outcome.model_copy(
            update={
                "details": {
                    "hardware_fingerprint": job.hardware_fingerprint,
                    "settings": job.settings.model_dump(),
                    "method": {
                        "reference": {"digest": REFERENCE.digest},
                        "reference_ms": job.reference_ms or reference_ms,
                        "reference_ms_from": "the baseline",
                    },
                }
            }
        )

    return answer


def scales(ledger: Ledger) -> set[float]:
    return {outcome.details["method"]["reference_ms"] for outcome in ledger.outcomes("time")}


def timings(executor: ReplayExecutor) -> list[TimeJob]:
    return [job for job in executor.jobs if isinstance(job, TimeJob)]


def test_later_jobs_are_sent_the_scale_of_the_first(tmp_path: Path) -> None:
    executor = ReplayExecutor(on_baseline(10.0))
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        make_session(TINY, ledger, executor, tmp_path, candidates=8).run()
    sent = [job.reference_ms for job in timings(executor)]
    first = sent.index(10.0)
    assert first > 0
    assert set(sent[:first]) == {None}
    assert set(sent[first:]) == {10.0}


def test_a_resumed_run_keeps_its_scale_whatever_the_baseline_is_now(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        make_session(TINY, ledger, ReplayExecutor(on_baseline(10.0)), tmp_path, candidates=4).run()
        make_session(TINY, ledger, ReplayExecutor(on_baseline(12.0)), tmp_path, candidates=8).run()
        assert scales(ledger) == {10.0}


def test_a_timing_on_another_scale_is_measured_again_and_trainings_are_reused(tmp_path: Path) -> None:
    for name, reference_ms in (("one", 10.0), ("two", 12.0)):
        (tmp_path / name).mkdir()
        with Ledger.create(tmp_path / name / "ledger.sqlite") as ledger:
            count = 3 if name == "one" else 6
            executor = ReplayExecutor(on_baseline(reference_ms))
            make_session(TINY, ledger, executor, tmp_path, candidates=count).run()
    with Ledger.create(tmp_path / "three.sqlite") as ledger:
        reuse = Reuse.of([tmp_path / "one", tmp_path / "two"])
        executor = ReplayExecutor(on_baseline(14.0))
        make_session(TINY, ledger, executor, tmp_path, candidates=6, reuse=reuse).run()
        assert scales(ledger) == {10.0}
        assert [job for job in executor.jobs if isinstance(job, TrainJob)] == []
        assert {job.reference_ms for job in timings(executor)} == {10.0}


def test_other_conditions_have_a_scale_of_their_own() -> None:
    job = TimeJob(
        digest="d",
        architecture={},
        hardware_fingerprint="here",
        settings=TimingSettings(resolution=32, batch_size=4),
    )
    job, scale = JOB, RunScale()
    scale.learn(on_baseline(10.0)(job))
    assert scale.applied_to(job).reference_ms == 10.0
    for change in (
        {"hardware_fingerprint": "there"},
        {"settings": TimingSettings(resolution=64, batch_size=4)},
    ):
        assert scale.applied_to(job.model_copy(update=change)).reference_ms is None


def test_a_timing_without_a_baseline_sets_no_scale() -> None:
    job = TimeJob(
        digest="d",
        architecture={},
        hardware_fingerprint="here",
        settings=TimingSettings(resolution=32, batch_size=4),
    )
    job = JOB
    outcome = on_baseline(10.0)(job)
    method = {**outcome.details["method"], "reference_ms_from": "this measurement"}
    provisional = outcome.model_copy(update={"details": {**outcome.details, "method": method}})
    scale = RunScale()
    scale.learn(provisional)
    scale.learn(lawful(job))  # says nothing about how it came about
    assert scale.applied_to(job).reference_ms is None
    assert scale.fits(provisional)
    scale.learn(outcome)
    assert scale.fits(outcome)
    assert not scale.fits(on_baseline(12.0)(job))


def test_the_first_timings_of_a_ledger_teach_what_all_of_them_do(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(lawful(JOB.model_copy(update={"digest": "fade"})))
        for number in range(12):
            settings = JOB.settings.model_copy(update={"resolution": 32 + 32 * (number % 2)})
            job = JOB.model_copy(update={"digest": str(number), "settings": settings})
            outcome = on_baseline(10.0 + number)(job)
            if number < 4:
                outcome.details["method"]["reference_ms_from"] = "this measurement"
            ledger.record(outcome)
        every, first = RunScale(), RunScale()
        for outcome in ledger.outcomes("time"):
            every.learn(outcome)
        for outcome in ledger.first_timings():
            first.learn(outcome)
        assert len(ledger.first_timings()) == 5
    assert first == every
    assert sorted(first.reference_ms.values()) == [14.0, 15.0]
