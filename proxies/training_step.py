"""One full training step on resident synthetic data: the thing that is timed."""

# Shapes: B batch, C channels, H height, W width.

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from proxies.protocols import Diverged
from proxies.records import CompileMode, TimingSettings

LEARNING_RATE = 1e-5
"""So small that the weights hardly move: every step computes with the same magnitudes, and neither overflow
nor denormal numbers change its speed. The work of a step does not depend on it."""
MOMENTUM = 0.9
OPTIMIZER = "SGD, momentum 0.9"
RUNS_BEFORE_CAPTURE = 3
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
        self._images_BCHW = synthetic_images(settings, device=device, channels=channels, generator=generator)
        labels_B = torch.randint(settings.num_classes, (settings.batch_size,), generator=generator)
        self._labels_B = labels_B.to(device)
        network = placed(network, settings, device=device).train()
        self._optimizer = torch.optim.SGD(
            network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=settings.fused_optimizer
        )
        self._network = compiled(network, settings.compile)
        self._is_captured = settings.compile == "cuda-graph"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._autocast = autocast(settings, device=device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self._loss: torch.Tensor | None = None

    def __call__(self) -> None:
        """Queue one step; nothing waits for the device. What is to be captured is so in the first step."""
        if not self._is_captured:
            self._run()
            return
        if self._graph is None:
            self._graph = captured(self._run)
        self._graph.replay()

    def _run(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            loss = cross_entropy(self._network(self._images_BCHW), self._labels_B)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._loss = loss.detach()

    @property
    def loss(self) -> float | None:
        """The loss of the last step, once it is done; None before the first."""
        return None if self._loss is None else float(self._loss)

    def momentum(self) -> torch.Tensor:
        """What the optimizer has gathered of the gradients, as one vector; empty before a step."""
        buffers = (each.get("momentum_buffer") for each in self._optimizer.state.values())
        parts = [buffer.detach().flatten() for buffer in buffers if buffer is not None]
        return torch.cat(parts) if parts else torch.empty(0)

    def check_finite(self) -> None:
        """Wait for the last step.

        Raises:
            Diverged: its loss is not a finite number.
        """
        loss = self.loss or 0.0
        if not math.isfinite(loss):
            raise Diverged(f"the loss of a timed training step is {loss}")


def layout_of(settings: TimingSettings) -> torch.memory_format:
    """The memory format of images and weights."""
    return torch.channels_last if settings.memory_format == "channels_last" else torch.contiguous_format


def synthetic_images(
    settings: TimingSettings, *, device: torch.device, channels: int, generator: torch.Generator
) -> torch.Tensor:
    """A batch of noise on the device, in the layout of the settings."""
    size = settings.resolution
    images_BCHW = torch.randn(settings.batch_size, channels, size, size, generator=generator)
    return images_BCHW.to(device).contiguous(memory_format=layout_of(settings))


def placed(network: nn.Module, settings: TimingSettings, *, device: torch.device) -> nn.Module:
    """The network on the device, its weights in the layout of the settings."""
    network = network.to(device)
    network.to(memory_format=layout_of(settings))  # type: ignore[call-overload]
    return network


def autocast(settings: TimingSettings, *, device: torch.device) -> torch.autocast:
    """Mixed precision where the settings ask for it."""
    return torch.autocast(
        device.type,
        dtype=AUTOCAST.get(settings.precision, torch.bfloat16),
        enabled=settings.precision in AUTOCAST,
    )


def captured(run: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """A step as one CUDA graph.

    It runs a few times before, on a stream of its own, as capturing demands: what is done only once
    (autotuning, the optimizer's state) must not become part of the graph.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(RUNS_BEFORE_CAPTURE):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def compiled(network: nn.Module, mode: CompileMode) -> nn.Module:
    """The network as it is, or under `torch.compile`; the compilation happens in the first step."""
    if mode in {"none", "cuda-graph"}:
        return network
    return torch.compile(network, mode=None if mode == "default" else mode)  # type: ignore[return-value]
