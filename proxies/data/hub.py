"""`hub`: a Hugging Face dataset by name, or Parquet files on disk, through the `datasets` package."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

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
from proxies.data.protocol import DataError, Split, Splits, StreamedSplit, check_labels
from search_spaces.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
EXTRA = "training-aware-nas[hub]"
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
FOOTER_BYTES = 65_536


def _absolute_if_local(path: str) -> str:
    local = Path(path).expanduser()
    return str(local.absolute()) if local.exists() or local.suffix == ".parquet" else path


class Hub(Spec):
    """Images and labels of one dataset: `path` is a hub name, a Parquet file or a folder of them.

    Files belong to the split that their name begins with (`train-00000-of-00002.parquet`), else to train.
    Columns are found by type and name unless given. A split that is not there is held out of the training
    images, and with `validation: hold_out` validation is held out in any case; see `Folder`. Give
    `revision` (a commit) with hub names: it is what identifies the data. Images must be embedded in the
    files, as `datasets` writes them. No code from a dataset is run.
    """

    path: Annotated[str, Field(min_length=1), AfterValidator(_absolute_if_local)]
    config: str | None = None
    revision: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    channels: PictureChannels = 3
    validation: Literal["given", "hold_out"] = "given"
    hold_out: Fraction = 0.1
    train_images: Annotated[int, Field(ge=1)] | None = None
    max_gib: Gib = 8.0

    @property
    def num_classes(self) -> int:
        """Names of the label column, else its distinct values among the training images."""
        return len(_table(self).class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the label column, else its distinct values."""
        return tuple(map(str, _table(self).class_names))

    def fingerprint(self) -> str:
        """Hash of the parameters, and of the files' names, sizes and Parquet footers when they are local."""
        files = [
            [split, file.name, file.stat().st_size, _footer_hash(file)]
            for split, files in self.local_files().items()
            for file in files
        ]
        parameters = self.model_dump(exclude={"max_gib", *(("path",) if files else ())})
        return source_fingerprint("hub", VERSION, files, parameters)

    def holding_out(self, fraction: float) -> Self:
        """The same images with validation held out of training."""
        return self.model_copy(update={"validation": "hold_out", "hold_out": fraction})

    def load(self, *, resolution: int) -> Splits:
        """Decode training and validation images; a hub name is downloaded to the cache of `datasets`."""
        table = _table(self)
        train, validation, _ = self._parts(table)
        return Splits(
            train=self._read("training", first_by_hash(train, self.train_images), resolution),
            validation=self._read("validation", validation, resolution),
            num_classes=len(table.class_names),
        )

    def load_test(self, *, resolution: int) -> Split:
        """Decode the test images."""
        table = _table(self)
        split = self._read("test", self._parts(table)[2], resolution)
        check_labels(split, len(table.class_names), f"{self.path}: test")
        return split

    def stream(self, *, resolution: int, loaders: int) -> Splits:
        """Training and validation images that `loaders` processes decode when they are needed."""
        table = _table(self)
        train, validation, _ = self._parts(table)
        kept = first_by_hash(train, self.train_images)
        return Splits(
            train=self._stream("training", kept, resolution, loaders),
            validation=self._stream("validation", validation, resolution, loaders),
            num_classes=len(table.class_names),
        )

    def stream_test(self, *, resolution: int, loaders: int) -> StreamedSplit:
        """Test images, decoded so."""
        table = _table(self)
        split = self._stream("test", self._parts(table)[2], resolution, loaders)
        check_labels(split, len(table.class_names), f"{self.path}: test")
        return split

    def _stream(self, part: str, pictures: Sequence[Picture], resolution: int, loaders: int) -> StreamedSplit:
        return stream_split(
            pictures,
            name=f"{part} images of {self.path}",
            resolution=resolution,
            channels=self.channels,
            loaders=loaders,
        )

    def local_files(self) -> dict[str, list[Path]]:
        """Parquet files on disk by split; empty for a hub name.

        Raises:
            DataError: a local path without Parquet files, or none for training.
        """
        path = Path(self.path)
        if not path.exists():
            if path.suffix == ".parquet":
                raise DataError(f"{path}: there is no such Parquet file; check the path")
            return {}
        files = [path] if path.is_file() else sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")])
        if not files:
            raise DataError(f"{path}: found no Parquet files; give a .parquet file or a folder of them")
        found: dict[str, list[Path]] = {}
        for file in files:
            found.setdefault(_split_of(file), []).append(file)
        if "train" not in found:
            raise DataError(f"{path}: found no training files; name them train-*.parquet")
        return found

    def _parts(self, table: "Table") -> tuple[list[Picture], list[Picture], list[Picture]]:
        is_held_out = self.validation == "hold_out" or "validation" not in table.splits
        test = "test" if "test" in table.splits else "validation" if is_held_out else None
        has_test = test in table.splits
        train, held_validation, held_test = divide(
            table.pictures("train"),
            validation=self.hold_out if is_held_out else 0.0,
            test=0.0 if has_test else self.hold_out,
        )
        return (
            train,
            held_validation if is_held_out else table.pictures("validation"),
            table.pictures(str(test)) if has_test else held_test,
        )

    def _read(self, part: str, pictures: Sequence[Picture], resolution: int) -> Split:
        return read_split(
            pictures,
            name=f"{part} images of {self.path}",
            resolution=resolution,
            channels=self.channels,
            max_gib=self.max_gib,
        )


class Table:
    """The opened dataset: its splits under our names, and which columns hold images and labels."""

    def __init__(self, source: Hub) -> None:
        self._source = source
        found = _open(source)
        self.splits: Mapping[str, Any] = {
            ours: found[name] for ours, names in SPLIT_NAMES.items() for name in names if name in found
        }
        if "train" not in self.splits:
            raise DataError(f"{source.path}: there is no train split, only {', '.join(map(str, found))}")
        features = self.splits["train"].features
        self._image = _column(source, "image", source.image_column, features, IMAGE_COLUMNS)
        self._label = _column(source, "label", source.label_column, features, LABEL_COLUMNS)
        names = getattr(features[self._label], "names", None)
        self._has_names = names is not None
        self.class_names: list[Any] = names or sorted(set(self.splits["train"][self._label]))

    def pictures(self, split: str) -> list[Picture]:
        """Every row of a split, in order; a row is named by its position."""
        rows = self.splits[split]
        images = _undecoded(rows, self._image)
        return [
            Picture(
                key=str(index),
                place=f"{split} row {index}",
                read=partial(_encoded, images, index, self._image),
                label=label,
            )
            for index, label in enumerate(self._labels(split, rows))
        ]

    def _labels(self, split: str, rows: Any) -> list[int]:
        values = list(rows[self._label])
        if self._has_names:
            return [-1 if value is None else int(value) for value in values]
        numbers = {name: number for number, name in enumerate(self.class_names)}
        unknown = next((value for value in values if value not in numbers), None)
        if unknown is not None:
            raise DataError(
                f"{self._source.path}: the {split} split has label {unknown!r}, which no training image has"
            )
        return [numbers[value] for value in values]


@lru_cache(maxsize=1)
def _table(source: Hub) -> Table:
    """The opened dataset, kept: a worker asks for its classes at every job."""
    return Table(source)


def _open(source: Hub) -> Mapping[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{source.path}: Parquet and hub datasets need the package datasets; pip install '{EXTRA}'"
        ) from error
    files = {split: [str(file) for file in files] for split, files in source.local_files().items()}
    try:
        with _no_progress_bars(datasets):
            found = (
                datasets.load_dataset("parquet", data_files=files)
                if files
                else datasets.load_dataset(source.path, source.config, revision=source.revision)
            )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{source.path}: cannot be opened as a dataset: {first_line}") from error
    opened: Mapping[str, Any] = found
    return opened


@contextmanager
def _no_progress_bars(datasets: Any) -> "Iterator[None]":
    were_disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            datasets.enable_progress_bars()


def _column(
    source: Hub, what: str, given: str | None, features: Mapping[str, Any], usual: Sequence[str]
) -> str:
    if given is not None:
        if given in features:
            return given
        raise DataError(f"{source.path}: there is no column {given!r}; there are {', '.join(features)}")
    kind = {"image": "Image", "label": "ClassLabel"}[what]
    typed = [name for name, feature in features.items() if type(feature).__name__ == kind]
    if len(typed) == 1:
        return typed[0]
    named = [name for name in usual if name in features]
    if named:
        return named[0]
    raise DataError(
        f"{source.path}: cannot tell which column holds the {what}, of {', '.join(features)}; "
        f"give {what}_column"
    )


def _undecoded(rows: Any, column: str) -> Any:
    """Rows whose images stay encoded, so that a damaged one is found by us and not by `datasets`."""
    if type(rows.features[column]).__name__ != "Image":
        return rows.select_columns([column])
    import datasets

    return rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))


def _encoded(rows: Any, index: int, column: str) -> bytes:
    value = rows[index][column]
    encoded = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(encoded, bytes):
        raise ValueError("no embedded image bytes")
    return encoded


def _split_of(file: Path) -> str:
    word = re.split(r"[^a-z]", file.stem.lower(), maxsplit=1)[0]
    return next((split for split, names in SPLIT_NAMES.items() if word in names), "train")


def _footer_hash(file: Path) -> str:
    """sha256 of a Parquet file's end, where the schema and the statistics of its columns are."""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - FOOTER_BYTES))
        return hashlib.sha256(opened.read()).hexdigest()
