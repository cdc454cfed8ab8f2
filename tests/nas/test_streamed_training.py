"""Trainings whose images are decoded on the way: equal to the last bit to those with images in memory."""

import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nas_training_rows import loss_curve
from PIL import Image
from small_training import ARCH, RECIPE, Recorder, SignalsAt

import nas
from nas.errors import ConfigError
from nas.training import loop
from nas.training.loop import TrainingInterruptedError
from nas.training.plan import make_training_plan, plan_from_document
from proxies.data.digits import Digits
from proxies.data.folder import Folder
from proxies.data.protocol import DataError, StreamedSplit, Streams
from proxies.feed import Standardisation

SHORT = nas.TrainingChanges(batch_size=32, epochs=2)
SETTINGS: dict[str, Any] = {"recipe": RECIPE, "hardware": "cpu", "threads": 1, "changes": SHORT}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """240 scanned digits as PNG files in class folders; some are held out."""
    root = tmp_path_factory.mktemp("scans")
    split = Digits(channels=1).load(resolution=8).train
    for index in range(240):
        folder = root / str(split.labels_N[index])
        folder.mkdir(exist_ok=True)
        Image.fromarray(split.images_NCHW[index, 0]).save(folder / f"{index:04}.png")
    return Folder(root=str(root), channels=1, hold_out=0.2)


@pytest.fixture(scope="module")
def in_memory(scans: Folder, tmp_path_factory: pytest.TempPathFactory) -> nas.Trained:
    return nas.train(ARCH, data=scans, out=tmp_path_factory.mktemp("memory") / "x", **SETTINGS)


def test_streamed_images_train_as_those_in_memory_do(
    scans: Folder, in_memory: nas.Trained, tmp_path: Path
) -> None:
    """Shifted, resized, mixed, in two parts a batch: stopped within an epoch and resumed besides."""
    out = tmp_path / "streamed"
    with pytest.raises(TrainingInterruptedError):
        nas.train(ARCH, data=scans, out=out, loaders=1, progress=SignalsAt(3, signal.SIGTERM), **SETTINGS)
    recorder = Recorder()
    streamed = nas.resume_training(out, progress=recorder)
    assert loss_curve(out) == loss_curve(in_memory.path)
    for name in ("best.safetensors", "last.safetensors"):
        assert (out / name).read_bytes() == (in_memory.path / name).read_bytes()
    assert streamed.result["test"] == in_memory.result["test"]
    loading = streamed.result["loading"]
    assert loading["loaders"] == 1
    assert loading["loader_images_per_second"] > 0.0
    assert loading["network_images_per_second"] > 0.0
    assert 0.0 <= loading["waited"] <= 1.0
    assert "loading" not in in_memory.result


def test_splits_and_statistics_are_those_in_memory(scans: Folder) -> None:
    assert isinstance(scans, Streams)
    streamed, loaded = scans.stream(resolution=6, loaders=2), scans.load(resolution=6)
    assert (streamed.channels, streamed.resolution, streamed.num_classes) == (1, 6, 10)
    pairs = [
        (streamed.train, loaded.train),
        (streamed.validation, loaded.validation),
        (scans.stream_test(resolution=6, loaders=2), scans.load_test(resolution=6)),
    ]
    for split, other in pairs:
        assert isinstance(split, StreamedSplit)
        assert np.array_equal(split.labels_N, other.labels_N)
        images = np.stack([split.read(index) for index in range(len(split))])
        assert np.array_equal(images, other.images_NCHW)  # type: ignore[union-attr]
    one, two = (Standardisation.of(splits.train) for splits in (streamed, loaded))
    assert one.mean_1C11.equal(two.mean_1C11)
    assert one.std_1C11.equal(two.std_1C11)


def test_a_damaged_image_is_named(scans: Folder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for index in range(30):
            Image.new("L", (8, 8), index).save(tmp_path / name / f"{index}.png")
    (tmp_path / "two" / "3.png").write_bytes(b"no image")
    split = Folder(root=str(tmp_path), channels=1).stream(resolution=8, loaders=1).train
    bad = next(i for i, picture in enumerate(split.read.pictures) if picture.key == "two/3.png")  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"two/3.png cannot be used .*repair or remove it"):
        split.read(bad)  # type: ignore[union-attr]


def test_what_has_no_files_cannot_be_streamed() -> None:
    given: dict[str, Any] = {"recipe": RECIPE, "hardware": "cpu"}
    with pytest.raises(ConfigError, match="Digits has no files that could be loaded; use --loaders 0"):
        make_training_plan(ARCH, data=Digits(channels=1), loaders=1, **given)
    with pytest.raises(DataError, match="0 processes cannot load"):
        StreamedSplit(
            read=lambda index: np.zeros((1, 8, 8), np.uint8),
            labels_N=np.zeros(3, np.int64),
            image_shape=(1, 8, 8),
            loaders=0,
        )


def test_loaders_are_kept_for_a_resume(scans: Folder) -> None:
    plan = make_training_plan(ARCH, data=scans, recipe=RECIPE, hardware="cpu", loaders=3)
    assert plan_from_document(plan.document(), "train.yaml").loaders == 3


@dataclass
class FakeRun:
    loading: Any


@pytest.mark.parametrize(("waited", "is_told"), [(1.0, False), (3.0, True)])
def test_a_training_that_waits_for_images_says_so_once(
    caplog: pytest.LogCaptureFixture, waited: float, is_told: bool
) -> None:
    """Ten seconds, of which it waited one or three; two loaders took 16 s of work for 400 images."""
    from proxies.streamed_feed import Loading

    training = object.__new__(loop.TrainingLoop)
    training.run = FakeRun(Loading(400, 16.0, waited, 2))  # type: ignore[assignment]
    training._own_seconds, training._is_warned = 10.0, False
    assert training._loading() == {
        "loaders": 2,
        "loader_images_per_second": 50.0,
        "network_images_per_second": pytest.approx(400 / (10.0 - waited)),
        "waited": waited / 10.0,
    }
    with caplog.at_level(logging.WARNING):
        training._warn_of_loading()
        training._warn_of_loading()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == is_told
    if is_told:
        assert "waited for images 30 % of its time; 2 of them deliver 50 images a second" in told[0]
