"""`digits`: scikit-learn's 1,797 scans of handwritten digits, 8x8 pixels, split once and for all."""

# Shapes: N scans, H height, W width.

import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxies.data.protocol import DataError, Labels, Split, Splits, as_channels
from search_spaces.spec import Spec

NUM_DIGITS = 10
SCANS_SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
"""Of the scans and labels as one uint8 table (1797, 65), as every scikit-learn so far has shipped them."""

TRAIN_FRACTION, VALIDATION_FRACTION = 0.6, 0.2

Part = Literal["train", "validation", "test"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Channels = Annotated[int, Field(ge=1, le=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """Grey scans, 0 (paper) to 16 (ink), and the digit each one shows."""

    ink_NHW: NDArray[np.uint8]
    labels_N: Labels


class Digits(Spec):
    """The scans themselves, enlarged to the resolution asked for.

    Easy: small networks pass 96 % within two epochs, so it checks that training works and ranks nothing
    (`cluttered-digits` does). Grey; `channels` is how many equal planes an image has.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), by scikit-learn.
    """

    channels: Channels = 3
    seed: Seed = 0

    @property
    def num_classes(self) -> int:
        """Ten."""
        return NUM_DIGITS

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(map(str, range(NUM_DIGITS)))

    def fingerprint(self) -> str:
        """Hash of the scans' own hash, this version of the reader and the parameters."""
        return source_fingerprint("digits", 1, SCANS_SHA256, self.model_dump())

    def load(self, *, resolution: int) -> Splits:
        """1,077 training and 359 validation scans (to within rounding by class)."""
        return Splits(
            train=self._split("train", resolution),
            validation=self._split("validation", resolution),
            num_classes=NUM_DIGITS,
        )

    def load_test(self, *, resolution: int) -> Split:
        """The scans in neither of the other two parts."""
        return self._split("test", resolution)

    def _split(self, part: Part, resolution: int) -> Split:
        scans = scans_of(part, self.seed)
        images_NHW = enlarge(scans.ink_NHW, resolution)
        return Split(images_NCHW=as_channels(images_NHW, self.channels), labels_N=scans.labels_N)


def source_fingerprint(name: str, version: int, *parts: object) -> str:
    """sha256 of canonical JSON; `version` is raised when the same parameters give other images."""
    canonical = json.dumps([name, version, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def scans_of(part: Part, seed: int) -> Scans:
    """The scans of one part. For a seed the three parts are disjoint, stratified and always the same."""
    scans = read_scans()
    chosen_N = part_indices(scans.labels_N, part, seed)
    return Scans(ink_NHW=scans.ink_NHW[chosen_N], labels_N=scans.labels_N[chosen_N])


def part_indices(labels_N: Labels, part: Part, seed: int) -> NDArray[np.int64]:
    """Sorted indices of one part: each class shuffled by itself, then cut at 60 % and 80 %."""
    rng = np.random.default_rng(seed)
    chosen: list[NDArray[np.int64]] = []
    for label in range(NUM_DIGITS):
        indices = rng.permutation(np.flatnonzero(labels_N == label))
        first = round(len(indices) * TRAIN_FRACTION)
        second = round(len(indices) * (TRAIN_FRACTION + VALIDATION_FRACTION))
        bounds = {"train": (0, first), "validation": (first, second), "test": (second, len(indices))}
        chosen.append(indices[slice(*bounds[part])])
    return np.sort(np.concatenate(chosen))


@lru_cache(maxsize=1)
def read_scans() -> Scans:
    """All scans, from the table that scikit-learn carries.

    The table is read from its file: importing scikit-learn costs two seconds of CPU in every worker
    and the file 15 ms. A scikit-learn that keeps it elsewhere is asked through its API.

    Raises:
        DataError: scikit-learn is absent, or its scans are not the known ones.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the digit scans come with scikit-learn, which is not installed; pip install scikit-learn"
        )
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    table = _read_table(path) if path.is_file() else _load_table()
    found = hashlib.sha256(table.tobytes()).hexdigest()
    if found != SCANS_SHA256:
        raise DataError(
            f"scikit-learn's digit scans ({path}) have sha256 {found}, not {SCANS_SHA256}; "
            f"reinstall scikit-learn"
        )
    return Scans(ink_NHW=table[:, :-1].reshape(-1, 8, 8), labels_N=table[:, -1].astype(np.int64))


def _read_table(path: Path) -> NDArray[np.uint8]:
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            return np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the digit scans {path}: {error}; reinstall scikit-learn") from error


def _load_table() -> NDArray[np.uint8]:
    from sklearn.datasets import load_digits

    scans = load_digits()
    return np.column_stack([scans.data, scans.target]).astype(np.uint8)


def enlarge(ink_NHW: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Bilinear, pixel centres aligned: (N, 8, 8) ink 0..16 -> (N, resolution, resolution) grey 0..255."""
    weights = _bilinear_weights(ink_NHW.shape[1], resolution)
    grey_NHW = weights @ (ink_NHW.astype(np.float32) * (255.0 / 16.0)) @ weights.T
    return np.rint(grey_NHW).astype(np.uint8)


def _bilinear_weights(size: int, resolution: int) -> NDArray[np.float32]:
    centre = np.clip((np.arange(resolution) + 0.5) * size / resolution - 0.5, 0, size - 1)
    lower = np.minimum(centre.astype(np.int64), size - 2)
    weights = np.zeros((resolution, size), dtype=np.float32)
    weights[np.arange(resolution), lower] = 1.0 - (centre - lower)
    weights[np.arange(resolution), lower + 1] = centre - lower
    return weights
