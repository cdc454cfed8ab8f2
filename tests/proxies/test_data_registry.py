"""Finding data by name, path or document; plug-ins by permission only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import write_classes

from proxies.data import registry
from proxies.data.clutter import ClutteredDigits
from proxies.data.digits import Digits
from proxies.data.folder import Folder
from proxies.data.hub import Hub
from proxies.data.protocol import DataError, Split, Splits
from proxies.data.registry import (
    DATA,
    find_source,
    load_data_plugins,
    source_document,
    source_from_document,
)


@dataclass(frozen=True)
class Blank:
    """Somebody else's source."""

    shade: int = 0

    @property
    def num_classes(self) -> int:
        return 2

    def fingerprint(self) -> str:
        return f"blank {self.shade}"

    def load(self, *, resolution: int) -> Splits:
        return Splits(
            train=self.load_test(resolution=resolution),
            validation=self.load_test(resolution=resolution),
            num_classes=2,
        )

    def load_test(self, *, resolution: int) -> Split:
        images = np.full((4, 1, resolution, resolution), self.shade, dtype=np.uint8)
        return Split(images_NCHW=images, labels_N=np.array([0, 1, 0, 1]))


@dataclass(frozen=True)
class Entry:
    """An entry point as `importlib.metadata` gives it."""

    name: str
    value: str
    target: object

    def load(self) -> object:
        return self.target


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Entry]]:
    entries: list[Entry] = []
    monkeypatch.setattr(registry, "entry_points", lambda *, group: entries if group == "nas.data" else [])
    before = dict(DATA)
    yield entries
    DATA.clear()
    DATA.update(before)


def test_names_and_paths(tmp_path: Path) -> None:
    assert find_source("cluttered-digits") == ClutteredDigits()
    assert find_source("digits") == Digits()
    assert find_source("hub:owner/name") == Hub(path="owner/name")
    write_classes(tmp_path / "pictures", 1)
    assert find_source(str(tmp_path / "pictures")) == Folder(root=str(tmp_path / "pictures"))
    (tmp_path / "parquet/data").mkdir(parents=True)
    (tmp_path / "parquet/data/train.parquet").write_bytes(b"")
    assert find_source(str(tmp_path / "parquet")) == Hub(path=str(tmp_path / "parquet"))
    assert find_source(str(tmp_path / "gone.parquet")) == Hub(path=str(tmp_path / "gone.parquet"))


def test_a_document_gives_parameters(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("source: digits\nseed: 3\n")
    assert find_source(str(path)) == Digits(seed=3)
    path.write_text("source: digits\nsede: 3\n")
    with pytest.raises(
        ValueError, match=r"data\.yaml: digits has no parameter 'sede', did you mean 'seed'\?"
    ):
        find_source(str(path))
    path.write_text("- digits\n")
    with pytest.raises(ValueError, match="expected a mapping such as"):
        find_source(str(path))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "data needs a source: one of cluttered-digits, digits, folder, hub"),
        ({"source": 3}, "data needs a source"),
        ({"source": "digit"}, "no data source is called 'digit', did you mean 'digits'?"),
        ({"source": "folder"}, "folder: root: Field required"),
        (
            {"source": "digits", "seed": -1},
            "digits: seed: Input should be greater than or equal to 0, got -1",
        ),
        ({"source": "digits", "seed": True}, "digits: seed: Input should be a valid integer, got True"),
        ({"source": "cluttered-digits", "smallest": 0.9}, "smallest 0.9 is over largest 0.75; swap them"),
    ],
)
def test_bad_documents_are_one_sentence(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        source_from_document(document)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(
        DataError, match=r"'clutered-digits', did you mean 'cluttered-digits'\?; known: .*; or give"
    ):
        find_source("clutered-digits")


def test_plugins_are_loaded_on_request_alone(installed: list[Entry]) -> None:
    installed.append(Entry("blank", "them:Blank", Blank))
    with pytest.raises(DataError):
        find_source("blank")
    assert load_data_plugins() == ["blank"]
    assert load_data_plugins() == ["blank"]
    assert find_source("blank") == Blank()
    assert source_from_document({"source": "blank", "shade": 9}) == Blank(shade=9)
    assert source_document(Blank(shade=9)) == {"source": "blank", "shade": 9}
    with pytest.raises(ValueError, match="blank has no parameter 'shadow', did you mean 'shade'"):
        source_from_document({"source": "blank", "shadow": 9})


def test_a_plugin_cannot_take_a_name_nor_be_anything(installed: list[Entry]) -> None:
    installed.append(Entry("digits", "them:Blank", Blank))
    with pytest.raises(
        ValueError, match=r"plug-in data 'digits' \(them:Blank\): this name exists already; rename"
    ):
        load_data_plugins()
    installed[:] = [Entry("odd", "them:odd", object)]
    with pytest.raises(ValueError, match="is not a class of data sources; it lacks num_classes, fingerprint"):
        load_data_plugins()
    assert set(DATA) == {"cluttered-digits", "digits", "folder", "hub"}


def test_a_source_outside_the_registry_is_named_by_its_class() -> None:
    document = source_document(Blank())
    assert document["source"].endswith(":Blank")
    with pytest.raises(ValueError, match=r"no data source is called '.*:Blank'"):
        source_from_document(document)
