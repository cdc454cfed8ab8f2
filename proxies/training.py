"""One short training of one network on images: what a proxy task does with a candidate."""

from collections.abc import Mapping

import torch
from torch import nn

from proxies.data.protocol import Split, Splits, StreamedSplit
from proxies.numerics import training_numerics
from proxies.protocols import Report
from proxies.recipe import TrainingRecipe
from proxies.training_run import TrainingRun
from search_spaces.architecture import Architecture
from search_spaces.network import Network, build


def seeded_build(
    arch: Architecture,
    num_classes: int,
    *,
    seed: int,
    dropout: float | None = None,
    drop_path: float | None = None,
    resolution: int | None = None,
) -> Network:
    """Build `arch` with weights that depend on `seed` alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, num_classes, dropout=dropout, drop_path=drop_path, resolution=resolution)


def train_classifier(
    network: nn.Module,
    splits: Splits,
    recipe: TrainingRecipe,
    *,
    seed: int,
    device: torch.device,
    report: Report,
) -> Mapping[str, float]:
    """Train in place, reporting after each epoch; returns the metrics below.

        accuracy          fraction of the validation images, 0 to 1
        validation_loss   mean cross entropy over them, without label smoothing
        train_loss        mean loss of the last epoch's batches, as optimised
        train_loss_sum    sum of `train_loss` over the epochs, a partial one by its part ("TSE": lower
                          sums go with better generalisation; Ru et al. 2021, arXiv:2006.04492)
        epochs            passes made over the training images, fractions included
        images_seen       images trained on

    Reports are accuracy, validation_loss and train_loss; but the last one they rest on the first
    `recipe.curve_images` validation images alone. A "stop" ends the training after that epoch.
    On a CPU the result depends on weights, splits, recipe, seed and torch's thread count, to the last bit.

    Raises:
        Diverged: a loss stopped being finite.
        ValueError: the network does not read the images' channels.
    """
    check_channels(network, splits.channels)
    with training_numerics(seed, recipe.precision, device):
        return _train(network, splits, recipe, seed=seed, device=device, report=report)


def _train(
    network: nn.Module,
    splits: Splits,
    recipe: TrainingRecipe,
    *,
    seed: int,
    device: torch.device,
    report: Report,
) -> Mapping[str, float]:
    run = TrainingRun(network, splits, recipe, seed=seed, device=device)
    curve = _head(splits.validation, recipe.curve_images)
    step, epoch, loss_sum, train_loss = 0, 0, 0.0, 0.0
    while True:
        steps = min(run.steps_per_epoch, run.total_steps - step)
        train_loss = run.train(steps)
        step, epoch = step + steps, epoch + 1
        loss_sum += train_loss * steps / run.steps_per_epoch
        is_last = step == run.total_steps
        accuracy, loss, _ = run.evaluate(splits.validation if is_last else curve)
        sent = {"accuracy": accuracy, "validation_loss": loss, "train_loss": train_loss}
        decision = report(epoch, sent)
        if is_last or decision == "stop":
            break
    if not is_last:
        accuracy, loss, _ = run.evaluate(splits.validation)
    return {
        "accuracy": accuracy,
        "validation_loss": loss,
        "train_loss": train_loss,
        "train_loss_sum": loss_sum,
        "epochs": step / run.steps_per_epoch,
        "images_seen": float(step * run.batch_size),
    }


def _head(split: Split | StreamedSplit, count: int) -> Split:
    assert isinstance(split, Split), "a proxy's images are in memory"
    return Split(images_NCHW=split.images_NCHW[:count], labels_N=split.labels_N[:count])


def check_channels(network: nn.Module, channels: int) -> None:
    """Refuse a network whose first convolution, static or dynamic, does not read the images' channels."""
    found = (getattr(module, "in_channels", None) for module in network.modules())
    reads = next((count for count in found if isinstance(count, int)), channels)
    if reads != channels:
        raise ValueError(
            f"the network reads {reads} channels and the images have {channels}; "
            f"set the data's channels or the architecture's input.channels"
        )
