"""The seam of every data source, and the plain arrays it hands over. No torch here."""

# Shapes: N images, C channels, H height, W width.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]


class DataError(Exception):
    """Data that is not there or not usable; one sentence with the place and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Square images and their labels, in memory.

    `images_NCHW` is uint8 (0 to 255; standardised by the trainer with the training split's own mean and
    deviation) or float32 (used as it is). `labels_N` is int64, counted from 0. `rejected` lists what the
    source left out as unusable, with the reason.
    """

    images_NCHW: Images
    labels_N: Labels
    rejected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images, labels = self.images_NCHW, self.labels_N
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
            raise DataError(
                f"images are {images.dtype} of shape {images.shape}; "
                f"give uint8 or float32 of shape (N, C, H, W)"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            raise DataError(
                f"labels are {labels.dtype} of shape {labels.shape}; "
                f"give one int64 for each of {len(images)} images"
            )
        if len(images) == 0:
            raise DataError("a split holds no images; give each split at least one")

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.images_NCHW.shape[1:]
        return int(channels), int(height), int(width)

    @property
    def is_whole_numbers(self) -> bool:
        """Whether pixels are 0 to 255, which are standardised."""
        return self.images_NCHW.dtype == np.uint8


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedSplit:
    """Square images that are decoded when they are needed, by `loaders` processes beside the training's.

    `read` decodes the image at a position, uint8 of `image_shape` (C, H, W); it is picklable, and raises
    DataError for one that cannot be used: none is left out, so what is damaged has to be removed.
    """

    read: Callable[[int], NDArray[np.uint8]]
    labels_N: Labels
    image_shape: tuple[int, int, int]
    loaders: int

    def __post_init__(self) -> None:
        if len(self.labels_N) == 0:
            raise DataError("a split holds no images; give each split at least one")
        if self.loaders < 1:
            raise DataError(f"{self.loaders} processes cannot load images; use 1 or more")

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def is_whole_numbers(self) -> bool:
        """They always are."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """What a search may see. There is no test split here: `DataSource.load_test` is a separate step."""

    train: Split | StreamedSplit
    validation: Split | StreamedSplit
    num_classes: int

    def __post_init__(self) -> None:
        for name, split in (("training", self.train), ("validation", self.validation)):
            check_labels(split, self.num_classes, name)
        if self.train.image_shape != self.validation.image_shape:
            raise DataError(
                f"training images are {self.train.image_shape} and validation images "
                f"{self.validation.image_shape} (C, H, W); make them equal"
            )

    @property
    def channels(self) -> int:
        """Channels of every image; the network's input must have as many."""
        return self.train.image_shape[0]

    @property
    def resolution(self) -> int:
        """Height (= width) of every image in pixels."""
        return self.train.image_shape[1]


class DataSource(Protocol):
    """Where images come from: a frozen, hashable, picklable value that loads when asked.

    The three splits share no image, nor anything an image was made from, and are the same in every
    process. Sources raise DataError for data that is not there or not usable.
    """

    def __hash__(self) -> int:
        """Equal sources are loaded once by a process."""

    @property
    def num_classes(self) -> int:
        """How many classes there are; cheaper than loading."""

    def fingerprint(self) -> str:
        """Identifies the images: equal fingerprints give equal splits. Needs neither torch nor loading."""

    def load(self, *, resolution: int) -> Splits:
        """Training and validation images of `resolution` x `resolution` pixels."""

    def load_test(self, *, resolution: int) -> Split:
        """The held-out test images. Only a final report asks for them; no search does."""


@runtime_checkable
class Streams(Protocol):
    """A source that can hand its images out one by one, for data that does not fit into memory."""

    def stream(self, *, resolution: int, loaders: int) -> Splits:
        """As `DataSource.load`, with streamed splits that `loaders` processes decode."""

    def stream_test(self, *, resolution: int, loaders: int) -> StreamedSplit:
        """As `DataSource.load_test`."""


@runtime_checkable
class NamesClasses(Protocol):
    """A source that knows what its classes are called."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each class, in the order of the labels."""


def class_names_of(source: DataSource) -> tuple[str, ...] | None:
    """What the classes of a source are called; None where it does not say."""
    return source.class_names if isinstance(source, NamesClasses) else None


def check_labels(split: Split | StreamedSplit, num_classes: int, name: str) -> None:
    """Refuse labels outside 0 .. num_classes - 1.

    Raises:
        DataError: naming the first wrong label and its position.
    """
    wrong = np.flatnonzero((split.labels_N < 0) | (split.labels_N >= num_classes))
    if len(wrong):
        raise DataError(
            f"{name} image {wrong[0]} has label {split.labels_N[wrong[0]]}, outside 0 to {num_classes - 1}; "
            f"correct the labels or num_classes"
        )


def as_channels(images_NHW: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey images as `channels` equal planes: (N, H, W) -> (N, C, H, W)."""
    return np.repeat(images_NHW[:, None], channels, axis=1)
