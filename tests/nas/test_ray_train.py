"""`--workers`: trainings of two workers through Ray Train, from Python and from the command line."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nas_program import run_here
from nas_training_rows import loss_curve
from small_training import ARCH, DATA, RECIPE, Recorder

import nas
from nas.training.loop import TrainingInterruptedError
from nas.training.progress import TrainingEvent
from proxies.data.registry import source_document
from search_spaces.text import dump

pytestmark = [
    pytest.mark.ray,
    pytest.mark.thorough,
    # Ray's own, of a part of it that Ray Train loads and nobody uses here.
    pytest.mark.filterwarnings("ignore:.use_.* is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for all of this file, as a program has it that started its own."""
    import contextlib
    import shutil

    from nas.executors.ray_environment import environment, make_folder
    from nas.training.ray_train import OTHERWISE, TRAIN_ENVIRONMENT, ray, silence, start_cluster

    folder = make_folder()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(environment(TRAIN_ENVIRONMENT))
        stack.enter_context(silence())
        stack.callback(ray.shutdown)
        start_cluster(num_cpus=2, num_gpus=0, folder=folder, otherwise=OTHERWISE)
        yield


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An architecture as `nas export` writes it, a recipe and a description of data."""
    (tmp_path / "arch.yaml").write_text(dump(ARCH.to_document()))
    nas.export(tmp_path / "arch.yaml", out=tmp_path / "exported", format="yaml")
    recipe = RECIPE.model_dump(mode="json", by_alias=True, exclude_unset=True)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(source_document(DATA)))
    return tmp_path


def exported(files: Path) -> Path:
    (path,) = (files / "exported").glob("*.yaml")
    return path


def assert_equal_trainings(one: Path, other: Path) -> None:
    assert loss_curve(one) == loss_curve(other)
    for name in ("best.safetensors", "last.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def by_command(capsys: Any, files: Path, out: Path, *more: Any) -> dict[str, Any]:
    options = ("--recipe", files / "recipe.yaml", "--hardware", "cpu", "--threads", 1, "--out", out, "--json")
    ended = run_here(capsys, "train", exported(files), "--data", files / "data.yaml", *options, *more)
    assert ended.code == 0, ended.err
    return dict(ended.json)


def test_alone_from_python_and_from_the_command_line(capsys: Any, files: Path) -> None:
    settings: dict[str, Any] = {"data": DATA, "recipe": RECIPE, "hardware": "cpu", "threads": 1}
    nas.train(exported(files), out=files / "python", **settings)
    assert by_command(capsys, files, files / "command")["workers"] == 1
    assert_equal_trainings(files / "python", files / "command")


@pytest.mark.usefixtures("cluster")
def test_two_workers_from_python_stopped_and_from_the_command_line_whole(capsys: Any, files: Path) -> None:
    """Equal to the last bit; SIGTERM reaches the chief and all end after the same step."""
    settings: dict[str, Any] = {"data": DATA, "recipe": RECIPE, "hardware": "cpu", "threads": 1, "workers": 2}
    result = by_command(capsys, files, files / "command", "--workers", 2)
    assert result["workers"] == 2
    assert 0.3 < result["best"]["top1"] <= 1.0  # by chance: 0.1
    recorder = Stopper()
    with pytest.raises(TrainingInterruptedError, match="--resume") as stopped:
        nas.train(
            exported(files),
            out=files / "python",
            changes=nas.TrainingChanges(epochs=4000),
            progress=recorder,
            **settings,
        )
    assert stopped.value.signal == signal.SIGTERM
    assert recorder.events
    short = nas.train(exported(files), out=files / "short", progress=Recorder(), **settings)
    assert short.top1 == result["best"]["top1"]
    assert_equal_trainings(short.path, files / "command")


class Stopper(Recorder):
    """Sends this process SIGTERM at the first event."""

    def update(self, event: TrainingEvent) -> None:
        super().update(event)
        if len(self.events) == 1:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("cluster")
def test_what_a_worker_dies_of_is_told(files: Path) -> None:
    """Its own error where it had one; else that it is gone, and how to go on."""
    from nas.training.ray_train import WorkersLostError
    from proxies.protocols import Diverged

    settings: dict[str, Any] = {"data": DATA, "recipe": RECIPE, "hardware": "cpu", "threads": 1, "workers": 2}
    with pytest.raises(Diverged, match="lower the learning rate"):
        nas.train(
            ARCH,
            out=files / "diverged",
            **settings | {"changes": nas.TrainingChanges(learning_rate=1e38)},
        )
    with pytest.raises(WorkersLostError, match=f"nas train {files / 'killed'} --resume"):
        nas.train(
            ARCH,
            out=files / "killed",
            changes=nas.TrainingChanges(epochs=4000),
            progress=KillsAWorker(),
            checkpoint_seconds=1e-9,
            **settings,
        )
    assert list((files / "killed" / "checkpoints").glob("*.json"))


class KillsAWorker:
    """At the first event: kill -9 of one worker process of this test's cluster."""

    def __init__(self) -> None:
        self._is_done = False

    def update(self, event: TrainingEvent) -> None:
        if self._is_done:
            return
        self._is_done = True
        import psutil

        found = [
            process
            for process in psutil.Process().children(recursive=True)
            if "TrainWorker" in " ".join(process.cmdline())
        ]
        assert found
        os.kill(found[0].pid, signal.SIGKILL)
