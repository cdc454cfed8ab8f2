"""What is read off a ledger in one go is what a session finds that takes up every candidate anew."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from large_ledger import EVALUATIONS, fill
from replayed import ReplayExecutor, lawful, make_session

from nas.evaluations import TimingPlan
from nas.executors.protocol import ExecutorError
from nas.objectives import parse_bounds
from nas.recovery import Recovery
from nas.session import Session
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob, failure
from results.entries import Candidate
from results.ledger import Ledger
from results.run import load_run
from search_spaces.architecture import Architecture
from search_spaces.space import Space
from search_spaces.space_document import load_space

TINY = load_space("tiny")


def eventful(job: TimeJob | TrainJob) -> Outcome:
    """Of everything some: failures of either kind, failures of one seed alone, provisional times."""
    chance = int(job.key[-2:], 16) % 8
    outcome = lawful(job)
    if chance == 0:
        return failure(job, "oom", "out of memory")
    if chance == 1 and job.kind == "time":
        return outcome.model_copy(update={"status": "unstable", "reason": "noisy"})
    return outcome


def inference(arch: Architecture) -> TimingSettings:
    return TimingSettings(resolution=32, batch_size=1, work="inference")


def interrupted(folder: Path, die_after: int, further: tuple[TimingPlan, ...] = ()) -> Path:
    path = folder / "ledger.sqlite"
    with Ledger.create(path) as ledger, pytest.raises(ExecutorError):
        eventful_session(ledger, ReplayExecutor(eventful, die_after=die_after), folder, further).run()
    return path


def eventful_session(
    ledger: Ledger, executor: ReplayExecutor, folder: Path, further: tuple[TimingPlan, ...] = ()
) -> Session:
    return make_session(
        TINY,
        ledger,
        executor,
        folder,
        strategy="evolution",
        candidates=40,
        seeds=(0, 1),
        bounds=parse_bounds(["step_ms<=40"]),
        further_timings=further,
    )


@pytest.mark.parametrize("further", [(), (inference,)], ids=["training", "and inference"])
@pytest.mark.parametrize("die_after", [0, 1, 20, 53, 70])
def test_a_session_takes_in_what_it_would_find_by_itself(
    die_after: int, further: tuple[TimingPlan, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted(tmp_path, die_after, further)
    with Ledger.open(path) as ledger:
        quick = eventful_session(ledger, ReplayExecutor(eventful), tmp_path, further)
        quick._recover()
        monkeypatch.setattr(Recovery, "settled", lambda *_: None)
        slow = eventful_session(ledger, ReplayExecutor(eventful), tmp_path, further)
        slow._recover()
    assert quick._settled == slow._settled
    for index, evaluation in slow._settled.items():
        assert np.array_equal(quick._settled[index].genes, evaluation.genes)
    assert list(quick._open) == list(slow._open)
    assert list(quick._running) == list(slow._running)
    assert quick._failures == slow._failures
    assert (quick._proposed, quick._digests) == (slow._proposed, slow._digests)
    assert sorted(map(str, quick._standing.front)) == sorted(map(str, slow._standing.front))
    assert quick._standing.measured == slow._standing.measured


def test_the_candidates_of_the_test_above_end_in_every_way(tmp_path: Path) -> None:
    """Its control: it would hold of nothing settled, too."""
    with Ledger.open(interrupted(tmp_path, 70)) as ledger:
        session = eventful_session(ledger, ReplayExecutor(eventful), tmp_path)
        recovery = Recovery(ledger=ledger, space=TINY, evaluations=session.evaluations)
        found = [recovery.settled(candidate) for candidate in ledger.candidates()]
        refused = ledger.decisions()
    settled = [each for each in found if each is not None]
    assert len(settled) < len(found)
    endings = {tuple(outcome.status for outcome in each.outcomes) for each in settled}
    assert endings >= {("oom",), ("ok", "ok", "ok"), ("unstable", "ok", "ok")}
    assert any("oom" in ending[1:] for ending in endings), "a training failed"
    assert {each.digest for each in refused} & {each.evaluation.digest for each in settled}


def test_a_refusal_that_was_not_filed_is_left_to_the_session(tmp_path: Path) -> None:
    """The search died between a timing and the decision that it led to."""
    path = interrupted(tmp_path, 40)
    with Ledger.open(path) as ledger:
        decided = {decision.digest for decision in ledger.decisions()}
        ledger._connection.execute("DELETE FROM decisions")
        assert decided
        eventful_session(ledger, ReplayExecutor(eventful), tmp_path)._recover()
        assert decided <= {decision.digest for decision in ledger.decisions()}


@pytest.mark.parametrize("change", [{"seeds": (0, 1)}, {"hardware_fingerprint": "another"}])
def test_what_was_measured_otherwise_settles_nothing(change: dict[str, object], tmp_path: Path) -> None:
    from dataclasses import replace

    fill(tmp_path / "ledger.sqlite", TINY, 3)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        candidates = ledger.candidates()
        assert all(_settled(ledger, candidates, EVALUATIONS))
        assert not any(_settled(ledger, candidates, replace(EVALUATIONS, **change)))


def _settled(ledger: Ledger, candidates: tuple[Candidate, ...], evaluations: object) -> list[bool]:
    recovery = Recovery(ledger=ledger, space=TINY, evaluations=evaluations)  # type: ignore[arg-type]
    return [recovery.settled(candidate) is not None for candidate in candidates]


def test_genotypes_are_found_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "ledger.sqlite", TINY, 200)
    encoded = []
    encode = Space.encode
    monkeypatch.setattr(Space, "encode", lambda space, arch: encoded.append(arch) or encode(space, arch))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        session = make_session(
            TINY, ledger, ReplayExecutor(), tmp_path, strategy="evolution", candidates=201, lag=1
        )
        session._recover()
        assert session._may_propose()
        assert encoded == []
        session._propose()
    assert 1 <= len(encoded) <= 26, "the population, and the new member itself"


# --- a large ledger ------------------------------------------------------------------------------------

REPEATS = 3
FEW, MANY = 2_500, 10_000
"""Candidates; each has two outcomes."""


@pytest.mark.thorough
def test_a_row_of_a_large_ledger_costs_no_more_than_of_a_small_one(tmp_path: Path) -> None:
    runs = {}
    for candidates in (FEW, MANY):
        runs[candidates] = tmp_path / str(candidates)
        runs[candidates].mkdir()
        fill(runs[candidates] / "ledger.sqlite", TINY, candidates)
        (runs[candidates] / "run.yaml").write_text("schema: nas.run/1\n")
    for work in (resume, show):
        few, many = (_least(partial(work, run, candidates)) for candidates, run in runs.items())
        ratio = (many / MANY) / (few / FEW)
        assert ratio < 1.5, f"{work.__name__}: a row of {MANY} candidates takes {ratio:.2f} times as long"


def resume(run: Path, candidates: int) -> None:
    """Until the session may make its next proposal."""
    with Ledger.open(run / "ledger.sqlite") as ledger:
        session = make_session(TINY, ledger, ReplayExecutor(), run, candidates=candidates + REPEATS)
        session._recover()
        assert session._may_propose()
        session._propose()  # each repetition files one more
        assert candidates - session.lag < session._told == session._proposed - session.lag


def show(run: Path, candidates: int) -> None:
    """Load a run, and its front."""
    loaded = load_run(run)
    assert len(loaded.candidates()) >= candidates
    assert loaded.pareto()


def _least(work: Callable[[], None], repeats: int = REPEATS) -> float:
    """Processor seconds, which other programs do not lengthen much; of the best repetition."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)
