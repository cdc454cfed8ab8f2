"""`cluttered-digits`: one whole digit among pieces of others, made deterministically from real scans."""

# Shapes: N images or pieces, M images that get a piece, H height, W width, P side of the window that a
# piece is drawn in, XY the two coordinates.

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from proxies.data.digits import (
    NUM_DIGITS,
    SCANS_SHA256,
    Channels,
    Part,
    Scans,
    Seed,
    scans_of,
    source_fingerprint,
)
from proxies.data.protocol import DataError, Split, Splits, as_channels
from search_spaces.spec import Spec

Float = NDArray[np.float32]
NumImages = Annotated[int, Field(ge=NUM_DIGITS, le=200_000)]

VERSION = 1
"""Raised when the same parameters draw other images."""

SCAN_SIDE = 8
STREAMS: dict[Part, int] = {"train": 0, "validation": 1, "test": 2}
CHUNK = 256
MIN_RESOLUTION = 16


class ClutteredDigits(Spec):
    """A scan placed, scaled and rotated on a square canvas, over fragments of other scans and noise.

    Whole networks differ on it after a few epochs where plain digits saturate, so it can rank candidates.
    Each image has 0 to `fragments` fragments: the clear ones get a network started within an epoch, the
    cluttered ones tell networks apart for long after. Lengths are fractions of the canvas, so another
    resolution shows the same images larger. Training, validation and test images are made from their own
    scans only, digit and fragments alike.

    Related: "Cluttered MNIST", Mnih et al. 2014, arXiv:1406.6247.
    """

    train_images: NumImages = 4000
    validation_images: NumImages = 4000
    test_images: NumImages = 4000
    fragments: Annotated[int, Field(ge=0, le=64)] = 6
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    smallest: Annotated[float, Field(gt=0.0, le=1.0)] = 0.45
    largest: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    max_rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 25.0
    channels: Channels = 3
    seed: Seed = 0

    @model_validator(mode="after")
    def _ordered_sizes(self) -> Self:
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest:g} is over largest {self.largest:g}; swap them")
        return self

    @property
    def num_classes(self) -> int:
        """Ten."""
        return NUM_DIGITS

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(map(str, range(NUM_DIGITS)))

    def fingerprint(self) -> str:
        """Hash of the scans' own hash, the version of the drawing and the parameters."""
        return source_fingerprint("cluttered-digits", VERSION, SCANS_SHA256, self.model_dump())

    def load(self, *, resolution: int) -> Splits:
        """Draw training and validation images; about a second."""
        return Splits(
            train=self._draw("train", self.train_images, resolution),
            validation=self._draw("validation", self.validation_images, resolution),
            num_classes=NUM_DIGITS,
        )

    def load_test(self, *, resolution: int) -> Split:
        """Draw the test images, from the test scans."""
        return self._draw("test", self.test_images, resolution)

    def _draw(self, part: Part, count: int, resolution: int) -> Split:
        if resolution < MIN_RESOLUTION:
            raise DataError(
                f"cluttered-digits cannot be drawn at {resolution} pixels; use {MIN_RESOLUTION} or more"
            )
        scans = scans_of(part, self.seed)
        rng = np.random.default_rng([self.seed, STREAMS[part]])
        shown_N = _balanced(scans, count, rng)
        canvas_NHW = np.zeros((count, resolution, resolution), dtype=np.float32)
        fragments_N = rng.integers(0, self.fragments + 1, size=count)
        for index in range(self.fragments):
            cluttered_M = np.flatnonzero(fragments_N > index)
            _paste(canvas_NHW, cluttered_M, self._fragments(scans, len(cluttered_M), rng))
        _paste(canvas_NHW, np.arange(count), self._digits(scans.ink_NHW[shown_N], rng))
        canvas_NHW += np.float32(self.noise) * rng.standard_normal(canvas_NHW.shape, dtype=np.float32)
        np.clip(canvas_NHW, 0.0, 1.0, out=canvas_NHW)
        grey_NHW = np.rint(canvas_NHW * 255.0).astype(np.uint8)
        return Split(images_NCHW=as_channels(grey_NHW, self.channels), labels_N=scans.labels_N[shown_N])

    def _digits(self, ink_NHW: NDArray[np.uint8], rng: np.random.Generator) -> "Pieces":
        count = len(ink_NHW)
        side_N = rng.uniform(self.smallest, self.largest, count)
        margin_N1 = side_N[:, None] / 2
        centre_NXY = margin_N1 + rng.random((count, 2)) * (1.0 - 2 * margin_N1)
        return Pieces(
            ink_NHW=ink_NHW.astype(np.float32) / 16.0,
            centre_NXY=centre_NXY,
            side_N=side_N,
            angle_N=self._angles(count, rng),
            strength_N=rng.uniform(0.7, 1.0, count),
            focus_NXY=np.zeros((count, 2)),
            extent=1.0,
        )

    def _fragments(self, scans: Scans, count: int, rng: np.random.Generator) -> "Pieces":
        ink_NHW = scans.ink_NHW[rng.integers(len(scans.labels_N), size=count)].astype(np.float32) / 16.0
        first_NXY = rng.integers(0, 5, size=(count, 2))
        row_N8, column_N8 = (
            (np.arange(SCAN_SIDE) >= first_N[:, None]) & (np.arange(SCAN_SIDE) < first_N[:, None] + 4)
            for first_N in first_NXY.T
        )
        return Pieces(
            ink_NHW=ink_NHW * (row_N8[:, :, None] & column_N8[:, None, :]),
            centre_NXY=rng.random((count, 2)),
            side_N=rng.uniform(self.smallest, self.largest, count),
            angle_N=self._angles(count, rng),
            strength_N=rng.uniform(0.7, 1.0, count),
            focus_NXY=(first_NXY + 1.5 - 3.5) / SCAN_SIDE,
            extent=0.625,
        )

    def _angles(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.deg2rad(rng.uniform(-self.max_rotation_degrees, self.max_rotation_degrees, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """One piece for each of some images: what, where, how large, how turned, how dark.

    `focus_NXY` is the point of the scan (fraction of its side from its middle) that lies on `centre_NXY`
    (fraction of the canvas); `extent` is how much of the scan's side is drawn around it.
    """

    ink_NHW: Float
    centre_NXY: NDArray[np.float64]
    side_N: NDArray[np.float64]
    angle_N: NDArray[np.float64]
    strength_N: NDArray[np.float64]
    focus_NXY: NDArray[np.float64]
    extent: float


def _balanced(scans: Scans, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `count` scans: labels as equal as can be, in random order."""
    labels = rng.permutation(np.arange(count) % NUM_DIGITS)
    shown_N = np.empty(count, dtype=np.int64)
    for label in range(NUM_DIGITS):
        places = np.flatnonzero(labels == label)
        shown_N[places] = rng.choice(np.flatnonzero(scans.labels_N == label), size=len(places))
    return shown_N


def _paste(canvas_NHW: Float, image_M: NDArray[np.int64], pieces: Pieces) -> None:
    """Draw one piece on each of the images, in place; the darker ink shows and the rest is cut off."""
    for start in range(0, len(image_M), CHUNK):
        _paste_chunk(canvas_NHW, image_M, pieces, slice(start, start + CHUNK))


def _paste_chunk(canvas_NHW: Float, image_M: NDArray[np.int64], pieces: Pieces, chunk: slice) -> None:
    resolution = canvas_NHW.shape[1]
    centre_NXY = (pieces.centre_NXY[chunk] * resolution).astype(np.float32)
    side_N = (pieces.side_N[chunk] * resolution).astype(np.float32)
    turned = float(side_N.max()) * pieces.extent * np.sqrt(2.0)
    window = min(int(np.ceil(turned)) + 2, resolution)

    first_NXY = np.clip(np.floor(centre_NXY - window / 2).astype(np.int64), 0, resolution - window)
    pixel_N2P = first_NXY[:, :, None] + np.arange(window)
    away_N2P = (pixel_N2P + 0.5 - centre_NXY[:, :, None]).astype(np.float32)

    zoom_N11 = (SCAN_SIDE / side_N)[:, None, None]
    angle_N11 = pieces.angle_N[chunk].astype(np.float32)[:, None, None]
    cos, sin = np.cos(angle_N11) * zoom_N11, np.sin(angle_N11) * zoom_N11
    focus_N2 = (pieces.focus_NXY[chunk] * SCAN_SIDE + (SCAN_SIDE - 1) / 2).astype(np.float32)
    row_NP1, column_N1P = away_N2P[:, 0, :, None], away_N2P[:, 1, None, :]
    row_NPP = cos * row_NP1 + sin * column_N1P + focus_N2[:, 0, None, None]
    column_NPP = cos * column_N1P - sin * row_NP1 + focus_N2[:, 1, None, None]

    drawn_NPP = _sample(pieces.ink_NHW[chunk], row_NPP, column_NPP)
    drawn_NPP *= pieces.strength_N[chunk].astype(np.float32)[:, None, None]
    where = (image_M[chunk, None, None], pixel_N2P[:, 0, :, None], pixel_N2P[:, 1, None, :])
    canvas_NHW[where] = np.maximum(canvas_NHW[where], drawn_NPP)


def _sample(ink_NHW: Float, row_NPP: Float, column_NPP: Float) -> Float:
    """Bilinear look-up at scan coordinates (0 is the middle of the first pixel); paper outside."""
    padded_NHW = np.pad(ink_NHW, ((0, 0), (1, 2), (1, 2)))
    side = padded_NHW.shape[1]
    flat = padded_NHW.ravel()
    row_NPP = np.clip(row_NPP + 1.0, 0.0, side - 2.0)
    column_NPP = np.clip(column_NPP + 1.0, 0.0, side - 2.0)
    top_NPP, left_NPP = row_NPP.astype(np.int32), column_NPP.astype(np.int32)
    down_NPP, right_NPP = row_NPP - top_NPP, column_NPP - left_NPP
    corner_NPP = (
        (np.arange(len(ink_NHW), dtype=np.int32) * side * side)[:, None, None] + top_NPP * side + left_NPP
    )
    upper_NPP = flat[corner_NPP] * (1 - right_NPP) + flat[corner_NPP + 1] * right_NPP
    lower_NPP = flat[corner_NPP + side] * (1 - right_NPP) + flat[corner_NPP + side + 1] * right_NPP
    drawn_NPP: Float = upper_NPP * (1 - down_NPP) + lower_NPP * down_NPP
    return drawn_NPP
