"""The seams of a candidate's training: what a task is, and how it reports."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from proxies.records import Decision
from search_spaces.architecture import Architecture


class Report(Protocol):
    """How a running training tells its interim metrics, and learns whether to go on."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """Send finite `metrics` reached after `step` (epochs or steps, counted from 1).

        Returns "stop" when the training should end now with what it has.
        """


class Task(Protocol):
    """What a candidate is trained on. Users bring their own data, loss and metrics by implementing this.

    A task is a small picklable value; it loads its data when it first trains and may keep it.
    """

    @property
    def num_classes(self) -> int:
        """Outputs of the network's classifier."""

    def fingerprint(self) -> str:
        """Identifies everything that changes the result: data, recipe, resolution, precision, versions.

        Trainings with equal fingerprint, architecture and seed are never repeated. Needs no torch device.
        """

    def train(
        self, network: nn.Module, report: Report, *, seed: int, device: torch.device
    ) -> Mapping[str, float]:
        """Train `network` (built, on the CPU) on `device` and return finite metrics, accuracy among them.

        The search never sees test data. On a CPU the result is a function of network, task and seed.

        Raises:
            Diverged: the loss or a metric stopped being finite.
        """


@runtime_checkable
class ReducingTask(Protocol):
    """A task that trains a smaller network in place of each candidate."""

    def reduce(self, arch: Architecture) -> Architecture:
        """The network to build and train; the candidate's costs and step time are not touched by it."""


class Diverged(Exception):  # noqa: N818 -- it names the status
    """Training left the finite numbers."""
