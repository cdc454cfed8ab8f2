"""Tasks read from YAML: what they identify, what they change of a candidate, and what they never look at."""

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import write_classes

from proxies import task as task_module
from proxies.data.clutter import ClutteredDigits
from proxies.data.digits import Digits
from proxies.data.folder import Folder
from proxies.data.protocol import DataError, Split, Splits
from proxies.data.registry import source_from_document
from proxies.protocols import ReducingTask, Report
from proxies.records import Decision
from proxies.task import (
    ProxyTask,
    TaskDocument,
    UnknownTaskError,
    load_task,
    reduce,
    task_names,
)
from proxies.training import seeded_build
from search_spaces.architecture import cost
from search_spaces.document import DocumentError, load_architecture
from search_spaces.space_document import load_space

TINY = """\
schema: nas.task/1
name: mine
data: {source: digits, channels: 3}
resolution: 8
recipe: {epochs: 1, batch_size: 64, optimizer: adamw, learning_rate: 0.01}
seeds: [0, 1]
"""


def _loaded(name: str | Path, **overrides: Any) -> ProxyTask:
    task = load_task(name, **overrides)
    assert isinstance(task, ProxyTask)
    return task


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(TINY)
    return tmp_path / "mine.yaml"


def _go_on(step: int, metrics: Mapping[str, float]) -> Decision:
    return "continue"


def test_the_shipped_tasks() -> None:
    assert {"default", "paper", "quick"} <= set(task_names())
    for name in set(task_names()) - {"paper"}:
        task = _loaded(name)
        assert isinstance(task.source, ClutteredDigits)
        assert task.num_classes == 10
        assert not task.document.recipe.flip, "a mirrored 2 is no 2"
    default, quick = _loaded("default").document, _loaded("quick").document
    assert (quick.recipe.epochs or 0) < (default.recipe.epochs or 0)


def test_the_paper_task_is_the_papers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="proxy 'paper' has no data of its own; name some with --data"):
        load_task("paper")
    write_classes(tmp_path / "train", 200)
    write_classes(tmp_path / "val", 5, first=900)
    task = _loaded("paper", data=str(tmp_path))
    assert (task.document.recipe.epochs, task.document.max_candidates) == (10, 1000)
    assert task.document.reward == "effnetv2"
    assert task.source == Folder(root=str(tmp_path)).holding_out(0.02)
    splits = task.source.load(resolution=12)
    assert len(splits.train) + len(splits.validation) == 400
    assert len(task.source.load_test(resolution=12)) == 10


def test_unknown_names_suggest() -> None:
    with pytest.raises(UnknownTaskError, match="'quik' is unknown, did you mean 'quick'"):
        load_task("quik")


def test_neither_loading_nor_identifying_needs_torch(mine: Path) -> None:
    code = (
        "import pickle, sys; from proxies.task import load_task\n"
        "for name in ('default', sys.argv[1]):\n"
        "    task = load_task(name, precision='bf16')\n"
        "    task.fingerprint(), task.describe(), pickle.dumps(task)\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'PIL', 'datasets', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(mine)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("resolution: 8", "resolution: 16"),
        ("epochs: 1", "epochs: 2"),
        ("batch_size: 64", "batch_size: 32"),
        ("adamw", "sgd"),
        ("learning_rate: 0.01", "learning_rate: 0.02"),
        ("channels: 3", "channels: 3, seed: 1"),
        ("seeds: [0, 1]", "width_factor: 0.5"),
        ("seeds: [0, 1]", "depth_factor: 0.5"),
        ("seeds: [0, 1]", "dropout: 0.1"),
        ("seeds: [0, 1]", "drop_path: 0.1"),
        ("adamw", "adamw, precision: bf16"),
    ],
)
def test_the_fingerprint_follows_what_changes_the_result(mine: Path, old: str, new: str) -> None:
    before = load_task(mine).fingerprint()
    assert old in TINY
    mine.write_text(TINY.replace(old, new))
    assert load_task(mine).fingerprint() != before


def test_the_fingerprint_ignores_what_does_not(mine: Path) -> None:
    before = load_task(mine).fingerprint()
    changed = TINY.replace("mine", "yours").replace("[0, 1]", "[0, 1, 2]") + "notes: other words\n"
    mine.write_text(changed + "max_candidates: 5\n")
    assert load_task(mine).fingerprint() == before


def test_the_fingerprint_follows_torch_and_the_trainer(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task(mine)
    before = task.fingerprint()
    monkeypatch.setattr(task_module, "TRAINING_VERSION", -1)
    other_trainer = task.fingerprint()
    monkeypatch.setattr(task_module.metadata, "version", lambda _: "99.7.1+cpu")
    other_torch = task.fingerprint()
    monkeypatch.setattr(task_module.metadata, "version", lambda _: "99.7.2")
    assert len({before, other_trainer, other_torch}) == 3
    assert task.fingerprint() == other_torch


def test_overrides_are_what_the_file_would_have_said(mine: Path, tmp_path: Path) -> None:
    written = tmp_path / "other.yaml"
    written.write_text(
        TINY.replace("{source: digits, channels: 3}", "{source: cluttered-digits}")
        .replace("batch_size: 64", "batch_size: 128, precision: bf16")
        .replace("learning_rate: 0.01", "learning_rate: 0.02")
    )
    overridden = load_task(mine, data="cluttered-digits", batch_size=128, precision="bf16")
    assert overridden.fingerprint() == load_task(written).fingerprint()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("resolution", "resolutoin", "4:1: resolutoin: unknown key 'resolutoin', did you mean 'resolution'?"),
        ("epochs: 1", "epochs: no", "5:18: recipe.epochs: "),
        ("epochs: 1", "epochs: 1, epoch: 1", "recipe.epoch: unknown key 'epoch', did you mean 'epochs'?"),
        ("epochs: 1", "epochs: 1, steps: 1", "5:9: recipe: a training is as long as epochs or steps says"),
        ("source: digits", "source: digit", "3:7: data: no data source is called 'digit', did you mean"),
        (
            "channels: 3",
            "chanels: 3",
            "3:7: data: digits has no parameter 'chanels', did you mean 'channels'?",
        ),
        (
            "adamw",
            "adam",
            "recipe.optimizer: 'adam' is not one of sgd, rmsprop, adamw, rmsprop_tf, did you mean 'adamw'?",
        ),
        ("[0, 1]", "[]", "seeds: "),
        ("resolution: 8\n", "", "the key 'resolution' is missing"),
    ],
)
def test_mistakes_are_said_at_their_place(mine: Path, old: str, new: str, message: str) -> None:
    assert old in TINY
    mine.write_text(TINY.replace(old, new, 1))
    with pytest.raises(DocumentError) as caught:
        load_task(mine)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{mine}:")


@dataclass(frozen=True)
class Watched:
    """Digits that say how they are read."""

    log: Path

    @property
    def num_classes(self) -> int:
        return 10

    def fingerprint(self) -> str:
        return "watched"

    def load(self, *, resolution: int) -> Splits:
        with self.log.open("a") as log:
            log.write("load\n")
        return Digits().load(resolution=resolution)

    def load_test(self, *, resolution: int) -> Split:
        raise AssertionError("a search asked for test images")


def test_training_reads_the_data_once_and_the_test_images_never(mine: Path, tmp_path: Path) -> None:
    task = replace(_loaded(mine), source=Watched(tmp_path / "log"))
    space = load_space("tiny")
    arch = space.decode(space.sample(np.random.default_rng(0), 1)[0])
    torch.set_num_threads(1)
    results = [
        task.train(
            seeded_build(task.reduce(arch), task.num_classes, seed=0),
            _go_on,
            seed=0,
            device=torch.device("cpu"),
        )
        for task in (task, pickle.loads(pickle.dumps(task)))
    ]
    assert results[0] == results[1]
    assert 0.1 < results[0]["accuracy"] <= 1.0
    assert (tmp_path / "log").read_text() == "load\n"


def test_the_test_images_are_a_step_of_their_own(mine: Path) -> None:
    np.testing.assert_array_equal(
        _loaded(mine).load_test().labels_N, Digits().load_test(resolution=8).labels_N
    )


def test_a_description_is_json_and_reads_back(mine: Path) -> None:
    task = _loaded(mine)
    description = json.loads(json.dumps(task.describe()))
    assert source_from_document(description["data"]) == task.source
    assert description["recipe"]["learning_rate"] == 0.01
    assert description["schema"] == "nas.task/1"


def test_a_task_reduces() -> None:
    assert isinstance(_loaded("default"), ReducingTask)
    arch = load_architecture("efficientnetv2-b0")
    assert _loaded("default").reduce(arch) == arch
    assert _loaded("default").reduce(arch).recipe.dropout == 0.0


@given(width=st.floats(0.05, 1.0), depth=st.floats(0.05, 1.0))
def test_reduced_networks_are_smaller_in_proportion(width: float, depth: float) -> None:
    arch = load_architecture("efficientnetv2-s")
    reduced = reduce(arch, width_factor=width, depth_factor=depth)
    assert cost(reduced, 128).params <= cost(arch, 128).params
    if width < 1.0:
        widths = [reduced.stem.width, reduced.head.width, *(stage.width for stage in reduced.stages)]
        assert all(value % 8 == 0 and value >= 8 for value in widths)
        assert abs(reduced.head.width - arch.head.width * width) <= 8
    assert [stage.block.op for stage in reduced.stages][:1] == [arch.stages[0].block.op]
    assert reduced.num_blocks <= arch.num_blocks


def test_factors_of_one_change_nothing() -> None:
    for name in ("efficientnetv2-b1", "efficientnet-b4"):
        arch = load_architecture(name)
        assert reduce(arch, width_factor=1.0, depth_factor=1.0).digest == arch.digest


class Theirs:
    """Somebody else's task."""

    num_classes = 3

    def fingerprint(self) -> str:
        return "theirs"

    def train(
        self, network: torch.nn.Module, report: Report, *, seed: int, device: torch.device
    ) -> Mapping[str, float]:
        return {"accuracy": 0.5}


@dataclass(frozen=True)
class Entry:
    name: str
    target: object
    value: str = "them:task"

    def load(self) -> object:
        return self.target


def test_plugin_tasks_are_loaded_on_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"nas.tasks": [Entry("theirs", Theirs)]}
    monkeypatch.setattr(task_module, "entry_points", lambda *, group: entries.get(group, []))
    with pytest.raises(UnknownTaskError, match="proxy 'theirs' is unknown"):
        load_task("theirs")
    assert load_task("theirs", allow_plugins=True).fingerprint() == "theirs"
    assert _loaded("default", allow_plugins=True).document == _loaded("default").document
    with pytest.raises(UnknownTaskError, match="'their' is unknown, did you mean 'theirs'"):
        load_task("their", allow_plugins=True)


def test_a_plugin_cannot_take_a_shipped_name_nor_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Entry("quick", Theirs)]
    monkeypatch.setattr(task_module, "entry_points", lambda *, group: entries if group == "nas.tasks" else [])
    with pytest.raises(ValueError, match=r"plug-in task 'quick' \(them:task\): this name exists already"):
        load_task("default", allow_plugins=True)
    entries[:] = [Entry("odd", dict)]
    with pytest.raises(ValueError, match=r"'odd' .* is no task; it lacks num_classes, fingerprint, train"):
        load_task("odd", allow_plugins=True)


def test_documents_are_values() -> None:
    document = _loaded("default").document
    assert document == TaskDocument.model_validate(document.model_dump(by_alias=True))


@pytest.mark.parametrize(("factor", "head_dim"), [(0.25, 8), (0.5, 16), (1.0, 32)])
def test_attention_heads_fit_the_reduced_width(factor, head_dim):
    arch = load_architecture("coatnet-0")
    reduced = reduce(arch, width_factor=factor, depth_factor=0.3)
    attention = [stage for stage in reduced.stages if stage.block.op == "attention"]
    assert attention[0].width == 384 * factor
    assert all(stage.width % stage.block.head_dim == 0 for stage in attention)
    odd = replace(arch, stages=(*arch.stages[:-1], replace(arch.stages[-1], width=32)))
    assert reduce(odd, width_factor=factor, depth_factor=1.0).stages[-1].block.head_dim == head_dim


def test_a_training_reports_once_an_epoch():
    assert load_task("default").num_reports == 4
    assert load_task("quick").num_reports == 2
