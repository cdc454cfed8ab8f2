"""The scans and how they are divided: nothing that training sees may come near the other parts."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from proxies.data import digits
from proxies.data.digits import Digits, Part, enlarge, part_indices, read_scans, scans_of
from proxies.data.protocol import DataError, Split, Splits

PARTS: tuple[Part, ...] = ("train", "validation", "test")


def test_scans_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    expected = load_digits()
    scans = read_scans()
    np.testing.assert_array_equal(scans.ink_NHW, expected.images)
    np.testing.assert_array_equal(scans.labels_N, expected.target)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_parts_are_disjoint_complete_and_stratified(seed: int) -> None:
    labels = read_scans().labels_N
    indices = [part_indices(labels, part, seed) for part in PARTS]
    together = np.concatenate(indices)
    assert sorted(together) == list(range(1797))
    assert [len(part) for part in indices] == [
        pytest.approx(1797 * share, abs=10) for share in (0.6, 0.2, 0.2)
    ]
    whole = np.bincount(labels) / len(labels)
    for part in indices:
        np.testing.assert_allclose(np.bincount(labels[part]) / len(part), whole, atol=0.005)


def test_no_two_parts_show_an_equal_scan() -> None:
    """Disjoint indices would not do if scikit-learn listed a scan twice."""
    seen = [{scan.tobytes() for scan in scans_of(part, 0).ink_NHW} for part in PARTS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_the_seed_decides_the_parts() -> None:
    labels = read_scans().labels_N
    np.testing.assert_array_equal(part_indices(labels, "train", 3), part_indices(labels, "train", 3))
    assert set(part_indices(labels, "train", 3)) != set(part_indices(labels, "train", 4))


def test_enlarging_to_the_scans_own_size_only_rescales() -> None:
    ink = read_scans().ink_NHW[:50]
    np.testing.assert_array_equal(enlarge(ink, 8), np.rint(ink * (255 / 16)).astype(np.uint8))


@pytest.mark.parametrize("resolution", [5, 16, 33])
def test_enlarging_keeps_flat_images_flat(resolution: int) -> None:
    flat = np.full((1, 8, 8), 16, dtype=np.uint8)
    np.testing.assert_array_equal(enlarge(flat, resolution), np.full((1, resolution, resolution), 255))


def test_loading_gives_grey_planes_of_the_asked_size() -> None:
    splits = Digits(channels=2).load(resolution=20)
    assert (splits.channels, splits.resolution, splits.num_classes) == (2, 20, 10)
    images = splits.train.images_NCHW
    np.testing.assert_array_equal(images[:, 0], images[:, 1])
    assert len(Digits().load_test(resolution=8)) + len(splits.train) + len(splits.validation) == 1797


def test_unknown_scans_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "SCANS_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"digit scans .* have sha256 68aea06.*; reinstall scikit-learn"):
        read_scans.__wrapped__()


def test_a_scikit_learn_that_keeps_them_elsewhere_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    np.testing.assert_array_equal(read_scans.__wrapped__().ink_NHW, read_scans().ink_NHW)


def test_scikit_learn_can_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="scikit-learn, which is not installed; pip install scikit-learn"):
        read_scans.__wrapped__()


def test_a_truncated_table_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"0,1,2\n" * 1000)[:-20])
    with pytest.raises(DataError, match=r"cannot read the digit scans .*; reinstall scikit-learn"):
        digits._read_table(path)


def test_loading_needs_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys; from proxies.data.registry import find_source\n"
        "for name in ('digits', 'cluttered-digits'): find_source(name).fingerprint()\n"
        "find_source('digits').load(resolution=8)\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'PIL', 'datasets', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _split(count: int = 4, *, channels: int = 1, label: int = 0) -> Split:
    return Split(
        images_NCHW=np.zeros((count, channels, 8, 8), dtype=np.uint8),
        labels_N=np.full(count, label, dtype=np.int64),
    )


def test_splits_refuse_what_cannot_be_trained_on() -> None:
    with pytest.raises(DataError, match=r"images are float64 of shape \(1, 3, 8, 8\); give uint8 or float32"):
        Split(images_NCHW=np.zeros((1, 3, 8, 8)), labels_N=np.zeros(1, dtype=np.int64))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="give one int64 for each of 2 images"):
        Split(images_NCHW=np.zeros((2, 3, 8, 8), dtype=np.uint8), labels_N=np.zeros(1, dtype=np.int64))
    with pytest.raises(DataError, match="holds no images"):
        _split(0)
    with pytest.raises(DataError, match="validation image 0 has label 7, outside 0 to 6"):
        Splits(train=_split(), validation=_split(label=7), num_classes=7)
    with pytest.raises(DataError, match=r"training images are \(1, 8, 8\) and validation images \(3, 8, 8\)"):
        Splits(train=_split(), validation=_split(channels=3), num_classes=7)


def test_nothing_named_test_is_in_what_a_search_loads() -> None:
    assert set(Splits.__slots__) == {"train", "validation", "num_classes"}
