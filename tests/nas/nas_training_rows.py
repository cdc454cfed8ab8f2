"""What of a training's log does not depend on the clock."""

from pathlib import Path

from nas.training.directory import read_rows


def loss_curve(path: Path) -> list[tuple[int, int, str, str]]:
    """(step, image size, learning rate, loss), the numbers as they are written: to the last bit."""
    return [
        (int(row["step"]), int(row["resolution"]), row["learning_rate"], row["loss"])
        for row in read_rows(path / "steps.csv")
    ]
