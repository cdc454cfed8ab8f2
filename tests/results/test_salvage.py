"""A damaged run: told, left as it is, and what can be read of it made into a new one."""

import hashlib
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from proxies.records import Outcome
from proxies.spool import Spool
from results.errors import LedgerError, RunError
from results.ledger import Ledger
from results.salvage import examine_run, read_salvage, salvage
from search_spaces.architecture import cost
from search_spaces.space_document import load_space

COUNT = 60
PAGE = 4096


def outcome_of(digest: str, number: int) -> Outcome:
    return Outcome(
        key=f"key-{number:04d}",
        kind="train",
        digest=digest,
        status="ok",
        metrics={"accuracy": number / 1000},
        details={"pad": "x" * 300},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 candidates with an outcome each, and one more outcome in the spool."""
    import numpy as np

    path = tmp_path_factory.mktemp("runs") / "whole"
    path.mkdir()
    (path / "run.yaml").write_text("schema: nas.run/1\nconfig: {space: tiny}\n")
    space, rng = load_space("tiny"), np.random.default_rng(0)
    with Ledger.create(path / "ledger.sqlite") as ledger:
        digests: list[str] = []
        while len(digests) < COUNT:
            arch = space.decode(space.sample(rng))
            if arch.digest in digests:
                continue
            ledger.add_candidate(
                digest=arch.digest,
                architecture=arch.to_document(),
                cost=cost(arch, 64),
                resolution=64,
                origin="random",
                proposal_index=len(digests),
            )
            ledger.record(outcome_of(arch.digest, len(digests)))
            digests.append(arch.digest)
        ledger.decide(digests[3], "limit", "too slow")
    Spool(directory=path / "spool").write(outcome_of(digests[0], 999))
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def sums(path: Path) -> dict[str, str]:
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def texts(outcomes: Iterable[Outcome]) -> set[str]:
    return {outcome.model_dump_json() for outcome in outcomes}


def damage(run: Path, *, first_page: int, rng: random.Random) -> None:
    """Overwrite a page of the ledger."""
    with (run / "ledger.sqlite").open("r+b") as file:
        file.seek(first_page * PAGE)
        file.write(rng.randbytes(PAGE))


def test_a_whole_run_has_no_problems_and_is_not_touched(run: Path) -> None:
    before = sums(run)
    found = examine_run(run)
    assert found["problems"] == []
    assert found["ledger"]["candidates"] == found["ledger"]["outcomes"] == COUNT
    assert found["waiting_in_spool"] == 1
    assert "salvageable" not in found
    assert sums(run) == before


def test_a_copy_of_a_whole_run_has_everything_and_the_spool(run: Path, tmp_path: Path) -> None:
    found = salvage(run, tmp_path / "copy")
    assert found.counts() == {"candidates": COUNT, "outcomes": COUNT, "decisions": 1, "lost": 0}
    with Ledger.open(run / "ledger.sqlite") as old, Ledger.open(tmp_path / "copy" / "ledger.sqlite") as new:
        assert [c.digest for c in old.candidates()] == [c.digest for c in new.candidates()]
        assert texts(old.outcomes()) < texts(new.outcomes())
        assert new.find("key-0999") is not None
        assert new.decisions() == old.decisions()
    assert examine_run(tmp_path / "copy")["problems"] == []


@pytest.mark.parametrize("seed", range(12))
def test_around_a_destroyed_page_everything_else_is_saved(run: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    num_pages = (run / "ledger.sqlite").stat().st_size // PAGE
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        written = texts(ledger.outcomes())
    damage(run, first_page=rng.randrange(12, num_pages), rng=rng)
    before = sums(run)
    assert examine_run(run)["problems"], "a destroyed page is noticed"
    assert sums(run) == before, "the damaged run was written to"
    found = salvage(run, tmp_path / "copy")
    assert texts(record.outcome for record in found.records) <= written, "something was made up"
    assert len(found.records) >= COUNT // 2
    with Ledger.open(tmp_path / "copy" / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.integrity_check() == ()
        assert [c.proposal_index for c in ledger.candidates()] == list(range(len(found.candidates)))


def test_an_outcome_that_was_edited_is_not_taken_along(run: Path, tmp_path: Path) -> None:
    with Ledger.open(run / "ledger.sqlite") as ledger:
        ledger._connection.execute("UPDATE outcomes SET metrics = '{\"accuracy\":0.99}' WHERE rowid = 7")
        edited = ledger.records()[6].outcome
    found = examine_run(run)
    assert any("is not what was recorded" in problem for problem in found["problems"])
    assert found["salvageable"]["lost"] == 1
    assert edited.key not in {record.outcome.key for record in salvage(run, tmp_path / "copy").records}


def test_where_nothing_can_be_read_that_is_said(run: Path, tmp_path: Path) -> None:
    (run / "ledger.sqlite").write_bytes(b"not a ledger at all" * 100)
    found = examine_run(run)
    assert any("nothing can be salvaged" in problem for problem in found["problems"])
    with pytest.raises(LedgerError, match="not an SQLite file"):
        read_salvage(run)
    with pytest.raises(LedgerError):
        salvage(run, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(RunError, match="exists already"):
        salvage(run, tmp_path / "copy")
