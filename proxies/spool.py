"""Where outcomes wait, durably, between the process that measured them and the ledger."""

import contextlib
import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxies.records import Outcome

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TEMPORARY = re.compile(r".*\.(?P<pid>\d+)\.tmp")


class SpoolError(OSError):
    """The spool cannot be written or read: a full disk, a lost folder, missing permission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A folder of outcomes, one JSON file each, named by key.

    Law: once `write` has returned, `read_all` finds that outcome until it is removed, through any crash of
    any process and a power cut. A file carries the sha256 of its content: one that a power cut or some
    other hand has torn is set aside as `*.torn` and never read.
    """

    directory: Path

    def write(self, outcome: Outcome) -> Path:
        """Store `outcome` durably; a second one under the same key replaces the first.

        Raises:
            SpoolError: the folder cannot be written; the outcome is not stored.
            ValueError: the key is not a file name.
        """
        path = self._path(outcome.key)
        document = json.loads(outcome.model_dump_json())
        text = json.dumps({"sha256": _sha256(document), "outcome": document}, allow_nan=False)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_durably(temporary, path, text.encode())
        except OSError as error:
            _unlink(temporary)
            raise SpoolError(
                f"{self.directory}: an outcome could not be stored ({error}); free space there, then resume"
            ) from error
        return path

    def read_all(self) -> list[Outcome]:
        """The stored outcomes, oldest first. Sets torn files aside and removes those of dead writers.

        Raises:
            SpoolError: the folder or a file cannot be read.
        """
        try:
            entries = sorted(self.directory.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
            outcomes = [self._read(path) for path in entries if path.suffix == ".json"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SpoolError(f"{self.directory}: outcomes could not be read ({error})") from error
        for path in entries:
            self._remove_of_dead_writer(path)
        return [outcome for outcome in outcomes if outcome is not None]

    def remove(self, key: str) -> None:
        """Forget the outcome under `key`, which the ledger has. Unknown keys are ignored."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"key {key!r} is not a file name; use letters, digits, '-' and '_'")
        return self.directory / f"{key}.json"

    def _read(self, path: Path) -> Outcome | None:
        try:
            document = json.loads(path.read_bytes())
            if document["sha256"] == _sha256(document["outcome"]):
                return Outcome.model_validate_json(json.dumps(document["outcome"]))
        except (ValueError, KeyError, TypeError, ValidationError, RecursionError):
            pass
        path.replace(path.with_suffix(".torn"))
        return None

    def _remove_of_dead_writer(self, path: Path) -> None:
        match = _TEMPORARY.fullmatch(path.name)
        if match is not None and not Path(f"/proc/{match['pid']}").exists():
            _unlink(path)


def _sha256(document: Any) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _write_durably(temporary: Path, path: Path, content: bytes) -> None:
    """Write, rename, then make file and folder durable at once.

    The folder's sync runs beside the file's, because each waits for the disk's cache to be flushed and two
    flushes at once cost one (4 ms instead of 8 where this was measured). So the name may become durable
    before the content; the checksum tells.
    """
    with contextlib.ExitStack() as stack:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, file)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
        temporary.replace(path)
        with ThreadPoolExecutor(max_workers=1) as beside:
            synced = beside.submit(os.fsync, folder)
            os.fsync(file)
            synced.result()


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # a leftover is removed by the next reader
