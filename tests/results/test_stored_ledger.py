"""A ledger that an earlier version wrote, byte for byte, is read and gone on with by this one."""

import shutil
from pathlib import Path

import pytest
from replayed import ReplayExecutor, make_session

from proxies.records import TrainJob
from results.ledger import Ledger
from results.run import load_run
from search_spaces.space_document import load_space

STORED = Path(__file__).parents[1] / "golden" / "ledger_v1.sqlite"
"""16 candidates of `tiny`: 7 broke a measured limit; two trainings ran out of memory, of which one was put
aside for another attempt; one outcome came a second time, and different. Written with schema 1."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copy(STORED, tmp_path / "ledger.sqlite")
    (tmp_path / "run.yaml").write_text("schema: nas.run/1\nobjectives: [accuracy, step_ms, params]\n")
    return tmp_path


def test_all_that_was_recorded_is_there(run: Path) -> None:
    with Ledger.open(run / "ledger.sqlite") as ledger:
        assert ledger.integrity_check() == ()
        assert len(ledger.candidates()) == 16
        statuses = [outcome.status for outcome in ledger.outcomes()]
        assert (len(statuses), statuses.count("oom")) == (29, 1)
        assert len(ledger.decisions()) == 7
        assert [outcome.status for outcome in ledger.failures()] == ["oom"]
        assert [outcome.seconds for outcome in ledger.duplicates()] == [9.0]


def test_the_run_has_its_front(run: Path) -> None:
    loaded = load_run(run)
    statuses = [result.status for result in loaded.candidates()]
    assert {status: statuses.count(status) for status in set(statuses)} == {
        "ok": 7,
        "infeasible": 7,
        "oom": 1,
        "pending": 1,
    }
    assert len(loaded.pareto()) >= 3
    assert loaded.hypervolume() == pytest.approx(10_066_490.27)


def test_a_search_goes_on_with_it_and_trains_nothing_again(run: Path) -> None:
    executor = ReplayExecutor()
    with Ledger.open(run / "ledger.sqlite") as ledger:
        before = ledger.outcomes()
        trained = {outcome.key for outcome in before if outcome.kind == "train"}
        make_session(load_space("tiny"), ledger, executor, run, candidates=18).run()
        assert ledger.outcomes()[: len(before)] == before
        assert len(ledger.candidates()) == 18
        assert ledger.integrity_check() == ()
    ran = {job.key for job in executor.jobs if isinstance(job, TrainJob)}
    assert ran
    assert not ran & trained


def test_a_changed_byte_of_it_does_not_pass_unnoticed(run: Path) -> None:
    """The control: the file is looked at, not only opened."""
    path = run / "ledger.sqlite"
    with Ledger.open(path, read_only=True) as ledger:
        accuracy = ledger.outcomes("train")[-1].metrics["accuracy"]
    content = path.read_bytes()
    at = content.index(f'"accuracy":{accuracy!r}'.encode()) + len('"accuracy":0.')
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with Ledger.open(path) as ledger:
        assert ledger.integrity_check() != ()
