"""From encoded pictures to one array: decoding, counting what cannot be decoded, and holding images out."""

# Shapes: N images, C channels, H height, W width.

import hashlib
import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxies.data.protocol import DataError, Split, StreamedSplit

logger = logging.getLogger(__name__)

PictureChannels = Literal[1, 3]
Fraction = Annotated[float, Field(gt=0.0, lt=0.5)]
Gib = Annotated[float, Field(gt=0.0)]

GIB = 1024**3
MAX_PIXELS = 50_000_000
"""A larger picture is refused before it is decoded: 50 million pixels are 150 MB."""

MAX_REJECTED_FRACTION = 0.01
SHOWN_REJECTS = 5
DECODING_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One encoded picture: its name within the data, where it is, how to read its bytes, its class."""

    key: str
    place: str
    read: Callable[[], bytes]
    label: int


def read_split(
    pictures: Sequence[Picture], *, name: str, resolution: int, channels: PictureChannels, max_gib: float
) -> Split:
    """Decode pictures, in their order. A few that cannot be decoded are left out, logged and listed.

    Raises:
        DataError: no pictures, more memory than `max_gib` needed, or over 1 % of them unusable.
    """
    if not pictures:
        raise DataError(
            f"{name}: there are no images; add some, or hold out a larger fraction of the training images"
        )
    needed = len(pictures) * channels * resolution**2
    if needed > max_gib * GIB:
        raise DataError(
            f"{name}: {len(pictures)} images of {resolution} pixels take {needed / GIB:.1f} GiB of memory, "
            f"over the limit of {max_gib:g}; lower the resolution or train_images, or raise max_gib"
        )
    images_NCHW = np.empty((len(pictures), channels, resolution, resolution), dtype=np.uint8)

    def decode_into(index: int) -> str | None:
        picture = pictures[index]
        try:
            images_NCHW[index] = decode(picture.read(), resolution, channels)
        except (OSError, ValueError, SyntaxError) as error:  # all that Pillow's decoders raise
            return f"{picture.place} ({error})"
        return None

    with ThreadPoolExecutor(DECODING_THREADS) as threads:
        reasons = list(threads.map(decode_into, range(len(pictures))))
    rejected = [reason for reason in reasons if reason is not None]
    check_rejected(rejected, len(pictures), name)
    labels_N = np.array([picture.label for picture in pictures], dtype=np.int64)
    if not rejected:
        return Split(images_NCHW=images_NCHW, labels_N=labels_N)
    kept_N = np.array([reason is None for reason in reasons])
    return Split(images_NCHW=images_NCHW[kept_N], labels_N=labels_N[kept_N], rejected=tuple(rejected))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReader:
    """Decodes the picture at a position, in whatever process it is called."""

    pictures: tuple[Picture, ...]
    resolution: int
    channels: PictureChannels

    def __call__(self, index: int) -> NDArray[np.uint8]:
        """uint8 (C, H, W).

        Raises:
            DataError: it cannot be read or decoded.
        """
        picture = self.pictures[index]
        try:
            return decode(picture.read(), self.resolution, self.channels)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(
                f"{picture.place} cannot be used ({error}); repair or remove it, or load without loaders, "
                "which leaves a few such images out"
            ) from error


def stream_split(
    pictures: Sequence[Picture], *, name: str, resolution: int, channels: PictureChannels, loaders: int
) -> StreamedSplit:
    """Pictures that are decoded when they are needed.

    Raises:
        DataError: no pictures.
    """
    if not pictures:
        raise DataError(
            f"{name}: there are no images; add some, or hold out a larger fraction of the training images"
        )
    return StreamedSplit(
        read=PictureReader(pictures=tuple(pictures), resolution=resolution, channels=channels),
        labels_N=np.array([picture.label for picture in pictures], dtype=np.int64),
        image_shape=(channels, resolution, resolution),
        loaders=loaders,
    )


def check_rejected(rejected: Sequence[str], total: int, name: str) -> None:
    """Log unusable pictures; stop when they are over 1 %.

    Raises:
        DataError: over 1 %; it lists the first five.
    """
    if not rejected:
        return
    more = f" and {len(rejected) - SHOWN_REJECTS} more" if len(rejected) > SHOWN_REJECTS else ""
    listed = f"{len(rejected)} of {total} images are unusable: {', '.join(rejected[:SHOWN_REJECTS])}{more}"
    if len(rejected) > MAX_REJECTED_FRACTION * total:
        raise DataError(f"{name}: {listed}; at most 1 % may be, so repair or remove them")
    logger.warning("%s: %s; left out", name, listed)


def decode(encoded: bytes, resolution: int, channels: PictureChannels) -> NDArray[np.uint8]:
    """The middle square of a picture, resized: uint8 (C, H, W).

    Raises:
        OSError, ValueError, SyntaxError: not a picture, a damaged one, or one of over 50 million pixels.
    """
    from PIL import Image

    if not encoded:
        raise ValueError("0 bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of size and odd metadata; size is checked below
        try:
            with Image.open(BytesIO(encoded)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ValueError(f"{width}x{height} pixels, over the limit of {MAX_PIXELS:,}")
                mode = "L" if channels == 1 else "RGB"
                image.draft(mode, (resolution, resolution))
                side = min(image.size)
                left, top = (image.size[0] - side) // 2, (image.size[1] - side) // 2
                square = (
                    image.crop((left, top, left + side, top + side))
                    .convert(mode)
                    .resize((resolution, resolution), Image.Resampling.BILINEAR, reducing_gap=2.0)
                )
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
    pixels: NDArray[np.uint8] = np.asarray(square, dtype=np.uint8).reshape(resolution, resolution, channels)
    return pixels.transpose(2, 0, 1)


def hash_fraction(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone, on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def divide(
    pictures: Sequence[Picture], *, validation: float, test: float
) -> tuple[list[Picture], list[Picture], list[Picture]]:
    """Training, validation and test pictures: two fractions held out by the hash of each one's key.

    Each picture is decided by itself, so adding or removing others moves none.
    """
    parts: tuple[list[Picture], list[Picture], list[Picture]] = ([], [], [])
    for picture in pictures:
        place = hash_fraction(picture.key)
        parts[1 if place < validation else 2 if place < validation + test else 0].append(picture)
    return parts


def first_by_hash(pictures: Sequence[Picture], count: int | None) -> list[Picture]:
    """At most `count` pictures, those whose keys have the smallest hashes, in their old order."""
    if count is None or count >= len(pictures):
        return list(pictures)
    ranked = sorted(range(len(pictures)), key=lambda index: hash_fraction(f"subset {pictures[index].key}"))
    return [pictures[index] for index in sorted(ranked[:count])]
