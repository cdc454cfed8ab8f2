"""The directory of one full training.

DIR/  train.yaml        what is trained on what, and how: resolved, written once
      checkpoints/      to go on from; see nas.training.checkpoints
      steps.csv         a row every few steps: loss, learning rate, image size, images a second
      epochs.csv        a row an epoch: losses, top-1 and top-5 on the validation images
      best.safetensors  the weights that were best on the validation images (averaged ones, where averaged)
      last.safetensors  the weights at the end
      result.json       how it ended; there when the training is complete
      lock              held by the process that trains
"""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from nas.errors import ConfigError
from results.errors import RunError, RunWriteError
from results.filesystem import (
    DirectoryLock,
    check_writable,
    remove_leftovers,
    sync_directory,
    write_atomically,
)
from results.text import dump_yaml

CONFIG_NAME = "train.yaml"
RESULT_NAME = "result.json"
STEP_COLUMNS = ("step", "epoch", "stage", "resolution", "learning_rate", "loss", "images_per_second")
EPOCH_COLUMNS = (
    *("epoch", "step", "stage", "resolution", "learning_rate", "train_loss"),
    *("validation_loss", "top1", "top5", "images_per_second", "seconds"),
)

Row = Mapping[str, Any]


class TrainingDirectory:
    """A training's directory, locked for this process until `close`. Made by `create` or `open`."""

    def __init__(self, path: Path, config: Mapping[str, Any], lock: DirectoryLock | None) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.config = config
        self.checkpoints = path / "checkpoints"
        self._lock = lock

    @classmethod
    def create(cls, out: Path, config: Mapping[str, Any]) -> Self:
        """Start a training in `out`, which is made, or is empty.

        Raises:
            RunLockedError: another process trains there.
            RunError: it holds a training or other files, cannot be written, or has too little space.
        """
        text = dump_yaml(config, str(out / CONFIG_NAME))
        _refuse_occupied(out)
        try:
            (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{out} cannot be made a directory ({error.strerror}); choose another --out"
            ) from error
        lock = DirectoryLock(out / "lock")
        try:
            check_writable(out)
            write_atomically(out / CONFIG_NAME, text)
        except BaseException:
            lock.release()
            raise
        return cls(out, config, lock)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Take up a training again.

        Raises:
            RunLockedError: another process trains there.
            RunError: no training is there, or it is complete.
        """
        config = read_training(path)
        if (path / RESULT_NAME).exists():
            raise RunError(f"{path} holds a finished training; to train on, start one with --init {path}")
        lock = DirectoryLock(path / "lock")
        try:
            for folder in (path, path / "checkpoints"):
                remove_leftovers(folder)
            check_writable(path)
        except BaseException:
            lock.release()
            raise
        return cls(path, config, lock)

    @classmethod
    def of_worker(cls, path: Path) -> Self:
        """The directory for a worker of the process that has it locked."""
        return cls(path, read_training(path), None)

    def begin_steps(self, step: int) -> None:
        """Keep the rows of steps.csv up to `step`, from where the training goes on."""
        kept = [row for row in read_rows(self.path / "steps.csv") if _step(row) <= step]
        write_atomically(
            self.path / "steps.csv", _csv([STEP_COLUMNS, *(tuple(row.values()) for row in kept)])
        )

    def add_steps(self, row: Row, *, durable: bool = False) -> None:
        """Append a row to steps.csv; `durable`: with all before it, on the disk.

        Raises:
            RunWriteError: the disk is full.
        """
        path = self.path / "steps.csv"
        try:
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write(_csv([[_cell(row[name]) for name in STEP_COLUMNS]]))
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise RunWriteError(
                f"{path} could not be written ({error.strerror}); free space and resume"
            ) from error

    def write_epochs(self, rows: Iterable[Row]) -> None:
        """Replace epochs.csv."""
        cells = ([_cell(row[name]) for name in EPOCH_COLUMNS] for row in rows)
        write_atomically(self.path / "epochs.csv", _csv([EPOCH_COLUMNS, *cells]))

    def write_result(self, document: Mapping[str, Any]) -> None:
        """Write result.json; the training is then complete."""
        write_atomically(self.path / RESULT_NAME, json.dumps(document, indent=2, allow_nan=False) + "\n")
        sync_directory(self.path)

    def close(self) -> None:
        """Release the directory. Safe to call twice."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_training(path: Path) -> bool:
    """Whether a training was started in this directory."""
    return (path / CONFIG_NAME).is_file()


def read_training(path: Path) -> dict[str, Any]:
    """What train.yaml says.

    Raises:
        RunError: no training is there.
        ConfigError, DocumentError: train.yaml is not what was written.
    """
    from search_spaces.document import read_yaml

    if not is_training(path):
        raise RunError(f"{path} holds no training (no {CONFIG_NAME}); start one with nas train ARCH --data D")
    document = read_yaml(path / CONFIG_NAME)
    if not isinstance(document, dict):
        raise ConfigError(f"{path / CONFIG_NAME}: expected a mapping; start a new training")
    return document


def read_result(path: Path) -> dict[str, Any] | None:
    """How the training ended; None while it has not.

    Raises:
        RunError: result.json is not what was written.
    """
    file = path / RESULT_NAME
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); remove it and resume the training") from error
    return document


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that this module wrote; a last one that a kill cut short is left out."""
    text = ""
    with contextlib.suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [dict(row) for row in csv.DictReader(io.StringIO(whole))]


def _refuse_occupied(out: Path) -> None:
    if is_training(out):
        done = (out / RESULT_NAME).exists()
        remedy = "" if done else f"go on with it: nas train {out} --resume, or "
        what = "a finished" if done else "an unfinished"
        raise RunError(f"{out} holds {what} training; {remedy}choose another --out")
    try:
        others = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
    except OSError as error:
        raise RunError(f"{out} cannot be used ({error.strerror}); choose another --out") from error
    # What a start that failed leaves behind is no obstacle to the next.
    others = [name for name in others if name not in {"lock", "checkpoints"}]
    if others:
        raise RunError(f"{out} is not empty ({others[0]}); choose another --out")


def _step(row: Mapping[str, str]) -> int:
    text = row.get("step") or ""
    return int(text) if text.isdigit() else 2**63


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
