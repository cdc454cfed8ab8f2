"""A data source of your own: circles, squares and triangles, drawn when asked.

A source is a frozen value with four members (`proxies.data.protocol.DataSource`). Its parameters can be set
in a task's YAML:

    data: {source: shapes, train_images: 4000}

It becomes `--data shapes` through an entry point of your distribution, loaded with `--allow-plugins`:

    [project.entry-points."nas.data"]
    shapes = "shapes_data:Shapes"
"""

# Shapes: N images, H height, W width.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.data.protocol import Split, Splits

STREAMS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Shapes:
    """Filled shapes of random size, place and brightness on a noisy ground."""

    train_images: int = 2000
    validation_images: int = 1000
    seed: int = 0

    @property
    def num_classes(self) -> int:
        """Circle, square, triangle."""
        return 3

    def fingerprint(self) -> str:
        """All that decides the images: the parameters, and a version to raise when the drawing changes."""
        return f"shapes 1 {self.train_images} {self.validation_images} {self.seed}"

    def load(self, *, resolution: int) -> Splits:
        """What a search sees."""
        return Splits(
            train=self._draw("train", self.train_images, resolution),
            validation=self._draw("validation", self.validation_images, resolution),
            num_classes=self.num_classes,
        )

    def load_test(self, *, resolution: int) -> Split:
        """What only a final report sees."""
        return self._draw("test", self.validation_images, resolution)

    def _draw(self, part: str, count: int, resolution: int) -> Split:
        rng = np.random.default_rng([self.seed, STREAMS[part]])
        labels_N = rng.integers(self.num_classes, size=count)
        radius_N11 = rng.uniform(0.15, 0.3, (count, 1, 1))
        place = (np.arange(resolution) + 0.5) / resolution
        row_NHW = np.abs(place[:, None] - rng.uniform(0.3, 0.7, (count, 1, 1))) / radius_N11
        column_NHW = np.abs(place[None, :] - rng.uniform(0.3, 0.7, (count, 1, 1))) / radius_N11
        inside: list[NDArray[np.bool_]] = [
            row_NHW**2 + column_NHW**2 < 1,
            np.maximum(row_NHW, column_NHW) < 1,
            row_NHW + column_NHW < 1,
        ]
        shown_NHW = np.choose(labels_N[:, None, None], inside)
        grey_NHW = shown_NHW * rng.uniform(80, 200, (count, 1, 1)) + rng.uniform(0, 50, shown_NHW.shape)
        images_NCHW = np.repeat(grey_NHW.astype(np.uint8)[:, None], 3, axis=1)
        return Split(images_NCHW=images_NCHW, labels_N=labels_N)
