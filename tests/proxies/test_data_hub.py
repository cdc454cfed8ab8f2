"""Parquet files through `datasets`, written here; no network."""

import builtins
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import colours, png
from PIL import Image

datasets = pytest.importorskip("datasets")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from proxies.data.hub import Hub  # noqa: E402
from proxies.data.protocol import DataError, Split  # noqa: E402

CLASSES = ("ant", "bee")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def write(path: Path, count: int, *, first: int = 0) -> Path:
    """A file as `datasets` writes it: typed image and label columns."""
    names = [CLASSES[index % 2] for index in range(count)]
    table = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": png(name, first + index), "path": None} for index, name in enumerate(names)],
            "label": [index % 2 for index in range(count)],
        },
        features=datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
        ),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    table.to_parquet(path)
    return path


def write_raw(path: Path, columns: dict[str, Any]) -> Path:
    """A file as any other program writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def _keys(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images_NCHW}


def test_one_file_is_divided_by_row(tmp_path: Path) -> None:
    source = Hub(path=str(write(tmp_path / "all.parquet", 120)), hold_out=0.2)
    splits, test = source.load(resolution=12), source.load_test(resolution=12)
    parts = [_keys(splits.train), _keys(splits.validation), _keys(test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 120
    assert min(map(len, parts)) > 5
    assert source.num_classes == splits.num_classes == 2
    for split in (splits.train, splits.validation, test):
        assert [CLASSES[label] for label in split.labels_N] == colours(split.images_NCHW)


def test_files_belong_to_the_split_they_are_named_after(tmp_path: Path) -> None:
    write(tmp_path / "data/train-00000-of-00002.parquet", 20)
    write(tmp_path / "data/train-00001-of-00002.parquet", 10, first=20)
    write(tmp_path / "data/validation-00000-of-00001.parquet", 8, first=100)
    write(tmp_path / "data/test-00000-of-00001.parquet", 6, first=200)
    source = Hub(path=str(tmp_path))
    splits = source.load(resolution=12)
    assert (len(splits.train), len(splits.validation)) == (30, 8)
    assert len(source.load_test(resolution=12)) == 6


def test_a_minival_leaves_the_given_validation_images_for_the_report(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", 60)
    write(tmp_path / "validation.parquet", 6, first=100)
    given = Hub(path=str(tmp_path)).load(resolution=12)
    source = Hub(path=str(tmp_path)).holding_out(0.2)
    splits = source.load(resolution=12)
    assert _keys(source.load_test(resolution=12)) == _keys(given.validation)
    assert len(splits.train) + len(splits.validation) == 60


def test_plain_columns_are_found_or_given(tmp_path: Path) -> None:
    images = [png(CLASSES[index % 2], index) for index in range(60)]
    path = write_raw(
        tmp_path / "raw.parquet", {"img": images, "fine_label": ["ant", "bee"] * 30, "kind": [7, 5] * 30}
    )
    found = Hub(path=str(path), hold_out=0.2).load(resolution=12)
    assert [CLASSES[label] for label in found.train.labels_N] == colours(found.train.images_NCHW)
    given = Hub(path=str(path), hold_out=0.2, image_column="img", label_column="kind")
    assert list(given.load(resolution=12).train.labels_N) == [1 - label for label in found.train.labels_N]
    assert given.fingerprint() != Hub(path=str(path), hold_out=0.2).fingerprint()


def test_columns_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "raw.parquet", {"a": [b"x"], "label": [0]})
    with pytest.raises(DataError, match="which column holds the image, of a, label; give image_column"):
        Hub(path=str(path)).load(resolution=12)
    with pytest.raises(DataError, match="there is no column 'b'; there are a, label"):
        Hub(path=str(path), image_column="b").load(resolution=12)


def test_unusable_images_are_counted(tmp_path: Path) -> None:
    images: list[bytes | None] = [png(CLASSES[index % 2], index) for index in range(300)]
    images[0] = b"nonsense"
    images[1] = None
    path = write_raw(tmp_path / "train.parquet", {"image": images, "label": [0, 1] * 150})
    write_raw(tmp_path / "validation.parquet", {"image": images[2:6], "label": [0, 1] * 2})
    write_raw(tmp_path / "test.parquet", {"image": images[:6], "label": [0, 1] * 3})
    splits = Hub(path=str(path.parent)).load(resolution=12)
    assert len(splits.train) == 298
    assert "train row 0 (cannot identify" in splits.train.rejected[0]
    assert splits.train.rejected[1] == "train row 1 (no embedded image bytes)"
    with pytest.raises(DataError, match="2 of 6 images are unusable"):
        Hub(path=str(path.parent)).load_test(resolution=12)


def test_labels_that_training_does_not_have(tmp_path: Path) -> None:
    images = [png("ant", index) for index in range(4)]
    write_raw(tmp_path / "train.parquet", {"image": images, "label": ["a", "b"] * 2})
    write_raw(tmp_path / "validation.parquet", {"image": images, "label": ["a", "c"] * 2})
    with pytest.raises(DataError, match="the validation split has label 'c', which no training image has"):
        Hub(path=str(tmp_path)).load(resolution=12)


def test_hidden_test_labels_are_refused_when_the_test_split_is_read(tmp_path: Path) -> None:
    """ImageNet's test labels are all -1."""
    write(tmp_path / "train.parquet", 30)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    rows = {"image": [{"bytes": png("ant", 1), "path": None}], "label": [-1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "test.parquet")
    source = Hub(path=str(tmp_path), hold_out=0.2)
    source.load(resolution=12)
    with pytest.raises(DataError, match="test image 0 has label -1, outside 0 to 1"):
        source.load_test(resolution=12)


def test_the_fingerprint_follows_the_files_and_not_their_place(tmp_path: Path) -> None:
    first = Hub(path=str(write(tmp_path / "one/train.parquet", 20)))
    same = Hub(path=str(write(tmp_path / "two/train.parquet", 20)))
    other = Hub(path=str(write(tmp_path / "three/train.parquet", 20, first=1)))
    assert first.fingerprint() == same.fingerprint()
    assert first.fingerprint() != other.fingerprint()
    assert Hub(path="a/b", revision="1").fingerprint() != Hub(path="a/b", revision="2").fingerprint()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no such Parquet file"), (b"nope", "cannot be opened as a dataset: .*Parquet")],
)
def test_absent_and_damaged_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Hub(path=str(path)).load(resolution=12)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_without_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found no Parquet files; give a \.parquet file or a folder of them"):
        Hub(path=str(tmp_path)).load(resolution=12)
    write(tmp_path / "test.parquet", 4)
    with pytest.raises(DataError, match=r"found no training files; name them train-\*\.parquet"):
        Hub(path=str(tmp_path)).load(resolution=12)


def test_an_unknown_hub_name_is_one_line() -> None:
    with pytest.raises(DataError, match="nobody/nothing: cannot be opened as a dataset"):
        Hub(path="nobody/nothing").load(resolution=12)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "train.parquet", 4)
    real = builtins.__import__

    def absent(name: str, *args: Any, **options: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"pip install 'training-aware-nas\[hub\]'"):
        Hub(path=str(path)).load(resolution=12)


def test_jpegs_are_read_too(tmp_path: Path) -> None:
    written = BytesIO()
    Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8)).save(written, "JPEG")
    path = write_raw(tmp_path / "x.parquet", {"image": [written.getvalue()] * 40, "label": [0, 1] * 20})
    images = Hub(path=str(path), hold_out=0.2).load(resolution=12).train.images_NCHW
    assert abs(int(images[0, 0, 4, 4]) - 128) <= 2
