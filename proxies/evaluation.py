"""How good a network is on images."""

# Shapes: B batch, C channels, H height, W width, K classes.

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from proxies.data.protocol import Split, StreamedSplit
from proxies.feed import Standardisation, View
from proxies.numerics import autocast
from proxies.recipe import TrainingRecipe
from proxies.streamed_feed import make_feed

EVALUATION_BATCH = 250


class Evaluation(NamedTuple):
    """Accuracy (0 to 1), mean cross entropy, and how often the class is among the five likeliest (0 to 1)."""

    accuracy: float
    loss: float
    top5: float


def evaluate(
    network: nn.Module,
    split: Split | StreamedSplit,
    recipe: TrainingRecipe,
    *,
    standard: Standardisation,
    device: torch.device,
    resolution: int | None = None,
) -> Evaluation:
    """How good a network is on a split seen at `resolution`; `standard` is the training split's."""
    feed = make_feed(split, standard=standard, recipe=recipe, device=device)
    view = View(resolution=resolution) if resolution not in (None, split.image_shape[-1]) else None
    network.eval()
    correct, among = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
    loss = torch.zeros((), dtype=torch.float64, device=device)
    with torch.no_grad(), autocast(recipe.precision, device):
        batches = torch.arange(len(feed)).split(EVALUATION_BATCH)  # type: ignore[no-untyped-call]
        feed.announce(batches)
        for chosen_B in batches:
            x_BCHW, y_B = feed.batch(chosen_B, None, view)
            logits_BK = network(x_BCHW).float()
            loss += functional.cross_entropy(logits_BK, y_B, reduction="sum")
            correct += (logits_BK.argmax(1) == y_B).sum()
            likely_B5 = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
            among += (likely_B5 == y_B[:, None]).any(1).sum()
    count = len(feed)
    return Evaluation(accuracy=float(correct) / count, loss=float(loss) / count, top5=float(among) / count)
