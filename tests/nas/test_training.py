"""A network trained in full: end to end, stopped in every way and taken up again, refused with a reason."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exported import imported
from nas_training_rows import loss_curve
from small_training import ARCH, DATA, RECIPE, TOTAL_STEPS, Recorder, SignalsAt

import nas
from nas.errors import ConfigError
from nas.training.checkpoints import CheckpointError, checkpoint_files
from nas.training.directory import read_rows
from nas.training.loop import TrainingInterruptedError
from proxies.evaluation import evaluate
from proxies.feed import Standardisation
from proxies.weights import read_weights
from results.errors import RunError, RunLockedError, RunWriteError

ROOT = Path(__file__).parents[2]
OPTIONS = {"data": DATA, "recipe": RECIPE, "hardware": "cpu", "threads": 1}
MIDDLE_OF_STAGE_TWO = 10
"""Also the middle of an epoch; a step that something is saved at."""
KILLED_AT = 12
"""The report after that, before anything is saved of it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> nas.Trained:
    """A training that was never stopped."""
    return nas.train(ARCH, out=tmp_path_factory.mktemp("trained") / "whole", **OPTIONS)


def assert_same_training(one: Path, other: Path) -> None:
    assert loss_curve(one) == loss_curve(other)
    for name in ("best.safetensors", "last.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    judged = [
        [{k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}} for row in rows]
        for rows in (read_rows(one / "epochs.csv"), read_rows(other / "epochs.csv"))
    ]
    assert judged[0] == judged[1]


def test_a_network_learns_and_everything_is_written(whole: nas.Trained) -> None:
    result = whole.result
    assert 0.3 < whole.top1 <= result["best"]["top5"] <= 1.0  # by chance: 0.1
    assert 0.3 < result["test"]["top1"] <= 1.0
    assert (result["images"]["train"], result["test"]["images"]) == (1078, 359)
    epochs = read_rows(whole.path / "epochs.csv")
    assert [int(row["resolution"]) for row in epochs] == [6, 6, 8, 8]
    assert [int(row["step"]) for row in epochs] == [4, 8, 12, 16]
    assert float(epochs[-1]["train_loss"]) < float(epochs[0]["train_loss"])
    assert max(float(row["top1"]) for row in epochs) == whole.top1
    assert loss_curve(whole.path)[-1][0] == TOTAL_STEPS
    assert json.loads((whole.path / "result.json").read_text()) == result


def test_the_weights_are_those_that_were_judged(whole: nas.Trained) -> None:
    splits = DATA.load(resolution=8)
    found = evaluate(
        whole.network(),
        splits.validation,
        RECIPE.recipe,
        standard=Standardisation.of(splits.train),
        device=torch.device("cpu"),
    )
    assert found.accuracy == whole.top1
    about = read_weights(whole.path / "best.safetensors")
    assert about.arch == ARCH
    assert about.more["mean"] == Standardisation.of(splits.train).mean_1C11.flatten().tolist()


def test_what_was_trained_leaves_as_a_module_of_its_own(whole: nas.Trained, tmp_path: Path) -> None:
    module, weights = nas.export(whole.path, out=tmp_path, format="torch")
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(imported(module).load(weights)(images), whole.network()(images))
    (again,) = nas.export(
        ARCH, weights=whole.path / "best.safetensors", out=tmp_path / "again", format="safetensors"
    )
    assert read_weights(again).more == read_weights(weights).more


def test_damaged_weights_are_refused(whole: nas.Trained, tmp_path: Path) -> None:
    content = bytearray((whole.path / "best.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not what was written"):
        nas.Trained(path=tmp_path, result=whole.result).network()


def test_killed_in_the_middle_of_a_stage_and_resumed(whole: nas.Trained, tmp_path: Path) -> None:
    """Curve, averaged weights and accuracy are, to the last bit, those of the whole training."""
    code = f"""
import sys; sys.path.insert(0, "tests/nas")
from pathlib import Path
import nas
from small_training import ARCH, DATA, RECIPE, SignalsAt
nas.train(ARCH, out=Path(sys.argv[1]), data=DATA, recipe=RECIPE, hardware="cpu", threads=1,
          checkpoint_seconds=1e-9, progress=SignalsAt({KILLED_AT}))
"""
    out = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert loss_curve(out)[-1][0] == KILLED_AT  # a row that the resumed training writes anew
    newest = checkpoint_files(out / "checkpoints")[0]
    assert json.loads(newest.read_text())["step"] == MIDDLE_OF_STAGE_TWO
    assert not (out / "result.json").exists()
    assert nas.resume_training(out).result["test"] == whole.result["test"]
    assert_same_training(out, whole.path)


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGTERM, 10), pytest.param(signal.SIGINT, 4, marks=pytest.mark.thorough)]
)
def test_a_signal_ends_in_order_and_says_how_to_go_on(
    whole: nas.Trained, tmp_path: Path, number: int, step: int
) -> None:
    """Without a checkpoint before: the one that the end itself makes."""
    out = tmp_path / "stopped"
    with pytest.raises(TrainingInterruptedError, match=f"nas train {out} --resume") as stopped:
        nas.train(ARCH, out=out, progress=SignalsAt(step, number), **OPTIONS)
    assert stopped.value.signal == number
    (file,) = checkpoint_files(out / "checkpoints")
    assert step <= json.loads(file.read_text())["step"] < TOTAL_STEPS
    recorder = Recorder()
    nas.resume_training(out, progress=recorder)
    assert recorder.events[0].step > step
    assert_same_training(out, whole.path)


@pytest.mark.thorough
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(whole: nas.Trained, tmp_path: Path) -> None:
    out = tmp_path / "damaged"
    with pytest.raises(TrainingInterruptedError):
        nas.train(ARCH, out=out, checkpoint_seconds=1e-9, progress=SignalsAt(10, signal.SIGTERM), **OPTIONS)
    newest, before = checkpoint_files(out / "checkpoints")
    tensors = newest.with_suffix(".safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
    started_from = json.loads(before.read_text())["step"]
    recorder = Recorder()
    nas.resume_training(out, progress=recorder)
    assert started_from < recorder.events[0].step <= json.loads(newest.read_text())["step"]
    assert_same_training(out, whole.path)


@pytest.mark.thorough
def test_another_seed_is_another_training(whole: nas.Trained, tmp_path: Path) -> None:
    other = nas.train(ARCH, out=tmp_path / "other", seed=1, **OPTIONS)
    assert loss_curve(other.path) != loss_curve(whole.path)


def test_a_finished_training_is_returned_and_not_overwritten(whole: nas.Trained) -> None:
    before = (whole.path / "last.safetensors").stat().st_mtime_ns
    assert nas.resume_training(whole.path) == whole
    with pytest.raises(RunError, match="holds a finished training; choose another --out"):
        nas.train(ARCH, out=whole.path, **OPTIONS)
    assert (whole.path / "last.safetensors").stat().st_mtime_ns == before


def test_an_unfinished_training_is_not_overwritten_either(tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    with pytest.raises(TrainingInterruptedError):
        nas.train(ARCH, out=out, progress=SignalsAt(1, signal.SIGTERM), **OPTIONS)
    with pytest.raises(RunError, match=f"go on with it: nas train {out} --resume"):
        nas.train(ARCH, out=out, **OPTIONS)
    text = (out / "train.yaml").read_text()
    (out / "train.yaml").write_text(text.replace("width: 16", "width: 24"))
    with pytest.raises(ConfigError, match="architecture was edited"):
        nas.resume_training(out)
    (out / "train.yaml").write_text(
        text.replace("source: digits\n  channels: 1\n  seed: 0", "source: digits\n  channels: 1\n  seed: 7")
    )
    with pytest.raises(ConfigError, match="data has changed"):
        nas.resume_training(out)


def test_two_processes_do_not_train_in_one_place(tmp_path: Path) -> None:
    from nas.training.directory import TrainingDirectory

    with TrainingDirectory.create(tmp_path / "one", {"schema": "x"}), pytest.raises(RunLockedError):
        TrainingDirectory.open(tmp_path / "one")


def test_a_full_disk_says_so_and_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    import nas.training.checkpoints as checkpoints

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "full"
    with pytest.raises(TrainingInterruptedError):
        nas.train(ARCH, out=out, progress=SignalsAt(4, signal.SIGTERM), **OPTIONS)
    monkeypatch.setattr(checkpoints, "sync_directory", full)
    with pytest.raises(RunWriteError, match="No space left"):
        nas.resume_training(out, checkpoint_seconds=1e-9)
    monkeypatch.undo()
    assert len(checkpoint_files(out / "checkpoints")) == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [("file.txt", "is not empty"), ("", "no train.yaml")],
)
def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path, place: str, message: str) -> None:
    if place:
        (tmp_path / place).write_text("mine")
        with pytest.raises(RunError, match=message):
            nas.train(ARCH, out=tmp_path, **OPTIONS)
    else:
        with pytest.raises(RunError, match=message):
            nas.resume_training(tmp_path)


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a batch of 2000 is more than the 1078 training images"):
        nas.train(ARCH, out=tmp_path / "x", changes=nas.TrainingChanges(batch_size=2000), **OPTIONS)
