"""Images on their way to the network: on the device, augmented, resized, standardised."""

# Shapes: N images in a split, B batch, C channels, H height, W width, S side of what the network sees.

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from proxies.augment import rand_augment, random_crop, resize
from proxies.data.protocol import Split, StreamedSplit
from proxies.numerics import memory_format
from proxies.recipe import TrainingRecipe

STATISTICS_IMAGES = 10_000
STATISTICS_CHUNK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardisation:
    """Mean and deviation by channel (1, C, 1, 1) that uint8 images are standardised with."""

    mean_1C11: Tensor
    std_1C11: Tensor

    @staticmethod
    def of(split: Split | StreamedSplit) -> "Standardisation":
        """Statistics of at most 10,000 images, evenly spread over the split; the identity for floats.

        Of a streamed split they are decoded here, in a few threads.
        """
        if not split.is_whole_numbers:
            return Standardisation(mean_1C11=torch.zeros(1, 1, 1, 1), std_1C11=torch.ones(1, 1, 1, 1))
        channels, height, width = split.image_shape
        total_C = np.zeros(channels)
        squares_C = np.zeros(channels)
        sample = range(0, len(split), -(-len(split) // STATISTICS_IMAGES))
        for chunk_NCHW in _chunks(split, sample):
            total_C += chunk_NCHW.sum((0, 2, 3))
            squares_C += np.square(chunk_NCHW).sum((0, 2, 3))
        count = len(sample) * height * width
        mean_C = total_C / count
        std_C = np.sqrt(np.maximum(squares_C / count - mean_C**2, 1.0))
        return Standardisation(
            mean_1C11=torch.from_numpy(mean_C).float().reshape(1, -1, 1, 1),
            std_1C11=torch.from_numpy(std_C).float().reshape(1, -1, 1, 1),
        )


class Feed:
    """A split on the device, handed out in standardised batches.

    Images stay where they are read fastest: on the device, unless they would fill more than half of an
    accelerator's free memory; then batches are gathered on the host and copied.
    """

    def __init__(
        self, split: Split, *, standard: Standardisation, recipe: TrainingRecipe, device: torch.device
    ) -> None:
        images = torch.from_numpy(split.images_NCHW)
        self._home = device if _fits(images, device) else torch.device("cpu")
        self._images = images.to(self._home)
        self._labels = torch.from_numpy(split.labels_N).to(self._home)
        self._mean, self._std = standard.mean_1C11.to(device), standard.std_1C11.to(device)
        self._device = device
        self._memory_format = memory_format(recipe)

    def __len__(self) -> int:
        return len(self._labels)

    def announce(self, batches: Sequence[Tensor]) -> None:
        """What `batch` will be asked for next, in this order; nothing to prepare, all is in memory."""

    def skip(self, count: int, augment: "Augmentation") -> None:
        """Draw what a batch of `count` images would be moved by, and hand out none."""
        height, width = self._images.shape[2:]
        augment.draw(height, width, count)

    def batch(
        self, chosen_B: Tensor, augment: "Augmentation | None" = None, view: "View | None" = None
    ) -> tuple[Tensor, Tensor]:
        """Images (B, C, S, S) as float32 and labels (B,) of the chosen positions, on the device."""
        chosen_B = chosen_B.to(self._home)
        x_BCHW = self._images[chosen_B] if augment is None else augment(self._images, chosen_B)
        x_BCHW = x_BCHW.to(self._device, non_blocking=True).float()
        if view is not None:
            x_BCHW = view(x_BCHW)
        x_BCHW = ((x_BCHW - self._mean) / self._std).contiguous(memory_format=self._memory_format)
        return x_BCHW, self._labels[chosen_B].to(self._device, non_blocking=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a batch of pixels (0 to 255) is seen: at what size, and distorted by what.

    `rng` is None where nothing random happens, as in an evaluation.
    """

    resolution: int
    crop_area: float | None = None
    randaugment: float = 0.0
    rng: np.random.Generator | None = None

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, S, S)."""
        if self.rng is None:
            return resize(x_BCHW, self.resolution)
        if self.crop_area is not None:
            x_BCHW = random_crop(x_BCHW, self.resolution, self.crop_area, self.rng)
        else:
            x_BCHW = resize(x_BCHW, self.resolution)
        if not self.randaugment:
            return x_BCHW
        return rand_augment((x_BCHW / 255.0).clamp(0.0, 1.0), self.randaugment, self.rng) * 255.0


class Augmentation:
    """Random mirror images and shifts, drawn from a generator of its own; edges are repeated."""

    def __init__(self, recipe: TrainingRecipe, generator: torch.Generator) -> None:
        self._flip, self._shift = recipe.flip, recipe.shift
        self._generator = generator

    def __call__(self, images_NCHW: Tensor, chosen_B: Tensor) -> Tensor:
        """Gather the chosen images, each moved and mirrored by itself: (B, C, H, W)."""
        height, width = images_NCHW.shape[2:]
        row_BH, column_BW = self.draw(height, width, len(chosen_B))
        row_BH, column_BW = row_BH.to(images_NCHW.device), column_BW.to(images_NCHW.device)
        x_BHWC = images_NCHW.permute(0, 2, 3, 1)[
            chosen_B[:, None, None], row_BH[:, :, None], column_BW[:, None, :]
        ]
        return x_BHWC.permute(0, 3, 1, 2)

    def draw(self, height: int, width: int, count: int) -> tuple[Tensor, Tensor]:
        """Rows (B, H) and columns (B, W) that each of `count` images is read at."""
        row_BH = self._positions(height, count)
        column_BW = self._positions(width, count)
        if self._flip:
            mirrored_B1 = torch.rand(count, 1, generator=self._generator) < 0.5
            column_BW = torch.where(mirrored_B1, column_BW.flip(1), column_BW)
        return row_BH, column_BW

    def _positions(self, side: int, count: int) -> Tensor:
        reach = int(side * self._shift)
        offset_B1 = torch.randint(-reach, reach + 1, (count, 1), generator=self._generator)
        return (torch.arange(side) + offset_B1).clamp_(0, side - 1)


def _chunks(split: Split | StreamedSplit, sample: range) -> Iterator[np.ndarray]:
    """The images of a sample as float64, a few at a time."""
    if isinstance(split, Split):
        for start in range(0, len(sample), STATISTICS_CHUNK):
            yield split.images_NCHW[list(sample[start : start + STATISTICS_CHUNK])].astype(np.float64)
        return
    with ThreadPoolExecutor(split.loaders) as threads:
        for start in range(0, len(sample), STATISTICS_CHUNK):
            found = list(threads.map(split.read, sample[start : start + STATISTICS_CHUNK]))
            yield np.stack(found).astype(np.float64)


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() * images.element_size() <= free // 2
