"""What is timed, made as the settings say."""

from typing import Protocol

import torch
from torch import nn

from proxies.inference_step import InferenceStep
from proxies.records import TimingSettings
from proxies.training_step import OPTIMIZER, TrainingStep


class TimedStep(Protocol):
    """One unit of work on a device that can be run again and again."""

    def __call__(self) -> None:
        """Queue one; it need not have finished when this returns."""

    def check_finite(self) -> None:
        """Wait for the last one.

        Raises:
            Diverged: what it computed is not finite.
        """


def make_step(
    network: nn.Module, settings: TimingSettings, *, device: torch.device, channels: int = 3
) -> TimedStep:
    """The step that the settings name, with `network` in it.

    Raises:
        OnnxMissingError: it needs packages that are not installed.
    """
    if settings.work == "training":
        return TrainingStep(network, settings, device=device, channels=channels)
    if settings.work == "inference":
        return InferenceStep(network, settings, device=device, channels=channels)
    from proxies.onnx_step import OnnxStep  # loads an extra's packages

    return OnnxStep(network, settings, device=device, channels=channels)


def described(settings: TimingSettings) -> str:
    """What one step does, for the record."""
    if settings.work == "training":
        fused = ", fused" if settings.fused_optimizer else ""
        return f"forward, backward, {OPTIMIZER}{fused}"
    where = "torch, evaluation mode" if settings.work == "inference" else "ONNX Runtime, evaluation mode"
    return f"forward, {where}"
