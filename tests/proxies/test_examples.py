"""The examples work, and enter where their documentation says."""

import pickle
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from proxies import task as task_module
from proxies.data import registry
from proxies.data.registry import DATA
from proxies.protocols import Task
from proxies.records import Decision
from proxies.task import load_task
from proxies.training import seeded_build
from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv

EXAMPLES = Path(__file__).parents[2] / "examples"
CPU = torch.device("cpu")
ARCH = Architecture(
    stem=Stem(width=8),
    stages=(Stage(stride=2, depth=1, width=16, block=FusedMBConv(expand=2)),),
    head=Head(width=32),
)


@dataclass(frozen=True)
class Entry:
    """An entry point as the examples' README declares it."""

    name: str
    value: str

    def load(self) -> Any:
        module, _, attribute = self.value.partition(":")
        return getattr(import_module(module), attribute)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if a distribution with the README's entry points were installed."""
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    declared = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])["project"]["entry-points"]

    def entries(*, group: str) -> list[Entry]:
        return [Entry(name, value) for name, value in declared.get(group, {}).items()]

    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(registry, "entry_points", entries)
    monkeypatch.setattr(task_module, "entry_points", entries)
    before = dict(DATA)
    yield
    DATA.clear()
    DATA.update(before)


class Curve:
    """A report that remembers, and stops after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.points: list[tuple[int, Mapping[str, float]]] = []
        self._stop_after = stop_after

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        self.points.append((step, metrics))
        return "stop" if step == self._stop_after else "continue"


def _train(task: Task, report: Curve) -> Mapping[str, float]:
    torch.set_num_threads(1)
    return task.train(seeded_build(ARCH, task.num_classes, seed=0), report, seed=0, device=CPU)


def test_the_task_trains_reports_and_is_repeatable() -> None:
    task = load_task("rotation", allow_plugins=True)
    curve = Curve()
    metrics = _train(task, curve)
    assert task.num_classes == 4
    assert 0.4 < metrics["accuracy"] <= 1.0
    assert -1.0 < metrics["overconfidence"] < 1.0
    assert [step for step, _ in curve.points] == [1, 2]
    assert _train(pickle.loads(pickle.dumps(task)), Curve()) == metrics
    assert _train(task, Curve(stop_after=1)) == curve.points[0][1]


def test_the_tasks_fingerprint_follows_its_recipe() -> None:
    cls = type(load_task("rotation", allow_plugins=True))
    assert cls().fingerprint() == cls().fingerprint() != cls(epochs=5).fingerprint()  # type: ignore[call-arg]


def test_the_data_is_a_source_for_shipped_tasks(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(
        "schema: nas.task/1\nname: mine\nresolution: 16\n"
        "data: {source: shapes, train_images: 600, validation_images: 300}\n"
        "recipe: {epochs: 2, batch_size: 32, optimizer: adamw, learning_rate: 0.01}\n"
    )
    task = load_task(path, allow_plugins=True)
    assert task.num_classes == 3
    assert _train(task, Curve())["accuracy"] > 0.6
    assert load_task("quick", data="shapes", allow_plugins=True).num_classes == 3


def test_the_splits_are_apart() -> None:
    load_task("quick", allow_plugins=True)
    source = registry.source_from_document({"source": "shapes", "train_images": 90, "validation_images": 60})
    splits, test = source.load(resolution=16), source.load_test(resolution=16)
    images = [
        image.tobytes() for split in (splits.train, splits.validation, test) for image in split.images_NCHW
    ]
    assert len(set(images)) == 90 + 60 + 60
    assert set(splits.validation.labels_N) == {0, 1, 2}
