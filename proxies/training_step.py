"""One full training step on resident synthetic data: the thing that is timed."""

# Shapes: B batch, C channels, H height, W width.

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from proxies.protocols import Diverged
from proxies.records import TimingSettings

LEARNING_RATE = 1e-5
"""So small that the weights hardly move: every step computes with the same magnitudes, and neither overflow
nor denormal numbers change its speed. The work of a step does not depend on it."""
MOMENTUM = 0.9
OPTIMIZER = "SGD, momentum 0.9"
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingStep:
    """zero_grad, forward, cross-entropy, backward, optimizer step; calling it queues one such step.

    Images and labels are made once and stay on the device, so no data loading is in the step. Mixed precision
    is autocast; fp16 scales its loss, as a training in it must.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TimingSettings,
        *,
        device: torch.device,
        channels: int = 3,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = settings.resolution
        images_BCHW = torch.randn(settings.batch_size, channels, size, size, generator=generator)
        labels_B = torch.randint(settings.num_classes, (settings.batch_size,), generator=generator)
        channels_last = settings.memory_format == "channels_last"
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self._images_BCHW = images_BCHW.to(device).contiguous(memory_format=layout)
        self._labels_B = labels_B.to(device)
        network = network.to(device)
        network.to(memory_format=layout)  # type: ignore[call-overload]
        network.train()
        self._optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        self._network = network if settings.compile == "none" else _compiled(network, settings.compile)
        self._autocast = torch.autocast(
            device.type,
            dtype=AUTOCAST.get(settings.precision, torch.bfloat16),
            enabled=settings.precision in AUTOCAST,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self._loss: torch.Tensor | None = None

    def __call__(self) -> None:
        """Queue one step; nothing waits for the device."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            loss = cross_entropy(self._network(self._images_BCHW), self._labels_B)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._loss = loss.detach()

    def check_finite(self) -> None:
        """Wait for the last step.

        Raises:
            Diverged: its loss is not a finite number.
        """
        loss = float(self._loss) if self._loss is not None else 0.0
        if not math.isfinite(loss):
            raise Diverged(f"the loss of a timed training step is {loss}")


def _compiled(network: nn.Module, mode: str) -> nn.Module:
    """The network under `torch.compile`; the compilation happens in the first step."""
    return torch.compile(network, mode=None if mode == "default" else mode)  # type: ignore[return-value]
