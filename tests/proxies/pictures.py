"""Small pictures on disk for the readers of folders and Parquet files."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"ant": (200, 30, 30), "bee": (30, 200, 30), "cat": (30, 30, 200)}


def png(class_name: str, index: int, *, side: int = 12) -> bytes:
    """A PNG in its class's colour, whose first pixel tells pictures apart."""
    pixels = np.full((side, side, 3), COLOURS[class_name], dtype=np.uint8)
    pixels[0, 0] = index % 256, index // 256, 7
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def write_classes(
    folder: Path, count: int, *, first: int = 0, classes: tuple[str, ...] = ("ant", "bee")
) -> None:
    """`count` pictures of each class under `folder`."""
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + count):
            (folder / name / f"{index:04}.png").write_bytes(png(name, index))


def colours(images_NCHW: np.ndarray) -> list[str]:
    """The class that each image shows, by the colour of its middle."""
    side = images_NCHW.shape[2]
    middles = images_NCHW[:, :, side // 2, side // 2]
    names = {colour: name for name, colour in COLOURS.items()}
    return [names[tuple(int(value) for value in middle)] for middle in middles]
