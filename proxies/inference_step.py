"""One forward pass on resident synthetic data, in torch: the platform-aware measure of a network."""

# Shapes: B batch, C channels, H height, W width, K classes.

import torch
from torch import nn

from proxies.protocols import Diverged
from proxies.records import TimingSettings
from proxies.training_step import autocast, captured, compiled, placed, synthetic_images


class InferenceStep:
    """A forward pass in evaluation mode without gradients; calling it queues one."""

    def __init__(
        self,
        network: nn.Module,
        settings: TimingSettings,
        *,
        device: torch.device,
        channels: int = 3,
        seed: int = 0,
    ) -> None:
        self._images_BCHW = synthetic_images(
            settings, device=device, channels=channels, generator=torch.Generator().manual_seed(seed)
        )
        self._network = compiled(placed(network, settings, device=device).eval(), settings.compile)
        self._is_captured = settings.compile == "cuda-graph"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._autocast = autocast(settings, device=device)
        self._logits_BK: torch.Tensor | None = None

    def __call__(self) -> None:
        """Queue one pass; nothing waits for the device. What is to be captured is so in the first."""
        if not self._is_captured:
            self._run()
            return
        if self._graph is None:
            self._graph = captured(self._run)
        self._graph.replay()

    def _run(self) -> None:
        with torch.inference_mode(), self._autocast:
            self._logits_BK = self._network(self._images_BCHW)

    def check_finite(self) -> None:
        """Wait for the last pass.

        Raises:
            Diverged: an output is not a finite number.
        """
        if self._logits_BK is not None and not bool(torch.isfinite(self._logits_BK).all()):
            raise Diverged("an output of a timed forward pass is not finite")
