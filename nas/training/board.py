"""A training's logs for TensorBoard, beside its CSV files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from nas.errors import ConfigError

FOLDER = "tensorboard"
STEP_TAGS = {"loss": "train/loss", "learning_rate": "train/learning_rate", "resolution": "train/resolution"}
EPOCH_TAGS = {"validation_loss": "validation/loss", "top1": "validation/top1", "top5": "validation/top5"}
SPEED = {"images_per_second": "speed/images_per_second"}


class Board(Protocol):
    """Something that takes the rows of the logs as they are written."""

    def add_steps(self, row: Mapping[str, Any]) -> None:
        """A row of steps.csv."""

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """A row of epochs.csv."""

    def close(self) -> None:
        """All rows are in."""


class NoBoard:
    """Takes nothing."""

    def add_steps(self, row: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to close."""


class TensorBoard:
    """Event files under `tensorboard/` of a training's directory; what is after `step` is taken back.

    Raises:
        ConfigError: the package that writes them is not installed.
    """

    def __init__(self, directory: Path, *, step: int) -> None:
        require_tensorboard()
        from tensorboardX import SummaryWriter

        # Files are named by the second: one that is resumed at once would write over its own.
        self._writer: Any = SummaryWriter(
            str(directory / FOLDER), purge_step=step + 1 if step else None, filename_suffix=f".{step}"
        )

    def add_steps(self, row: Mapping[str, Any]) -> None:
        """See `Board`."""
        self._add(row, STEP_TAGS | SPEED)

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """See `Board`."""
        self._add(row, EPOCH_TAGS)
        self._writer.flush()

    def close(self) -> None:
        """See `Board`."""
        self._writer.close()

    def _add(self, row: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        for name, tag in tags.items():
            if row[name] is not None:
                self._writer.add_scalar(tag, row[name], row["step"])


def require_tensorboard() -> None:
    """See that event files can be written.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            'logs for TensorBoard need tensorboardX (pip install "training-aware-nas[tensorboard]"); '
            "without --tensorboard there are CSV files"
        ) from error
