"""A network that was grown in one direction: exact costs, and what was measured of it. No torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from search_spaces.architecture import Architecture, cost

COSTS = ("params", "macs", "activation_bytes")

Timer = Callable[[Sequence[Architecture]], Sequence[float | None]]
"""Step times of networks in milliseconds; None: it could not be measured."""
Judge = Callable[[Architecture], float]
"""Accuracy of a network after a short training, 0 to 1."""


class Identity(NamedTuple):
    """What tells two grown networks apart: image sizes are no part of a digest, and they grow too."""

    digest: str
    train_resolution: int | None
    eval_resolution: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A network grown in one direction: exact costs, and what was measured of it (None: nothing was)."""

    direction: str
    phi: float
    arch: Architecture
    costs: Mapping[str, float]
    step_ms: float | None = None
    accuracy: float | None = None

    @property
    def identity(self) -> Identity:
        """The network and its image sizes."""
        recipe = self.arch.recipe
        return Identity(self.arch.digest, recipe.train_resolution, self.arch.eval_resolution)


def grown(direction: str, phi: float, arch: Architecture, num_classes: int) -> Grown:
    """With its costs at its evaluation resolution."""
    found = cost(arch, arch.eval_resolution, num_classes)
    costs = {name: float(getattr(found, name)) for name in COSTS}
    return Grown(direction=direction, phi=phi, arch=arch, costs=costs)
