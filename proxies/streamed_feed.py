"""Images that do not fit into memory, on their way to the network: decoded ahead by other processes."""

# Shapes: N images in a split, B batch, C channels, H height, W width, S side of what the network sees.

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from proxies.data.protocol import DataError, Split, StreamedSplit
from proxies.feed import Augmentation, Feed, Standardisation, View
from proxies.numerics import memory_format
from proxies.recipe import TrainingRecipe

AHEAD = 2
"""Batches that each process decodes ahead."""


class Loading(NamedTuple):
    """How loading went since a training began or went on: images, seconds of decoding, seconds waited for."""

    images: int
    decoding_seconds: float
    waited_seconds: float
    loaders: int

    @property
    def images_per_second(self) -> float | None:
        """What the loaders can deliver together; None before the first image."""
        return self.loaders * self.images / self.decoding_seconds if self.decoding_seconds > 0.0 else None


class AnyFeed(Protocol):
    """A split handed out in standardised batches, from memory or decoded on the way."""

    def __len__(self) -> int: ...

    def announce(self, batches: Sequence[Tensor]) -> None:
        """What `batch` will be asked for next, in this order."""

    def skip(self, count: int, augment: Augmentation) -> None:
        """Draw what a batch of `count` images would be moved by, and hand out none."""

    def batch(
        self, chosen_B: Tensor, augment: Augmentation | None = None, view: View | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images (B, C, S, S) as float32 and labels (B,) of the chosen positions, on the device."""


def make_feed(
    split: Split | StreamedSplit, *, standard: Standardisation, recipe: TrainingRecipe, device: torch.device
) -> AnyFeed:
    """The feed of a split."""
    if isinstance(split, Split):
        return Feed(split, standard=standard, recipe=recipe, device=device)
    return StreamedFeed(split, standard=standard, recipe=recipe, device=device)


class StreamedFeed:
    """A streamed split, decoded ahead in the order that was announced.

    What is handed out is, to the last bit, what `Feed` gives of the same images in memory.
    """

    def __init__(
        self, split: StreamedSplit, *, standard: Standardisation, recipe: TrainingRecipe, device: torch.device
    ) -> None:
        self._split = split
        self._labels = torch.from_numpy(split.labels_N)
        self._mean, self._std = standard.mean_1C11.to(device), standard.std_1C11.to(device)
        self._device = device
        self._memory_format = memory_format(recipe)
        self._order = _Announced()
        self._loader: DataLoader[Any] | None = None
        self._coming: Iterator[Any] | None = None
        self._images, self._decoding, self._waited = 0, 0.0, 0.0

    def __len__(self) -> int:
        return len(self._split)

    @property
    def loading(self) -> Loading:
        """How loading has gone."""
        return Loading(self._images, self._decoding, self._waited, self._split.loaders)

    def announce(self, batches: Sequence[Tensor]) -> None:
        """Begin to decode these."""
        self._order.batches = [batch.tolist() for batch in batches]
        if self._loader is None:
            self._loader = DataLoader(
                _Batches(self._split),
                batch_size=None,
                sampler=self._order,
                num_workers=self._split.loaders,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                pin_memory=self._device.type == "cuda",
                multiprocessing_context=_context(),
                worker_init_fn=_leave_interrupts,
                generator=torch.Generator(),  # else it would draw from the one that dropout draws from
            )
        self._coming = iter(self._loader)

    def skip(self, count: int, augment: Augmentation) -> None:
        """See `AnyFeed`."""
        _, height, width = self._split.image_shape
        augment.draw(height, width, count)

    def batch(
        self, chosen_B: Tensor, augment: Augmentation | None = None, view: View | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `AnyFeed`; batches are asked for as they were announced.

        Raises:
            DataError: an image cannot be decoded.
        """
        x_BCHW = self._next(chosen_B)
        if augment is not None:
            x_BCHW = augment(x_BCHW, torch.arange(len(x_BCHW)))
        x_BCHW = x_BCHW.to(self._device, non_blocking=True).float()
        if view is not None:
            x_BCHW = view(x_BCHW)
        x_BCHW = ((x_BCHW - self._mean) / self._std).contiguous(memory_format=self._memory_format)
        return x_BCHW, self._labels[chosen_B].to(self._device, non_blocking=True)

    def _next(self, chosen_B: Tensor) -> Tensor:
        assert self._coming is not None, "announce comes first"
        started = time.monotonic()
        found: _Decoded = next(self._coming)
        self._waited += time.monotonic() - started
        if found.problem is not None:
            raise DataError(found.problem)
        assert found.chosen == chosen_B.tolist(), "batches are asked for as they were announced"
        self._images += len(found.chosen)
        self._decoding += found.seconds
        return found.images_BCHW


def _context() -> Any:
    """Processes forked off one that has torch loaded and, unlike this one, neither threads nor a device."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _leave_interrupts(_: int) -> None:
    """Ctrl-C in a terminal reaches all processes, and the training ends in order by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Decoded(NamedTuple):
    images_BCHW: Tensor
    chosen: list[int]
    seconds: float
    problem: str | None


class _Announced(Sampler[list[int]]):
    """Batches of positions, in order."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Batches(Dataset[_Decoded]):
    """Decodes a whole batch, in a process of the loader; a problem is an answer too."""

    def __init__(self, split: StreamedSplit) -> None:
        self._split = split

    def __getitem__(self, chosen: list[int]) -> _Decoded:
        started = time.monotonic()
        try:
            images_BCHW = torch.from_numpy(np.stack([self._split.read(index) for index in chosen]))
        except DataError as error:
            return _Decoded(torch.empty(0), chosen, 0.0, str(error))
        return _Decoded(images_BCHW, chosen, time.monotonic() - started, None)
