"""What a running search tells whoever is watching."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """How far a search is. `hypervolume` is against the worst seen so far, so it is only an indication.

    `is_ending`: the user has asked to end, and what is running is let finish. `is_estimated`: step times are
    estimates, and so is the hypervolume.
    """

    evaluated: int
    total: int
    failed: int
    front_size: int
    hypervolume: float | None
    elapsed_seconds: float
    eta_seconds: float | None
    is_ending: bool = False
    is_estimated: bool = False


class Progress(Protocol):
    """Something that shows progress."""

    def update(self, event: ProgressEvent) -> None:
        """Called after each candidate that is settled."""


class Silent:
    """Shows nothing."""

    def update(self, event: ProgressEvent) -> None:
        """Nothing is shown."""
