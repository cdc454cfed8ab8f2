"""Logs for TensorBoard hold what the CSV files do, also of a stopped training; classes keep their names."""

import builtins
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_training import ARCH, DATA, RECIPE, SignalsAt

import nas
from nas.errors import ConfigError
from nas.training.board import EPOCH_TAGS, SPEED, STEP_TAGS, TensorBoard
from nas.training.directory import read_rows
from nas.training.loop import TrainingInterruptedError
from proxies.data.folder import Folder
from proxies.data.protocol import class_names_of
from proxies.weights import read_weights

SETTINGS: dict[str, Any] = {"data": DATA, "recipe": RECIPE, "hardware": "cpu", "threads": 1}


def events(folder: Path) -> Iterator[Any]:
    """The records of a folder's event files, oldest file first: length, checksum, bytes, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            yield Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: a session that starts at a step takes back what was at or after it."""
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.session_log.status == 1:
            found = {
                tag: {step: value for step, value in values.items() if step < event.step}
                for tag, values in found.items()
            }
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_a_stopped_and_resumed_training_has_the_rows_of_its_csv_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(TrainingInterruptedError):
        nas.train(ARCH, out=out, tensorboard=True, progress=SignalsAt(10, signal.SIGTERM), **SETTINGS)
    trained = nas.resume_training(out)
    shown = scalars(out / "tensorboard")
    for file, tags in (("steps.csv", STEP_TAGS | SPEED), ("epochs.csv", EPOCH_TAGS)):
        rows = read_rows(out / file)
        assert rows
        for name, tag in tags.items():
            assert shown[tag] == {int(row["step"]): pytest.approx(float(row[name])) for row in rows}, tag
    assert trained.result["class_names"] == [str(digit) for digit in range(10)]
    about = read_weights(out / "best.safetensors").more
    assert about["class_names"] == trained.result["class_names"]


def test_what_comes_after_the_last_checkpoint_is_taken_back(tmp_path: Path) -> None:
    """Rows of a run that was killed, and are made anew."""
    row = dict.fromkeys([*STEP_TAGS, *SPEED], 1.0)
    for start, end, value in ((0, 40, 1.0), (20, 30, 2.0)):
        board = TensorBoard(tmp_path, step=start)
        for step in range(start + 10, end + 10, 10):
            board.add_steps({**row, "loss": value, "step": step})
        board.close()
    assert scalars(tmp_path / "tensorboard")["train/loss"] == {10: 1.0, 20: 1.0, 30: 2.0}


def test_without_the_package_its_name_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def fake(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.partition(".")[0] == "tensorboardX":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(ConfigError, match=r"training-aware-nas\[tensorboard\]"):
        nas.train(ARCH, out=tmp_path / "out", tensorboard=True, **SETTINGS)
    assert not (tmp_path / "out").exists()


def test_folders_are_the_names_of_their_classes_and_others_may_have_none(tmp_path: Path) -> None:
    for name in ("wasp", "ant"):
        (tmp_path / name).mkdir()
    assert class_names_of(Folder(root=str(tmp_path))) == ("ant", "wasp")
    assert class_names_of(object()) is None  # type: ignore[arg-type]
