"""A task of your own: tell by how many quarter turns a digit was rotated. No labels are needed.

It has its own data, loss and metrics; a search can use any metric that it returns as an objective:

    import nas
    from rotation_task import RotationTask

    nas.search(space="tiny", hardware="cpu", candidates=12, task=RotationTask(),
               objectives=("accuracy", "step_ms", "overconfidence:min"))

It becomes `--proxy rotation` through an entry point of your distribution, loaded with `--allow-plugins`:

    [project.entry-points."nas.tasks"]
    rotation = "rotation_task:RotationTask"

Source of the task: Gidaris et al. 2018, arXiv:1803.07728.
"""

# Shapes: N images, B batch, C channels, H height, W width, K turns.

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxies.data.digits import Digits
from proxies.protocols import Diverged, Report

NUM_TURNS = 4


@dataclass(frozen=True)
class RotationTask:
    """Predict the rotation; 0s, 1s and 8s, which look alike both ways up, keep it from being perfect."""

    epochs: int = 2
    batch_size: int = 64
    learning_rate: float = 0.01

    @property
    def num_classes(self) -> int:
        """No turn, a quarter, a half, three quarters."""
        return NUM_TURNS

    def fingerprint(self) -> str:
        """All that decides a result: data, recipe, and a version to raise when this file changes it."""
        return f"rotation 1 {Digits().fingerprint()} {self.epochs} {self.batch_size} {self.learning_rate}"

    def train(
        self, network: nn.Module, report: Report, *, seed: int, device: torch.device
    ) -> Mapping[str, float]:
        """Accuracy, and by how much the network's mean confidence is above it."""
        train_NCHW, validation_NCHW = (images.to(device) for images in _images())
        network.to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate)
        generator = torch.Generator().manual_seed(seed)
        metrics: Mapping[str, float] = {}
        for epoch in range(1, self.epochs + 1):
            network.train()
            order_N = torch.randperm(len(train_NCHW), generator=generator)
            for start in range(0, len(order_N), self.batch_size):
                chosen_B = order_N[start : start + self.batch_size]
                turns_B = torch.randint(NUM_TURNS, chosen_B.shape, generator=generator).to(device)
                logits_BK = network(_turned(train_NCHW[chosen_B.to(device)], turns_B))
                loss = functional.cross_entropy(logits_BK, turns_B)
                if not torch.isfinite(loss):
                    raise Diverged(f"the loss was {loss.item()} in epoch {epoch}")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            metrics = _judge(network, validation_NCHW)
            if report(epoch, metrics) == "stop":
                break
        return metrics


def _judge(network: nn.Module, images_NCHW: Tensor) -> Mapping[str, float]:
    """Every image at every turn."""
    network.eval()
    correct, confidence = 0.0, 0.0
    with torch.no_grad():
        for turn in range(NUM_TURNS):
            turns_N = torch.full((len(images_NCHW),), turn, device=images_NCHW.device)
            probabilities_NK = network(_turned(images_NCHW, turns_N)).softmax(1)
            correct += (probabilities_NK.argmax(1) == turns_N).float().mean().item() / NUM_TURNS
            confidence += probabilities_NK.amax(1).mean().item() / NUM_TURNS
    return {"accuracy": correct, "overconfidence": confidence - correct}


def _turned(images_BCHW: Tensor, turns_B: Tensor) -> Tensor:
    turned_KBCHW = torch.stack([images_BCHW.rot90(turn, (2, 3)) for turn in range(NUM_TURNS)])
    return turned_KBCHW[turns_B, torch.arange(len(turns_B), device=turns_B.device)]


@lru_cache(maxsize=1)
def _images() -> tuple[Tensor, Tensor]:
    splits = Digits().load(resolution=16)
    train_NCHW, validation_NCHW = (
        torch.from_numpy(split.images_NCHW).float() / 127.5 - 1.0
        for split in (splits.train, splits.validation)
    )
    return train_NCHW, validation_NCHW
