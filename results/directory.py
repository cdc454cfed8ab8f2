"""The directory of a run, while a search writes to it.

runs/<name>/  run.yaml         the resolved configuration, written once
              ledger.sqlite    what has been seen (the source of truth)
              spool/           outcomes of workers on their way to the ledger
              log.jsonl        what happened, one JSON object a line
              pareto.yaml, architectures/*.yaml       derived: may be deleted, are written anew
              lock             held by the search that writes here
runs/latest   a link to the run that was started or resumed last
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from results.entries import plain_json
from results.errors import RunError, RunWriteError
from results.filesystem import (
    MIN_FREE_BYTES,
    DirectoryLock,
    check_writable,
    point_symlink,
    remove_leftovers,
    write_atomically,
)
from results.ledger import Ledger
from results.text import dump_yaml

ROOT = Path("runs")
CONFIG_NAME = "run.yaml"
LEDGER_NAME = "ledger.sqlite"
LOCK_NAME = "lock"
LATEST = "latest"
LOG_NAME = "log.jsonl"

_PLACE = "configuration of the run"
_MAX_HINT = 80


class RunDirectory:
    """A run's directory, locked for this process until `close`. Made by `create` (new) or `open` (resume)."""

    def __init__(
        self, path: Path, config: Mapping[str, Any], lock: DirectoryLock, clock: Callable[[], float]
    ) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.config = config
        self._lock = lock
        self._clock = clock

    @classmethod
    def create(
        cls,
        out: Path | None,
        *,
        hint: str,
        config: Mapping[str, Any],
        root: Path = ROOT,
        clock: Callable[[], float] = time.time,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> "RunDirectory":
        """Start a run in `out`, or in a new directory under `root` named after `hint` and the time (UTC).

        Everything that would stop the search later is checked first: the lock, a write, the free space.

        Raises:
            RunLockedError: another process is writing there.
            RunError: `out` holds a run or other files, cannot be written, or has too little space.
            ValueError: `config` is not plain data.
        """
        plain, text = _checked(config)
        path = _make_directory(out, hint=hint, root=root, clock=clock)
        with _released_on_error(DirectoryLock(path / LOCK_NAME, clock=clock)) as lock:
            _refuse_occupied(path)
            check_writable(path, min_free_bytes=min_free_bytes)
            write_atomically(path / CONFIG_NAME, text)
            _point_latest(path, root)
            return cls(path, plain, lock, clock)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        root: Path = ROOT,
        clock: Callable[[], float] = time.time,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> "RunDirectory":
        """Take up a run again.

        Raises:
            RunLockedError: another process is writing there.
            RunError: no run is there, or the directory cannot be written.
        """
        path = path.resolve()
        config = read_config(path)
        with _released_on_error(DirectoryLock(path / LOCK_NAME, clock=clock)) as lock:
            for folder in (path, path / "architectures"):
                remove_leftovers(folder)
            check_writable(path, min_free_bytes=min_free_bytes)
            _point_latest(path, root)
            return cls(path, config, lock, clock)

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.name

    @property
    def spool(self) -> Path:
        """Where executors leave outcomes until the ledger has them."""
        return self.path / "spool"

    def ledger(self) -> Ledger:
        """The run's ledger, open for writing; made when there is none yet.

        Raises:
            LedgerError: what is there is not a ledger, is damaged, or of a newer schema.
        """
        path = self.path / LEDGER_NAME
        return (
            Ledger.open(path, clock=self._clock) if path.exists() else Ledger.create(path, clock=self._clock)
        )

    def log(self, event: str, data: Mapping[str, Any] | None = None) -> None:
        """Append one line to `log.jsonl`: time, event, and `data`.

        Raises:
            RunWriteError: the disk is full.
            ValueError: `data` is not plain JSON.
        """
        entry = {"time": self._clock(), "event": event} | plain_json(data or {}, f"log entry {event}")
        path = self.path / LOG_NAME
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            with path.open("a+b") as file:
                # A writer that was killed may have left half a line.
                if file.tell() and not _ends_line(file.fileno(), file.tell()):
                    line = "\n" + line
                file.write(line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise RunWriteError(
                f"{path} could not be written ({error.strerror}); free space and resume"
            ) from error

    def close(self) -> None:
        """Release the directory. Safe to call twice."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of the run in directory `path`.

    Raises:
        RunError: there is none, or it is not a mapping in plain YAML.
    """
    from search_spaces.document import DocumentError, read_yaml

    file = path / CONFIG_NAME
    if not file.is_file():
        raise RunError(
            f"{path} is not the directory of a run (no {CONFIG_NAME}); nas list shows the runs here"
        )
    try:
        config = read_yaml(file)
    except DocumentError as error:
        raise RunError(f"{error}; restore it from a copy") from error
    if not isinstance(config, dict):
        raise RunError(f"{file} is not a mapping; restore it from a copy")
    return config


def list_runs(root: Path = ROOT) -> tuple[Path, ...]:
    """The directories of the runs under `root`, newest first; empty when there is no `root`."""
    if not root.is_dir():
        return ()
    configs = [path / CONFIG_NAME for path in root.iterdir() if not path.is_symlink()]
    started = {config.parent: config.stat().st_mtime_ns for config in configs if config.is_file()}
    return tuple(sorted(started, key=lambda path: (-started[path], path.name)))


def config_differences(old: Any, new: Any, place: str = "") -> tuple[str, ...]:
    """Every place where two plain documents differ, as `place: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        return tuple(
            difference
            for key in [*old, *(key for key in new if key not in old)]
            for difference in config_differences(
                old.get(key, _ABSENT), new.get(key, _ABSENT), f"{place}.{key}".lstrip(".")
            )
        )
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return tuple(
            difference
            for index, (left, right) in enumerate(zip(old, new, strict=True))
            for difference in config_differences(left, right, f"{place}[{index}]")
        )
    # As text, for to Python 1, 1.0 and True are equal.
    before, after = _text(old), _text(new)
    return () if before == after else (f"{place}: {_shortened(before)} -> {_shortened(after)}",)


_ABSENT = object()


def _text(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, sort_keys=True)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _checked(config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The configuration as plain data and as text, once it is sure that a resume can read it."""
    from search_spaces.nodes import DocumentError, parse_yaml, to_python

    plain: dict[str, Any] = plain_json(config, _PLACE)
    text = dump_yaml(plain, _PLACE)
    try:
        read_back = to_python(parse_yaml(text, _PLACE))
    except DocumentError as error:
        raise ValueError(f"{error}; a run could not be resumed from it") from error
    if read_back != plain:
        differences = "; ".join(config_differences(plain, read_back))
        raise ValueError(
            f"{_PLACE}: not read back as it was written ({differences}); a run could not be resumed"
        )
    return plain, text


def _make_directory(out: Path | None, *, hint: str, root: Path, clock: Callable[[], float]) -> Path:
    try:
        if out is not None:
            if any(ord(character) < 32 or ord(character) == 127 for character in str(out)):
                raise RunError(f"--out {str(out)!r} contains a control character; choose another name")
            if out.absolute() == (root / LATEST).absolute():
                raise RunError(f"{out} is the link to the newest run; choose another --out")
            out.mkdir(parents=True, exist_ok=True)
            return out.resolve()
        stem = f"{_safe_name(hint)}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(clock()))}"
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            path = root / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path.resolve()
        raise RunError(f"{root}/{stem} and its numbered variants exist; give --out")
    except OSError as error:
        raise RunError(
            f"{error.filename} cannot be made a directory ({error.strerror}); choose another --out"
        ) from error


def _safe_name(hint: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", hint).strip("-.")[:_MAX_HINT] or "run"


def _refuse_occupied(path: Path) -> None:
    if (path / CONFIG_NAME).exists():
        raise RunError(
            f"{path} holds a run already; continue it with nas resume {path}, or choose another --out"
        )
    others = sorted(entry.name for entry in path.iterdir() if entry.name != LOCK_NAME)
    if others:
        raise RunError(f"{path} is not empty ({others[0]}); choose another --out")


def _point_latest(path: Path, root: Path) -> None:
    """Make runs/latest this run. A run kept elsewhere does not fail where the link cannot be made."""
    base = root.absolute().resolve()
    is_inside = path.is_relative_to(base)
    try:
        root.mkdir(parents=True, exist_ok=True)
        point_symlink(root / LATEST, os.path.relpath(path, base) if is_inside else str(path))
    except OSError as error:
        if is_inside:
            raise RunError(
                f"{root / LATEST} cannot be made a link to the run ({error}); move it away"
            ) from error


@contextlib.contextmanager
def _released_on_error(lock: DirectoryLock) -> Iterator[DirectoryLock]:
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def _ends_line(descriptor: int, size: int) -> bool:
    return os.pread(descriptor, 1, size - 1) == b"\n"
