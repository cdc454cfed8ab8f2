"""What has been seen: candidates in the order of proposal, and one outcome a key, durable once acknowledged.

One writer, the search; any number of readers, also while it runs. Records are made exactly once: a key's
first outcome stays, an equal one is a replay and changes nothing, a different one is kept apart for audit.
Executions are at least once: what was running when the writer died runs again.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from proxies.records import Outcome, Status
from results.entries import (
    FILED_COLUMNS,
    OUTCOME_COLUMNS,
    Candidate,
    EncodedOutcome,
    Record,
    SkipDecision,
    Span,
    decode_candidate,
    decode_outcome,
    decode_payload,
    decode_record,
    encode_architecture,
    encode_outcome,
    without_collection,
)
from results.errors import LedgerError
from results.schema import connect_reader, connect_writer, create_file, translated_errors
from search_spaces.cost import Cost

Kind = Literal["time", "train", "estimate"]


class Ledger:
    """The ledger of one run, made by `create` or `open`. Any method raises LedgerError if the file fails."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        clock: Callable[[], float],
        elapsed: Callable[[], float],
    ) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._connection = connection
        self._clock = clock
        self._elapsed = elapsed
        self._opened = elapsed()
        self._session: int | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.perf_counter,
    ) -> "Ledger":
        """Make a new ledger and open it for writing.

        Raises:
            LedgerError: `path` exists (it is never overwritten) or cannot be made.
        """
        create_file(path)
        return cls.open(path, clock=clock, elapsed=elapsed)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.perf_counter,
    ) -> "Ledger":
        """Open an existing ledger; several may read it, one may write.

        Raises:
            LedgerError: it is missing, foreign, damaged or of a newer schema. The file is left as it was.
        """
        connection = connect_reader(path) if read_only else connect_writer(path)
        return cls(connection, path, clock=clock, elapsed=elapsed)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_candidate(
        self,
        *,
        digest: str,
        architecture: Mapping[str, Any],
        cost: Cost,
        resolution: int,
        origin: str,
        proposal_index: int,
    ) -> Candidate:
        """File a proposed network; the same digest again returns the first candidate unchanged."""
        document = encode_architecture(architecture, digest)
        values = (digest, document, *cost, resolution, origin, proposal_index, self._clock())
        with self._transaction():
            self._connection.execute(
                "INSERT INTO candidates (digest, architecture, params, active_params, macs, activation_bytes,"
                " resolution, origin, proposal_index, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (digest) DO NOTHING",
                values,
            )
            row = self._connection.execute("SELECT * FROM candidates WHERE digest = ?", (digest,)).fetchone()
        return decode_candidate(row)

    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates in the order of proposal."""
        rows = self._rows("SELECT * FROM candidates ORDER BY id")
        with without_collection():
            return tuple(decode_candidate(row) for row in rows)

    def record(self, outcome: Outcome, *, origin: str | None = None) -> bool:
        """File an outcome; it is on disk when this returns. True when it was new under its key.

        An outcome equal to the one on file is a replay. A different one is kept among the duplicates, a
        sign that a job ran twice and is not deterministic; the first one counts.

        Raises:
            ValueError: a number is not finite, or `details` is not plain JSON.
            LedgerWriteError: the disk is full; nothing was recorded, and later calls may succeed.
        """
        encoded = encode_outcome(outcome)
        with self._transaction():
            is_new = self._insert(encoded, origin)
            if not is_new:
                self._file_duplicate(encoded)
        return is_new

    def outcomes(self, kind: Kind | None = None, *, with_details: bool = True) -> tuple[Outcome, ...]:
        """The outcome of every key, oldest first; without their details as `records`."""
        rows = self._outcome_rows({"kind": kind}, with_details=with_details)
        with without_collection():
            return tuple(decode_outcome(row) for row in rows)

    def records(
        self, *, kind: Kind | None = None, digest: str | None = None, with_details: bool = True
    ) -> tuple[Record, ...]:
        """The outcomes with how they were filed, oldest first; of one kind or candidate when asked.

        Without their details, which tables and fronts do not need, they are read twice as fast; those
        outcomes have empty `details` and do not match their checksum.
        """
        rows = self._outcome_rows({"kind": kind, "digest": digest}, with_details=with_details)
        with without_collection():
            return tuple(decode_record(row) for row in rows)

    def first_timings(self) -> tuple[Outcome, ...]:
        """The oldest timing of each device, settings, reference network and origin of the scale."""
        said = ("hardware_fingerprint", "settings", "method.reference.digest", "method.reference_ms_from")
        groups = ", ".join(f"json_extract(details, '$.{name}')" for name in said)
        rows = self._rows(
            f"SELECT {OUTCOME_COLUMNS} FROM outcomes WHERE rowid IN"  # noqa: S608
            f" (SELECT min(rowid) FROM outcomes WHERE kind = 'time' GROUP BY {groups}) ORDER BY rowid"
        )
        return tuple(decode_outcome(row) for row in rows)

    def keys(self, status: Status) -> tuple[str, ...]:
        """The keys of the outcomes of one status, oldest first; the outcomes themselves are not read."""
        return tuple(
            key
            for (key,) in self._rows("SELECT key FROM outcomes WHERE status = ? ORDER BY rowid", (status,))
        )

    def _outcome_rows(self, wanted: Mapping[str, str | None], *, with_details: bool) -> list[Any]:
        columns = OUTCOME_COLUMNS if with_details else OUTCOME_COLUMNS.replace("details", "'{}'")
        given = {name: value for name, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(f'{name} = :{name}' for name in given)}" if given else ""
        return self._rows(f"SELECT {columns}, {FILED_COLUMNS} FROM outcomes {where} ORDER BY rowid", given)  # noqa: S608

    def find(self, key: str) -> Outcome | None:
        """The outcome under `key`; None when there is none, or when it was given up for a retry."""
        record = self.find_record(key)
        return record.outcome if record else None

    def find_record(self, key: str) -> Record | None:
        """The outcome under `key` with how it was filed; None as for `find`."""
        rows = self._rows(f"SELECT {OUTCOME_COLUMNS}, {FILED_COLUMNS} FROM outcomes WHERE key = ?", (key,))  # noqa: S608
        return decode_record(rows[0]) if rows else None

    def attempts(self, key: str) -> int:
        """How often the job under `key` has ended."""
        ((failed,),) = self._rows("SELECT count(*) FROM failures WHERE key = ?", (key,))
        return int(failed) + (self.find(key) is not None)

    def retry(self, key: str, *, limit: int = 2) -> bool:
        """Put a failed outcome aside so that its job may run again; False after `limit` attempts.

        False also where nothing is on file or it is ok. The failure stays on record, and the next outcome
        under this key counts as a further attempt.
        """
        with self._transaction():
            row = self._connection.execute(
                f"SELECT {OUTCOME_COLUMNS}, attempt, recorded_at FROM outcomes WHERE key = ?",  # noqa: S608
                (key,),
            ).fetchone()
            if row is None or row[3] == "ok" or row[8] >= limit:
                return False
            payload = encode_outcome(decode_outcome(row)).payload
            self._connection.execute(
                "INSERT INTO failures VALUES (?, ?, ?, ?)", (key, row[8], payload, row[9])
            )
            self._connection.execute("DELETE FROM outcomes WHERE key = ?", (key,))
        return True

    def failures(self) -> tuple[Outcome, ...]:
        """Failed outcomes that were put aside for another attempt, by key and attempt."""
        rows = self._rows("SELECT payload FROM failures ORDER BY key, attempt")
        return tuple(decode_payload(payload) for (payload,) in rows)

    def duplicates(self) -> tuple[Outcome, ...]:
        """Second, different outcomes that came in under a key on file. They count for nothing."""
        rows = self._rows("SELECT payload FROM duplicates ORDER BY rowid")
        return tuple(decode_payload(payload) for (payload,) in rows)

    def decide(self, digest: str, kind: str, reason: str) -> bool:
        """File why a candidate is not evaluated further. True when new; the first of a kind stays."""
        with self._transaction():
            cursor = self._connection.execute(
                "INSERT INTO decisions VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, kind, reason, self._clock()),
            )
            return cursor.rowcount == 1

    def decisions(self) -> tuple[SkipDecision, ...]:
        """All decisions, oldest first."""
        rows = self._rows("SELECT digest, kind, reason FROM decisions ORDER BY rowid")
        return tuple(SkipDecision(digest=digest, kind=kind, reason=reason) for digest, kind, reason in rows)

    def copy_matching(
        self, other: Path, matching: Collection[str] | Callable[[Outcome], bool], *, origin: str
    ) -> int:
        """Copy the ok outcomes of another run's ledger in one transaction; returns how many were new.

        `matching` is the keys wanted, or says whether an outcome is. Every copied row keeps `origin`, the
        other run's name, unless it was itself a copy: then the name of the run that measured it.

        Raises:
            LedgerError: the other file is no ledger, or one of its rows is not what was recorded.
        """
        with Ledger.open(other, read_only=True) as source:
            if callable(matching):
                found = [record for record in source.records() if matching(record.outcome)]
            else:
                found = [record for key in matching if (record := source.find_record(key)) is not None]
        chosen = [record for record in found if record.outcome.status == "ok"]
        for record in chosen:
            if not record.is_intact:
                raise LedgerError(
                    f"{other}: outcome {record.outcome.key[:12]} is not what was recorded; "
                    "leave this run out with --no-reuse"
                )
        with self._transaction():
            return sum(
                self._insert(encode_outcome(record.outcome), record.origin or origin) for record in chosen
            )

    def wall_seconds(self) -> float:
        """Wall time of all sessions that wrote here, each up to its last write."""
        ((seconds,),) = self._rows("SELECT total(seconds) FROM sessions")
        return float(seconds)

    def sessions(self) -> tuple[Span, ...]:
        """When searches wrote here, oldest first."""
        rows = self._rows("SELECT started_at, seconds FROM sessions ORDER BY id")
        return tuple(Span(started_at=started_at, seconds=seconds) for started_at, seconds in rows)

    def integrity_check(self) -> tuple[str, ...]:
        """What is wrong with the file, one sentence each; empty when it is sound.

        SQLite's own check, then that every outcome still has the checksum it was recorded with.
        """
        problems = [text for (text,) in self._rows("PRAGMA integrity_check") if text != "ok"]
        for row in self._rows(f"SELECT {OUTCOME_COLUMNS}, sha256 FROM outcomes ORDER BY rowid"):  # noqa: S608
            try:
                sound = encode_outcome(decode_outcome(row)).sha256 == row[8]
            except LedgerError:
                sound = False
            if not sound:
                problems.append(
                    f"{self.path}: outcome {row[0][:12]} is not what was recorded; evaluate it again"
                )
        return tuple(problems)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one moment, whatever a search writes meanwhile."""
        with translated_errors(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def _insert(self, encoded: EncodedOutcome, origin: str | None) -> bool:
        key = encoded.row[0]
        cursor = self._connection.execute(
            f"INSERT INTO outcomes ({OUTCOME_COLUMNS}, origin, sha256, recorded_at, attempt)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1 + (SELECT count(*) FROM failures WHERE key = ?))"
            " ON CONFLICT (key) DO NOTHING",
            (*encoded.row, origin, encoded.sha256, self._clock(), key),
        )
        return cursor.rowcount == 1

    def _file_duplicate(self, encoded: EncodedOutcome) -> None:
        key, sha256 = encoded.row[0], encoded.sha256
        self._connection.execute(
            "INSERT INTO duplicates SELECT ?, ?, ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM outcomes WHERE key = ? AND sha256 = ?) ON CONFLICT DO NOTHING",
            (key, sha256, encoded.payload, self._clock(), key, sha256),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable step: all of it, or nothing and an error."""
        with translated_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                session = self._touch_session()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._session = session

    def _touch_session(self) -> int | None:
        seconds = self._elapsed() - self._opened
        if self._session is not None:
            self._connection.execute("UPDATE sessions SET seconds = ? WHERE id = ?", (seconds, self._session))
            return self._session
        started = self._clock() - seconds
        insert = "INSERT INTO sessions (started_at, seconds) VALUES (?, ?)"
        return self._connection.execute(insert, (started, seconds)).lastrowid

    def _rows(self, statement: str, parameters: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
        with translated_errors(self.path):
            return self._connection.execute(statement, parameters).fetchall()
