"""What every registered data source must do: hold its splits apart, and be the same everywhere."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxies.data.protocol import DataSource, Split, check_labels
from proxies.data.registry import DATA, source_document, source_from_document

RESOLUTION = 16
PICTURES = 150


def _digits(_: Path) -> DataSource:
    return source_from_document({"source": "digits", "channels": 1})


def _clutter(_: Path) -> DataSource:
    sizes = {"train_images": 80, "validation_images": 40, "test_images": 30}
    return source_from_document({"source": "cluttered-digits", **sizes})


def _folder(place: Path) -> DataSource:
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        folder = place / "pictures" / f"class{index % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return source_from_document({"source": "folder", "root": str(place / "pictures"), "hold_out": 0.2})


def _hub(place: Path) -> DataSource:
    pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    _folder(place)
    files = sorted((place / "pictures").rglob("*.png"))
    columns = {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
    pq.write_table(pa.table(columns), place / "all.parquet")
    return source_from_document({"source": "hub", "path": str(place / "all.parquet"), "hold_out": 0.2})


MAKERS: dict[str, Callable[[Path], DataSource]] = {
    "cluttered-digits": _clutter,
    "digits": _digits,
    "folder": _folder,
    "hub": _hub,
}


@pytest.fixture(params=sorted(MAKERS))
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    if request.param == "hub":
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return MAKERS[request.param](tmp_path)


def test_every_source_is_here() -> None:
    assert set(MAKERS) == set(DATA)


def _images(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images_NCHW}


def test_splits_are_apart_and_well_formed(source: DataSource) -> None:
    splits, test = source.load(resolution=RESOLUTION), source.load_test(resolution=RESOLUTION)
    check_labels(test, source.num_classes, "test")
    assert splits.num_classes == source.num_classes
    assert test.images_NCHW.shape[1:] == (splits.channels, RESOLUTION, RESOLUTION)
    train, validation, held = _images(splits.train), _images(splits.validation), _images(test)
    assert not train & validation
    assert not train & held
    assert not validation & held


def test_loading_again_gives_equal_arrays(source: DataSource) -> None:
    first, again = source.load(resolution=RESOLUTION), source.load(resolution=RESOLUTION)
    for one, two in ((first.train, again.train), (first.validation, again.validation)):
        np.testing.assert_array_equal(one.images_NCHW, two.images_NCHW)
        np.testing.assert_array_equal(one.labels_N, two.labels_N)


def test_a_source_is_a_value(source: DataSource) -> None:
    """It travels to workers, is a key of their cache, and is written into run.yaml."""
    for copy in (
        pickle.loads(pickle.dumps(source)),
        source_from_document(json.loads(json.dumps(source_document(source)))),
    ):
        assert copy == source
        assert hash(copy) == hash(source)
        assert copy.fingerprint() == source.fingerprint()


def test_the_fingerprint_is_the_same_in_another_process(source: DataSource) -> None:
    code = (
        "import json, sys; from proxies.data.registry import source_from_document\n"
        "print(source_from_document(json.loads(sys.argv[1])).fingerprint())\n"
        "print('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    document = json.dumps(source_document(source))
    done = subprocess.run([sys.executable, "-c", code, document], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [source.fingerprint(), "False"]
