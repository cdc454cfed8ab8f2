"""Checkpoints are whole or refused, and the last two are kept."""

import json
from pathlib import Path

import pytest
import torch

from nas.training.checkpoints import (
    Checkpoint,
    CheckpointError,
    checkpoint_files,
    load_newest,
    save_checkpoint,
    sha256_of,
    write_tensors,
)
from results.errors import RunWriteError


def checkpoint(step: int) -> Checkpoint:
    tensors = {
        "weight": torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last) + step,
        "count": torch.tensor(step),
        "random": torch.tensor([0, 255], dtype=torch.uint8),
        "half": torch.tensor([0.1, float("nan")], dtype=torch.bfloat16),
    }
    return Checkpoint(tensors, {"step": step, "loss": 0.1 + 0.2, "best": None, "rows": [{"a": 1e-300}]})


def flip(path: Path, position: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = checkpoint(7)
    save_checkpoint(tmp_path, 7, saved)
    loaded, problems = load_newest(tmp_path)
    assert loaded is not None
    assert problems == []
    assert loaded.values == saved.values
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, value in saved.tensors.items():
        assert loaded.tensors[name].dtype == value.dtype
        assert torch.equal(loaded.tensors[name].nan_to_num(), value.nan_to_num())


def test_tensors_that_share_memory_are_all_saved(tmp_path: Path) -> None:
    one = torch.arange(4.0)
    save_checkpoint(tmp_path, 1, Checkpoint({"a": one, "b": one[:2]}, {}))
    loaded, _ = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.tensors["b"].tolist() == [0.0, 1.0]


def test_the_last_two_are_kept_by_number(tmp_path: Path) -> None:
    for step in (9, 10, 100, 99_999_999, 100_000_000):
        save_checkpoint(tmp_path, step, checkpoint(step))
    assert [json.loads(file.read_text())["step"] for file in checkpoint_files(tmp_path)] == [
        10**8,
        99_999_999,
    ]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("ending", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "empty"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path: Path, ending: str, damage: str) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, checkpoint(step))
    file = tmp_path / f"step-00000002{ending}"
    content = file.read_bytes()
    if damage == "flip":
        flip(file, len(content) // 2)
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    loaded, problems = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.values["step"] == 1
    # Without its JSON a checkpoint never happened; there is nothing to tell.
    assert [("step-00000002" in problem) for problem in problems] == (
        [] if (ending, damage) == (".json", "gone") else [True]
    )


def test_nothing_saved_is_no_error_and_nothing_whole_is(tmp_path: Path) -> None:
    assert load_newest(tmp_path) == (None, [])
    save_checkpoint(tmp_path, 1, checkpoint(1))
    flip(tmp_path / "step-00000001.safetensors")
    with pytest.raises(CheckpointError, match=r"no whole checkpoint: .*damaged.*start a new training"):
        load_newest(tmp_path)


def test_a_checkpoint_of_another_schema_is_not_read(tmp_path: Path) -> None:
    file = save_checkpoint(tmp_path, 1, checkpoint(1))
    file.write_text(file.read_text().replace("nas.checkpoint/1", "nas.checkpoint/2"))
    with pytest.raises(CheckpointError, match=r"nas\.checkpoint/2"):
        load_newest(tmp_path)


def test_a_value_that_is_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    file = save_checkpoint(tmp_path, 1, checkpoint(1))
    file.write_text(file.read_text().replace('"best": null', '"best": 1.0'))
    with pytest.raises(CheckpointError, match="damaged"):
        load_newest(tmp_path)


def test_equal_tensors_give_equal_files(tmp_path: Path) -> None:
    tensors = checkpoint(1).tensors
    sums = {write_tensors(tmp_path / str(index), tensors, {"nas": "{}"}) for index in range(4)}
    assert sums == {sha256_of(tmp_path / "0")}


def test_a_folder_that_is_gone_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunWriteError, match="could not be written"):
        write_tensors(tmp_path / "gone" / "weights.safetensors", checkpoint(1).tensors)
