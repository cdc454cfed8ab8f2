"""Checkpoints of a training: whole or absent, with checksums, the last two kept.

checkpoints/step-00000120.safetensors   every tensor of the state
            step-00000120.json          everything else, and the SHA-256 of both; written last, so a
                                        checkpoint without it never happened
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import NasError
from results.errors import RunWriteError
from results.filesystem import sync_directory, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_SCHEMA = "nas.checkpoint/1"
KEPT = 2
"""Checkpoints on disk: the last, and the one before it in case the last turns out to be damaged."""

_NAME = re.compile(r"step-([0-9]{8,})\.json")
_CHUNK = 2**20


class CheckpointError(NasError):
    """A checkpoint, or a file of weights, that cannot be used: what, where, and what to do."""


class Checkpoint(NamedTuple):
    """What was saved: tensors by name, and plain values."""

    tensors: "dict[str, Tensor]"
    values: dict[str, Any]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove all but the last two; returns its JSON file.

    Raises:
        RunWriteError: the disk is full or refuses; older checkpoints are as they were.
    """
    name = f"step-{step:08d}"
    checksum = write_tensors(folder / f"{name}.safetensors", checkpoint.tensors)
    document = {"schema": CHECKPOINT_SCHEMA, "step": step, "tensors": checksum, "values": checkpoint.values}
    document["checksum"] = _checksum(document)
    file = folder / f"{name}.json"
    write_atomically(file, json.dumps(document, allow_nan=False))
    for old in checkpoint_files(folder)[KEPT:]:
        _remove(old)
    return file


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a sentence on each newer one that is not.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    problems: list[str] = []
    files = checkpoint_files(folder)
    for file in files:
        try:
            return _load(file), problems
        except CheckpointError as error:
            problems.append(str(error))
    if files:
        raise CheckpointError(
            f"{folder} has no whole checkpoint: {'; '.join(problems)}; start a new training"
        )
    return None, problems


def checkpoint_files(folder: Path) -> list[Path]:
    """The JSON files of a folder's checkpoints, the newest first."""
    found = [
        (int(match[1]), file) for file in folder.glob("step-*.json") if (match := _NAME.fullmatch(file.name))
    ]
    return [file for _, file in sorted(found, reverse=True)]


def write_tensors(
    path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None
) -> str:
    """A safetensors file, replaced so that a crash leaves the old or the new one whole; returns its SHA-256.

    Raises:
        RunWriteError: the disk is full, or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # One layout and no shared memory: what safetensors stores.
    plain = {key: value.detach().to("cpu").contiguous().clone() for key, value in tensors.items()}
    try:
        try:
            # One key at most: safetensors writes several in any order, and equal tensors give equal files.
            save_file(plain, temporary, metadata=dict(metadata) if metadata else None)
            temporary.chmod(0o644)  # safetensors writes for the owner alone
            checksum = sha256_of(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunWriteError(
            f"{path} could not be written ({reason}); free space or choose another --out"
        ) from error
    return checksum


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _load(file: Path) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors = file.with_suffix(".safetensors")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        checksum = document.pop("checksum")
        if document["schema"] != CHECKPOINT_SCHEMA:
            raise CheckpointError(f"{file} is of schema {document['schema']!r}, not {CHECKPOINT_SCHEMA}")
        if _checksum(document) != checksum or sha256_of(tensors) != document["tensors"]:
            raise CheckpointError(f"{file} is damaged: it is not what was written")
        return Checkpoint(load_file(tensors), document["values"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read ({error})") from error


def _checksum(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _remove(file: Path) -> None:
    # The JSON first: what is half removed is then no checkpoint.
    for path in (file, file.with_suffix(".safetensors")):
        with contextlib.suppress(OSError):
            path.unlink()
