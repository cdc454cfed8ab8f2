"""Folders of images: labels, hold-outs that do not move, and every bad file and folder said in one line."""

import logging
import os
import shutil
import struct
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from pictures import colours, write_classes
from PIL import Image

from proxies.data import images
from proxies.data.folder import Folder
from proxies.data.images import Picture, decode, divide, first_by_hash
from proxies.data.protocol import DataError, Split


def _keys(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images_NCHW}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Class folders and nothing else."""
    write_classes(tmp_path / "data", 60)
    return tmp_path / "data"


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """train/, val/ and test/."""
    for part, first, count in (("train", 0, 30), ("val", 100, 6), ("test", 200, 4)):
        write_classes(tmp_path / "data" / part, count, first=first)
    return tmp_path / "data"


def test_classes_are_numbered_alphabetically(divided: Path) -> None:
    source = Folder(root=str(divided))
    splits = source.load(resolution=12)
    assert (source.num_classes, splits.num_classes) == (2, 2)
    assert splits.train.images_NCHW.shape == (60, 3, 12, 12)
    for split, count in ((splits.train, 30), (splits.validation, 6), (source.load_test(resolution=12), 4)):
        assert list(split.labels_N) == [0] * count + [1] * count
        assert colours(split.images_NCHW) == ["ant"] * count + ["bee"] * count


def test_parts_that_are_not_there_are_held_out(plain: Path) -> None:
    source = Folder(root=str(plain), hold_out=0.2)
    splits, test = source.load(resolution=12), source.load_test(resolution=12)
    parts = [_keys(splits.train), _keys(splits.validation), _keys(test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 120
    assert len(parts[1]) == pytest.approx(24, abs=12)
    assert len(parts[2]) == pytest.approx(24, abs=12)


def test_adding_images_moves_none(plain: Path) -> None:
    source = Folder(root=str(plain), hold_out=0.2)
    before = source.load(resolution=12)
    write_classes(plain, 40, first=60)
    after = source.load(resolution=12)
    assert _keys(before.train) < _keys(after.train)
    assert _keys(before.validation) < _keys(after.validation)


def test_a_minival_leaves_the_given_validation_images_for_the_report(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", 60)
    write_classes(tmp_path / "val", 5, first=500)
    given = Folder(root=str(tmp_path)).load(resolution=12)
    source = Folder(root=str(tmp_path)).holding_out(0.2)
    splits, test = source.load(resolution=12), source.load_test(resolution=12)
    assert _keys(test) == _keys(given.validation)
    assert not _keys(splits.validation) & _keys(test)
    assert len(splits.train) + len(splits.validation) == 120


def test_a_subset_of_training_is_fixed_and_leaves_validation_alone(plain: Path) -> None:
    whole = Folder(root=str(plain)).load(resolution=12)
    part = Folder(root=str(plain), train_images=20).load(resolution=12)
    assert len(part.train) == 20
    assert _keys(part.train) < _keys(whole.train)
    assert _keys(part.validation) == _keys(whole.validation)


def test_the_fingerprint_is_of_the_listing_not_of_the_place(plain: Path, tmp_path: Path) -> None:
    source = Folder(root=str(plain))
    shutil.copytree(plain, tmp_path / "copy")
    copy = Folder(root=str(tmp_path / "copy"))
    assert copy.fingerprint() == source.fingerprint()
    assert copy.model_copy(update={"hold_out": 0.3}).fingerprint() != source.fingerprint()
    (tmp_path / "copy" / "ant" / "0000.png").rename(tmp_path / "copy" / "ant" / "new.png")
    assert copy.fingerprint() != source.fingerprint()


def test_relative_roots_are_those_of_where_they_were_given(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain.parent)
    assert Folder(root="data").root == str(plain)


def test_grey_images_are_one_channel(plain: Path) -> None:
    assert Folder(root=str(plain), channels=1).load(resolution=12).channels == 1


def test_a_few_unusable_images_are_left_out_and_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    write_classes(tmp_path / "train", 250)
    write_classes(tmp_path / "val", 3)
    write_classes(tmp_path / "test", 3)
    (tmp_path / "train/ant/0003.png").write_bytes(b"")
    whole = (tmp_path / "train/ant/0004.png").read_bytes()
    (tmp_path / "train/ant/0004.png").write_bytes(whole[: len(whole) - 25])
    (tmp_path / "train/bee/0005.png").write_bytes(b"not a picture")
    Image.new("RGB", (101, 100)).save(tmp_path / "train/bee/0006.png")
    with caplog.at_level(logging.WARNING):
        split = Folder(root=str(tmp_path)).load(resolution=12).train
    assert len(split) == 496
    assert list(np.bincount(split.labels_N)) == [248, 248]
    assert colours(split.images_NCHW) == ["ant"] * 248 + ["bee"] * 248
    assert len(split.rejected) == 4
    for name, why in (
        ("ant/0003.png", "0 bytes"),
        ("ant/0004.png", "truncated"),
        ("bee/0005.png", "cannot identify"),
        ("bee/0006.png", "101x100 pixels, over the limit of 10,000"),
    ):
        assert any(name in line and why in line for line in split.rejected)
    assert "4 of 500 images are unusable" in caplog.text


def test_over_one_percent_unusable_stops(plain: Path) -> None:
    for index in range(7):
        (plain / "ant" / f"{index:04}.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        Folder(root=str(plain)).load(resolution=12)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert "ant/0000.png (0 bytes)" in message
    assert message.count(".png") <= 5
    assert "at most 1 % may be, so repair or remove them" in message


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    """A header of 26 bytes that claims 60,000 x 60,000 pixels: 10.8 GB, were they decoded."""
    header = b"BM" + struct.pack("<IHHI", 26, 0, 0, 26) + struct.pack("<IHHHH", 12, 60_000, 60_000, 1, 24)
    with pytest.raises(ValueError, match=r"decompression bomb|over the limit of 50,000,000"):
        decode(header, 12, 3)


def test_memory_is_refused_beyond_its_limit(plain: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"images of 224 pixels take 0\.0 GiB .* limit of 0\.001; lower the resolution or train_images",
    ):
        Folder(root=str(plain), max_gib=0.001).load(resolution=224)


def test_links_out_of_the_root_are_refused(plain: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes((plain / "ant/0000.png").read_bytes())
    link = plain / "ant/link.png"
    link.symlink_to(outside)
    for use in (Folder(root=str(plain)).fingerprint, lambda: Folder(root=str(plain)).load(resolution=12)):
        with pytest.raises(DataError, match=r"ant/link\.png: this link leads out of .*copy what it links to"):
            use()
    link.unlink()
    link.symlink_to(plain / "ant/0000.png")
    assert len(Folder(root=str(plain), hold_out=0.2).load(resolution=12).train) > 0


def test_linked_and_looping_folders_are_refused(plain: Path, tmp_path: Path) -> None:
    (plain / "ant/self").symlink_to(plain, target_is_directory=True)
    with pytest.raises(DataError, match=r"ant/self: this link leads to another folder"):
        Folder(root=str(plain)).load(resolution=12)
    (plain / "ant/self").unlink()
    write_classes(tmp_path / "elsewhere", 2)
    (plain / "cat").symlink_to(tmp_path / "elsewhere/ant", target_is_directory=True)
    with pytest.raises(DataError, match=r"cat: this link leads out of"):
        Folder(root=str(plain)).load(resolution=12)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root), "there is no such folder; give a folder of class folders"),
        (lambda root: shutil.rmtree(root / "bee"), "found 1 class folders; put each class's images"),
        (
            lambda root: shutil.rmtree(root / "bee") or (root / "bee").mkdir(),
            "bee: this class folder holds no",
        ),
        (lambda root: (root / "ant/broken.png").symlink_to(root / "gone"), "leads to nothing"),
    ],
    ids=["absent", "one class", "empty class", "dangling link"],
)
def test_bad_folders(plain: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    spoil(plain)
    with pytest.raises(DataError, match=message):
        Folder(root=str(plain)).load(resolution=12)


def test_a_validation_class_without_training_images_is_named(divided: Path) -> None:
    write_classes(divided / "val", 2, classes=("cat",))
    with pytest.raises(DataError, match=r"val/cat: there are no training images of class 'cat'; rename"):
        Folder(root=str(divided)).load(resolution=12)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_one_line(plain: Path) -> None:
    (plain / "ant").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        Folder(root=str(plain)).load(resolution=12)


def test_a_hold_out_that_catches_nothing_says_so(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    with pytest.raises(DataError, match="hold out a larger fraction"):
        Folder(root=str(tmp_path), hold_out=0.001).load(resolution=12)


def test_pictures_are_cropped_to_their_middle_and_kept_in_proportion() -> None:
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, 10:30] = 255
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    np.testing.assert_array_equal(decode(written.getvalue(), 10, 3), np.full((3, 10, 10), 255))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels(mode: str) -> None:
    written = BytesIO()
    Image.new(mode, (12, 12)).save(written, "TIFF" if mode in {"CMYK", "I;16"} else "PNG")
    assert decode(written.getvalue(), 8, 3).shape == (3, 8, 8)


def _pictures(count: int) -> list[Picture]:
    return [Picture(key=f"c/{i}.png", place="", read=bytes, label=i) for i in range(count)]


def test_dividing_keeps_order_and_fractions() -> None:
    pictures = _pictures(5000)
    train, validation, test = divide(pictures, validation=0.1, test=0.05)
    labels = [[picture.label for picture in part] for part in (train, validation, test)]
    assert all(part == sorted(part) for part in labels)
    assert sorted(chain.from_iterable(labels)) == list(range(5000))
    assert len(validation) == pytest.approx(500, abs=80)
    assert len(test) == pytest.approx(250, abs=60)
    assert first_by_hash(pictures, None) == pictures
    assert len(first_by_hash(train, 100)) == 100
    assert not divide(pictures, validation=0.0, test=0.0)[1]
