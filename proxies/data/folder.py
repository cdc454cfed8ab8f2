"""`folder`: one folder a class, one file an image."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from proxies.data.digits import source_fingerprint
from proxies.data.images import (
    Fraction,
    Gib,
    Picture,
    PictureChannels,
    divide,
    first_by_hash,
    read_split,
    stream_split,
)
from proxies.data.protocol import DataError, Split, Splits, StreamedSplit
from search_spaces.spec import Spec

VERSION = 1
EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PART_FOLDERS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def _absolute(root: str) -> str:
    return str(Path(root).expanduser().absolute())


class Folder(Spec):
    """A folder of class folders of images, or such folders under train/, val/ and test/.

    What is not there is held out of the training images: `hold_out` of them for validation and as many
    for test, decided by the hash of each one's path within the training folder. With `validation:
    hold_out` the validation images are held out of training although there is a val/ folder, as the
    EfficientNetV2 paper's "minival" was; val/ is then the test split unless there is a test/.

    Images are cropped to their middle square, resized, and kept in memory as uint8 (at most `max_gib` a
    split). `train_images` limits training to a fixed subset.
    """

    root: Annotated[str, AfterValidator(_absolute)]
    channels: PictureChannels = 3
    validation: Literal["given", "hold_out"] = "given"
    hold_out: Fraction = 0.1
    train_images: Annotated[int, Field(ge=1)] | None = None
    max_gib: Gib = 8.0

    @property
    def num_classes(self) -> int:
        """Class folders of the training images."""
        return len(_class_names(self._folders()["train"]))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the class folders."""
        return tuple(_class_names(self._folders()["train"]))

    def fingerprint(self) -> str:
        """Hash of every file's path within the folder and size, and of the parameters but `root`.

        A copy elsewhere is the same data. Contents that change while their size stays are not seen.
        """
        files = [
            [part, file.path, file.num_bytes]
            for part, folder in self._folders().items()
            for file in _list_files(folder, Path(self.root))
        ]
        return source_fingerprint("folder", VERSION, files, self.model_dump(exclude={"root", "max_gib"}))

    def holding_out(self, fraction: float) -> Self:
        """The same images with validation held out of training."""
        return self.model_copy(update={"validation": "hold_out", "hold_out": fraction})

    def load(self, *, resolution: int) -> Splits:
        """Decode training and validation images."""
        parts = self._parts()
        return Splits(
            train=self._read("train", parts.train, resolution),
            validation=self._read("validation", parts.validation, resolution),
            num_classes=self.num_classes,
        )

    def load_test(self, *, resolution: int) -> Split:
        """Decode the test images."""
        return self._read("test", self._parts().test, resolution)

    def stream(self, *, resolution: int, loaders: int) -> Splits:
        """Training and validation images that `loaders` processes decode when they are needed."""
        parts = self._parts()
        return Splits(
            train=self._stream("train", parts.train, resolution, loaders),
            validation=self._stream("validation", parts.validation, resolution, loaders),
            num_classes=self.num_classes,
        )

    def stream_test(self, *, resolution: int, loaders: int) -> StreamedSplit:
        """Test images, decoded so."""
        return self._stream("test", self._parts().test, resolution, loaders)

    def _stream(self, part: str, pictures: list[Picture], resolution: int, loaders: int) -> StreamedSplit:
        return stream_split(
            pictures,
            name=f"{part} images of {self.root}",
            resolution=resolution,
            channels=self.channels,
            loaders=loaders,
        )

    def _read(self, part: str, pictures: list[Picture], resolution: int) -> Split:
        return read_split(
            pictures,
            name=f"{part} images of {self.root}",
            resolution=resolution,
            channels=self.channels,
            max_gib=self.max_gib,
        )

    def _folders(self) -> dict[str, Path]:
        """The folders that hold class folders; "train" is always among them."""
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder; give a folder of class folders of images")
        found = {
            part: root / name
            for part, names in PART_FOLDERS.items()
            for name in names
            if (root / name).is_dir()
        }
        for folder in found.values():
            _refuse_link(folder, root.resolve())
        return found if "train" in found else {"train": root}

    def _parts(self) -> "Parts":
        folders = self._folders()
        labels = {name: label for label, name in enumerate(_class_names(folders["train"]))}
        files = {part: self._files(folder, labels) for part, folder in folders.items()}
        is_held_out = self.validation == "hold_out" or "validation" not in files
        test = files.get("test", files.get("validation") if is_held_out else None)
        train, validation, held_test = divide(
            files["train"],
            validation=self.hold_out if is_held_out else 0.0,
            test=self.hold_out if test is None else 0.0,
        )
        return Parts(
            train=first_by_hash(train, self.train_images),
            validation=validation if is_held_out else files["validation"],
            test=held_test if test is None else test,
        )

    def _files(self, folder: Path, labels: Mapping[str, int]) -> list[Picture]:
        """Every image of a part, labelled by the training folder's class names in alphabetical order."""
        names = _class_names(folder)
        unknown = [name for name in names if name not in labels]
        if unknown:
            raise DataError(
                f"{folder / unknown[0]}: there are no training images of class {unknown[0]!r}; "
                f"rename or remove the folder"
            )
        files = _list_files(folder, Path(self.root))
        empty = sorted(set(names) - {file.class_name for file in files})
        if empty:
            raise DataError(f"{folder / empty[0]}: this class folder holds no images; add some or remove it")
        return [
            Picture(
                key=file.path,
                place=str(folder / file.path),
                read=(folder / file.path).read_bytes,
                label=labels[file.class_name],
            )
            for file in files
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The pictures of the three splits; no picture is in two."""

    train: list[Picture]
    validation: list[Picture]
    test: list[Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """One image of a part: its path within the part's folder, with forward slashes, and its class."""

    path: str
    class_name: str
    num_bytes: int


def _class_names(folder: Path) -> list[str]:
    with _open_folder(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise DataError(
            f"{folder}: found {len(names)} class folders; put each class's images in a folder of its own"
        )
    return names


def _list_files(folder: Path, root: Path) -> list[ImageFile]:
    """Every image under a part's class folders, sorted by path; links must stay inside the root."""
    inside = root.resolve()
    start = len(str(folder)) + 1
    found = []
    for name in _class_names(folder):
        _refuse_link(folder / name, inside)
        found += [
            ImageFile(
                path=Path(entry.path[start:]).as_posix(), class_name=name, num_bytes=entry.stat().st_size
            )
            for entry in _walk(folder / name, inside)
        ]
    return sorted(found, key=lambda file: file.path)


def _walk(folder: Path, inside: Path) -> Iterator[os.DirEntry[str]]:
    with _open_folder(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                _refuse_link(Path(entry.path), inside)
            if entry.is_dir():
                yield from _walk(Path(entry.path), inside)
            elif Path(entry.name).suffix.lower() in EXTENSIONS:
                yield entry


def _open_folder(folder: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    try:
        return os.scandir(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error


def _refuse_link(path: Path, inside: Path) -> None:
    if not path.is_symlink():
        return
    target = path.resolve()
    if not target.is_relative_to(inside):
        raise DataError(f"{path}: this link leads out of {inside} (to {target}); copy what it links to")
    if target.is_dir():
        raise DataError(
            f"{path}: this link leads to another folder ({target}); copy the folder, or remove the link"
        )
    if not target.exists():
        raise DataError(f"{path}: this link leads to nothing ({target}); remove it")
