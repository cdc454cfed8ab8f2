"""The ledger's file: its tables, how one is made and opened, and what SQLite's errors mean to a person.

Write-ahead logging lets readers in while the search writes; `synchronous=FULL` makes a commit durable
against power loss (measured: 0.16 ms median; NORMAL lost records in 19 of 20 power cuts). Write-ahead logging
needs memory shared on one host, so on a network file system the ledger uses a rollback journal.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from results.errors import LedgerError, LedgerWriteError
from results.filesystem import NETWORK_FILESYSTEMS, filesystem_type, sync_directory

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6E61734C
"""`nasL`: how a ledger differs from any other SQLite file."""

BUSY_TIMEOUT_SECONDS = 5.0

_MAGIC = b"SQLite format 3\0"

_TABLES = """
CREATE TABLE candidates (
    id INTEGER PRIMARY KEY,             -- 1, 2, ... in the order of proposal
    digest TEXT NOT NULL UNIQUE,
    architecture TEXT NOT NULL,         -- JSON document
    params INTEGER NOT NULL,
    active_params INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    activation_bytes INTEGER NOT NULL,
    resolution INTEGER NOT NULL,        -- pixels at which the costs are stated
    origin TEXT NOT NULL,               -- who proposed it: seed, or the strategy's name
    proposal_index INTEGER NOT NULL,    -- which proposal of the strategy it was
    created_at REAL NOT NULL            -- seconds since 1970
);
CREATE TABLE outcomes (
    key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    metrics TEXT NOT NULL,              -- JSON
    details TEXT NOT NULL,              -- JSON
    seconds REAL NOT NULL,
    attempt INTEGER NOT NULL,           -- 1, or more after failures
    origin TEXT,                        -- the run it was copied from; null: measured here
    sha256 TEXT NOT NULL,               -- of the outcome's canonical JSON
    recorded_at REAL NOT NULL
);
CREATE INDEX outcomes_by_digest ON outcomes (digest);
CREATE TABLE failures (                 -- outcomes that a later attempt was allowed to replace
    key TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    payload TEXT NOT NULL,              -- the outcome's canonical JSON
    recorded_at REAL NOT NULL,
    PRIMARY KEY (key, attempt)
);
CREATE TABLE duplicates (               -- a second, different outcome under one key: kept for audit, not used
    key TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    payload TEXT NOT NULL,
    recorded_at REAL NOT NULL,
    PRIMARY KEY (key, sha256)
);
CREATE TABLE decisions (                -- why a candidate was not evaluated further
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided_at REAL NOT NULL,
    PRIMARY KEY (digest, kind)
);
CREATE TABLE sessions (                 -- one row each time a search wrote: its wall time adds up
    id INTEGER PRIMARY KEY,
    started_at REAL NOT NULL,
    seconds REAL NOT NULL
);
"""


def create_file(path: Path) -> None:
    """Make an empty ledger. `path` holds nothing or a whole ledger at every moment; nothing is overwritten.

    Raises:
        LedgerError: something is there already, or the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with translated_errors(path):
        try:
            temporary.unlink(missing_ok=True)
            connection = sqlite3.connect(temporary, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
            finally:
                connection.close()
            _publish(temporary, path)
        except FileExistsError:
            raise LedgerError(f"{path} exists already; open it, or choose another directory") from None
        except OSError as error:
            raise LedgerWriteError(
                f"{path} cannot be made ({error.strerror}); check the directory"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    """Give the finished file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (FAT, some network file systems)
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)
    sync_directory(path.parent)


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open an existing ledger for its one writer.

    Raises:
        LedgerError: it is missing, foreign, damaged or of a newer schema.
    """
    _check_header(path)
    journal = "DELETE" if filesystem_type(path.parent) in NETWORK_FILESYSTEMS else "WAL"
    connection = _connect(path, "mode=rw")
    with _closed_on_error(connection), translated_errors(path):
        _check_version(connection, path)
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open an existing ledger to look at it, while a search may be writing.

    Where the directory can be written SQLite keeps its side files there and removes them again; on a
    read-only disk the file is read as it is.

    Raises:
        LedgerError: as `connect_writer`; or the disk is read-only and the ledger was not closed.
    """
    _check_header(path)
    wal = path.with_name(f"{path.name}-wal")
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        mode = "mode=rw"
    elif not wal.exists() or wal.stat().st_size == 0:
        mode = "mode=ro&immutable=1"
    else:
        mode = "mode=ro"
    connection = _connect(path, mode)
    with _closed_on_error(connection), translated_errors(path):
        connection.execute("PRAGMA query_only = ON")
        _check_version(connection, path)
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    with translated_errors(path):
        location = f"file:{quote(str(path.resolve()))}?{mode}"
        return sqlite3.connect(location, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS)


def _check_header(path: Path) -> None:
    """Refuse what is not a ledger from its first bytes, before SQLite could touch it."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be read ({error.strerror}); is this the directory of a run?"
        ) from error
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise LedgerError(
            f"{path} is not a ledger (not an SQLite file); restore it from a copy, it was left alone"
        )
    application = int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise LedgerError(
            f"{path} is an SQLite file of another program (application id {application:#x}); "
            "choose another directory, it was left alone"
        )


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has schema {version} and this version reads up to {SCHEMA_VERSION}; "
            "upgrade this program, the file was left alone"
        )
    if version < 1:
        raise LedgerError(f"{path} has schema {version}, which never was; restore it from a copy")


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as ours, each with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _translate(error: sqlite3.Error, path: Path) -> LedgerError:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return LedgerWriteError(
            f"{path} could not be written ({error}); free space and resume, all that was acknowledged is kept"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerError(
            f"{path} is being written by another process; only one search may write to a ledger"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerError(f"{path} is damaged ({error}); restore it from a copy, it was left alone")
    if code == sqlite3.SQLITE_READONLY:
        return LedgerError(f"{path} is open for reading only, or its disk is; nothing was written")
    if code == sqlite3.SQLITE_CANTOPEN:
        return LedgerError(
            f"{path} cannot be opened ({error}); copy the run to a directory that can be written"
        )
    return LedgerError(f"{path}: {error}")
