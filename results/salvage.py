"""What is wrong with a run, and what of it can be read still: `nas doctor RUN`.

The run itself is never written to. A damaged ledger is read from a temporary copy, row by row around what
cannot be read; an outcome counts where it has the checksum it was recorded with, a candidate where its
architecture has the digest it was filed under.
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxies.records import Outcome
from proxies.spool import Spool
from results.directory import CONFIG_NAME, LEDGER_NAME, read_config
from results.entries import (
    FILED_COLUMNS,
    OUTCOME_COLUMNS,
    Candidate,
    Record,
    SkipDecision,
    decode_candidate,
    decode_record,
)
from results.errors import LedgerError, ResultsError, RunError
from results.filesystem import check_writable, write_atomically
from results.ledger import Ledger

MAX_GAP = 2**20
"""How far ahead of an unreadable row another one is looked for, in rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What can be read of a ledger. `lost` counts rows that are there and are not what was written."""

    candidates: tuple[Candidate, ...]
    records: tuple[Record, ...]
    decisions: tuple[SkipDecision, ...]
    lost: int

    def counts(self) -> dict[str, int]:
        """How much that is."""
        return {
            "candidates": len(self.candidates),
            "outcomes": len(self.records),
            "decisions": len(self.decisions),
            "lost": self.lost,
        }


def examine_run(path: Path) -> dict[str, Any]:
    """Whether a run is sound, as plain JSON: what it holds, each problem, what could be salvaged if any."""
    problems: list[str] = []
    try:
        read_config(path)
    except RunError as error:
        problems.append(str(error))
    found: dict[str, Any] = {"run": str(path), "waiting_in_spool": 0, "torn_in_spool": 0}
    spool = path / "spool"
    if spool.is_dir():
        found["waiting_in_spool"] = len(list(spool.glob("*.json")))
        found["torn_in_spool"] = len(list(spool.glob("*.torn")))
    if not (path / LEDGER_NAME).exists():
        return found | {"ledger": None, "problems": problems}
    try:
        with Ledger.open(path / LEDGER_NAME, read_only=True) as ledger:
            problems += ledger.integrity_check()
            found["ledger"] = {
                "candidates": len(ledger.candidates()),
                "outcomes": len(ledger.records(with_details=False)),
                "failures_put_aside": len(ledger.failures()),
                "duplicates": len(ledger.duplicates()),
                "sessions_wall_seconds": ledger.wall_seconds(),
            }
    except LedgerError as error:
        problems.append(str(error))
        found["ledger"] = None
    if problems:
        try:
            found["salvageable"] = read_salvage(path).counts()
        except ResultsError as error:
            problems.append(f"nothing can be salvaged: {error}")
    return found | {"problems": problems}


def read_salvage(path: Path) -> Salvage:
    """Everything that can be read of the ledger of the run in `path`.

    Raises:
        LedgerError: not even its first page can.
        RunError: it cannot be copied to a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="nas-salvage-") as folder:
        copy = Path(folder) / LEDGER_NAME
        try:
            for ending in ("", "-wal"):
                source = path / f"{LEDGER_NAME}{ending}"
                if source.exists():
                    shutil.copyfile(source, f"{copy}{ending}")
        except OSError as error:
            raise RunError(f"{path / LEDGER_NAME} cannot be copied ({error.strerror}); check it") from error
        with Ledger.open(copy, read_only=True) as ledger:
            return _read(ledger._connection)  # noqa: SLF001 -- below the ledger, whose rows cannot be trusted


def salvage(path: Path, out: Path) -> Salvage:
    """Make a new run in `out` of all that can be read of the one in `path`, for `nas resume` to go on with.

    Outcomes that wait in the spool are taken along. Candidates are numbered anew, without gaps.

    Raises:
        RunError: `out` exists or cannot be written, or no configuration can be read.
        LedgerError: nothing of the ledger can be read.
    """
    read_config(path)
    if out.exists():
        raise RunError(f"{out} exists already; choose another directory for what is salvaged")
    found = read_salvage(path)
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made ({error.strerror}); choose another directory") from error
    check_writable(out)
    with Ledger.create(out / LEDGER_NAME) as ledger:
        for index, candidate in enumerate(found.candidates):
            ledger.add_candidate(
                digest=candidate.digest,
                architecture=candidate.architecture,
                cost=candidate.cost,
                resolution=candidate.resolution,
                origin=candidate.origin,
                proposal_index=index,
            )
        for record in found.records:
            ledger.record(record.outcome, origin=record.origin)
        for outcome in _spooled(path / "spool"):
            ledger.record(outcome)
        for decision in found.decisions:
            ledger.decide(decision.digest, decision.kind, decision.reason)
    # Last, since it is what makes the directory a run.
    write_atomically(out / CONFIG_NAME, (path / CONFIG_NAME).read_text(encoding="utf-8"))
    return found


def _spooled(spool: Path) -> list[Outcome]:
    """Outcomes in the spool, read from a copy, because reading sets torn files aside."""
    if not spool.is_dir():
        return []
    with tempfile.TemporaryDirectory(prefix="nas-salvage-") as folder:
        copy = Path(folder) / "spool"
        shutil.copytree(spool, copy)
        return Spool(directory=copy).read_all()


def _read(connection: sqlite3.Connection) -> Salvage:
    from search_spaces.document import architecture_from_document

    lost = 0
    candidates, records = [], []
    for row in _readable(connection, "candidates", "*"):
        try:
            candidate = decode_candidate(row)
            if architecture_from_document(candidate.architecture).digest != candidate.digest:
                raise ValueError("the architecture is not the one that was filed")
            candidates.append(candidate)
        except (ValueError, TypeError, KeyError, IndexError):
            lost += 1
    known = {candidate.digest for candidate in candidates}
    for row in _readable(connection, "outcomes", f"{OUTCOME_COLUMNS}, {FILED_COLUMNS}"):
        try:
            record = decode_record(row)
            is_sound = record.is_intact and (record.outcome.digest in known or record.origin is not None)
        except (LedgerError, ValueError, TypeError):
            is_sound = False
        if is_sound:
            records.append(record)
        else:
            lost += 1
    decisions = [
        SkipDecision(digest=digest, kind=kind, reason=reason)
        for digest, kind, reason in _readable(connection, "decisions", "digest, kind, reason")
        if digest in known
    ]
    return Salvage(
        candidates=tuple(candidates), records=tuple(records), decisions=tuple(decisions), lost=lost
    )


def _readable(connection: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table in order; what cannot be read is stepped over, in steps that double."""
    last, gap = 0, 0
    while gap <= MAX_GAP:
        query = f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid"  # noqa: S608
        try:
            for rowid, *row in connection.execute(query, (last + gap,)):
                yield tuple(row)
                last, gap = rowid, 0
            return
        except (sqlite3.Error, UnicodeDecodeError):
            gap = max(1, 2 * gap)


def describe(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What `examine_run` found, as a table of two columns."""
    yield "run", found["run"]
    ledger = found["ledger"] or {}
    with contextlib.suppress(KeyError):
        yield "ledger", f"{ledger['candidates']:,} candidates, {ledger['outcomes']:,} outcomes"
        yield "", f"{ledger['failures_put_aside']} failures put aside, {ledger['duplicates']} duplicates"
    yield "spool", f"{found['waiting_in_spool']} waiting, {found['torn_in_spool']} torn"
    if "salvageable" in found:
        yield "salvageable", json.dumps(found["salvageable"]).strip("{}").replace('"', "")
