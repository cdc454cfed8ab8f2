"""One short training of one network on images, and how it is built and judged."""

# Shapes: N images in a split, B batch, C channels, H height, W width, K classes.

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from proxies.data.protocol import Split, Splits
from proxies.protocols import Diverged, Report
from proxies.recipe import TrainingRecipe
from proxies.records import Precision
from search_spaces.architecture import Architecture
from search_spaces.network import Network, build

EVALUATION_BATCH = 250
STEPS_BETWEEN_CHECKS = 16
STATISTICS_IMAGES = 10_000
STATISTICS_CHUNK = 200


def seeded_build(
    arch: Architecture,
    num_classes: int,
    *,
    seed: int,
    dropout: float | None = None,
    drop_path: float | None = None,
) -> Network:
    """Build `arch` with weights that depend on `seed` alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, num_classes, dropout=dropout, drop_path=drop_path)


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
    _check_channels(network, splits.channels)
    with _own_randomness(seed, device), _fp32_precision(recipe.precision, device):
        return _train(network, splits, recipe, seed=seed, device=device, report=report)


def evaluate(
    network: nn.Module,
    split: Split,
    recipe: TrainingRecipe,
    *,
    standard: "Standardisation",
    device: torch.device,
) -> tuple[float, float]:
    """Accuracy (0 to 1) and mean cross entropy over a split; `standard` is the training split's."""
    feed = Feed(split, standard=standard, recipe=recipe, device=device)
    network.eval()
    correct = torch.zeros((), dtype=torch.float64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    with torch.no_grad(), _autocast(recipe.precision, device):
        for start in range(0, len(feed), EVALUATION_BATCH):
            x_BCHW, y_B = feed.batch(torch.arange(start, min(start + EVALUATION_BATCH, len(feed))))
            logits_BK = network(x_BCHW).float()
            loss += functional.cross_entropy(logits_BK, y_B, reduction="sum")
            correct += (logits_BK.argmax(1) == y_B).sum()
    return float(correct) / len(feed), float(loss) / len(feed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardisation:
    """Mean and deviation by channel (1, C, 1, 1) that uint8 images are standardised with."""

    mean_1C11: Tensor
    std_1C11: Tensor

    @staticmethod
    def of(split: Split) -> "Standardisation":
        """Statistics of at most 10,000 images, evenly spread over the split; the identity for floats."""
        images_NCHW = split.images_NCHW
        if images_NCHW.dtype != np.uint8:
            return Standardisation(mean_1C11=torch.zeros(1, 1, 1, 1), std_1C11=torch.ones(1, 1, 1, 1))
        sample_NCHW = images_NCHW[:: -(-len(images_NCHW) // STATISTICS_IMAGES)]
        total_C = np.zeros(images_NCHW.shape[1])
        squares_C = np.zeros(images_NCHW.shape[1])
        for start in range(0, len(sample_NCHW), STATISTICS_CHUNK):
            chunk_NCHW = sample_NCHW[start : start + STATISTICS_CHUNK].astype(np.float64)
            total_C += chunk_NCHW.sum((0, 2, 3))
            squares_C += np.square(chunk_NCHW).sum((0, 2, 3))
        count = sample_NCHW[:, 0].size
        mean_C = total_C / count
        std_C = np.sqrt(np.maximum(squares_C / count - mean_C**2, 1.0))
        return Standardisation(
            mean_1C11=torch.from_numpy(mean_C).float().reshape(1, -1, 1, 1),
            std_1C11=torch.from_numpy(std_C).float().reshape(1, -1, 1, 1),
        )


class Feed:
    """A split on the device, handed out in standardised batches.

    Images stay where they are read fastest: on the device, unless they would fill more than half of an
    accelerator's free memory; then batches are gathered on the host and copied.
    """

    def __init__(
        self, split: Split, *, standard: Standardisation, recipe: TrainingRecipe, device: torch.device
    ) -> None:
        images = torch.from_numpy(split.images_NCHW)
        self._home = device if _fits(images, device) else torch.device("cpu")
        self._images = images.to(self._home)
        self._labels = torch.from_numpy(split.labels_N).to(self._home)
        self._mean, self._std = standard.mean_1C11.to(device), standard.std_1C11.to(device)
        self._device = device
        self._memory_format = (
            torch.channels_last if recipe.memory_format == "channels_last" else torch.contiguous_format
        )

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, chosen_B: Tensor, augment: "Augmentation | None" = None) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) as float32 and labels (B,) of the chosen positions, on the device."""
        chosen_B = chosen_B.to(self._home)
        x_BCHW = self._images[chosen_B] if augment is None else augment(self._images, chosen_B)
        x_BCHW = x_BCHW.to(self._device, non_blocking=True).float()
        x_BCHW = ((x_BCHW - self._mean) / self._std).contiguous(memory_format=self._memory_format)
        return x_BCHW, self._labels[chosen_B].to(self._device, non_blocking=True)


class Augmentation:
    """Random mirror images and shifts, drawn from a generator of its own; edges are repeated."""

    def __init__(self, recipe: TrainingRecipe, generator: torch.Generator) -> None:
        self._flip, self._shift = recipe.flip, recipe.shift
        self._generator = generator

    def __call__(self, images_NCHW: Tensor, chosen_B: Tensor) -> Tensor:
        """Gather the chosen images, each moved and mirrored by itself: (B, C, H, W)."""
        height, width = images_NCHW.shape[2:]
        row_BH = self._positions(height, len(chosen_B))
        column_BW = self._positions(width, len(chosen_B))
        if self._flip:
            mirrored_B1 = torch.rand(len(chosen_B), 1, generator=self._generator) < 0.5
            column_BW = torch.where(mirrored_B1, column_BW.flip(1), column_BW)
        row_BH, column_BW = row_BH.to(images_NCHW.device), column_BW.to(images_NCHW.device)
        x_BHWC = images_NCHW.permute(0, 2, 3, 1)[
            chosen_B[:, None, None], row_BH[:, :, None], column_BW[:, None, :]
        ]
        return x_BHWC.permute(0, 3, 1, 2)

    def _positions(self, side: int, count: int) -> Tensor:
        reach = int(side * self._shift)
        offset_B1 = torch.randint(-reach, reach + 1, (count, 1), generator=self._generator)
        return (torch.arange(side) + offset_B1).clamp_(0, side - 1)


def _train(
    network: nn.Module,
    splits: Splits,
    recipe: TrainingRecipe,
    *,
    seed: int,
    device: torch.device,
    report: Report,
) -> Mapping[str, float]:
    run = _Run(network, splits, recipe, seed=seed, device=device)
    curve = _head(splits.validation, recipe.curve_images)
    step, epoch, loss_sum, train_loss = 0, 0, 0.0, 0.0
    while True:
        steps = min(run.steps_per_epoch, run.total_steps - step)
        train_loss = run.train(steps)
        step, epoch = step + steps, epoch + 1
        loss_sum += train_loss * steps / run.steps_per_epoch
        is_last = step == run.total_steps
        accuracy, loss = run.evaluate(splits.validation if is_last else curve)
        sent = {"accuracy": accuracy, "validation_loss": loss, "train_loss": train_loss}
        decision = report(epoch, sent)
        if is_last or decision == "stop":
            break
    if not is_last:
        accuracy, loss = run.evaluate(splits.validation)
    return {
        "accuracy": accuracy,
        "validation_loss": loss,
        "train_loss": train_loss,
        "train_loss_sum": loss_sum,
        "epochs": step / run.steps_per_epoch,
        "images_seen": float(step * run.batch_size),
    }


class _Run:
    """The state of one training."""

    def __init__(
        self,
        network: nn.Module,
        splits: Splits,
        recipe: TrainingRecipe,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        count = len(splits.train)
        self.total_steps = recipe.total_steps(count)
        self.steps_per_epoch = recipe.steps_per_epoch(count)
        self.batch_size = min(recipe.batch_size, count)
        self._recipe, self._device = recipe, device
        memory_format = (
            torch.channels_last if recipe.memory_format == "channels_last" else torch.contiguous_format
        )
        self._network = network.to(device, memory_format=memory_format)  # type: ignore[call-overload]
        self._standard = Standardisation.of(splits.train)
        self._feed = Feed(splits.train, standard=self._standard, recipe=recipe, device=device)
        self._generator = torch.Generator().manual_seed(seed)
        self._augment = Augmentation(recipe, self._generator) if recipe.flip or recipe.shift else None
        self._optimizer = make_optimizer(network, recipe)
        self._schedule = LambdaLR(
            self._optimizer, lambda step: recipe.learning_rate_factor(step, self.total_steps)
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self._step = 0

    def train(self, steps: int) -> float:
        """Make `steps` steps over freshly shuffled images; returns their mean loss."""
        self._network.train()
        order_N = torch.randperm(len(self._feed), generator=self._generator)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for index in range(steps):
            chosen_B = order_N[index * self.batch_size : (index + 1) * self.batch_size]
            total += self._train_step(*self._feed.batch(chosen_B, self._augment))
            self._step += 1
            if self._step % STEPS_BETWEEN_CHECKS == 0:
                self._require_finite(float(total), "training loss")
        self._require_finite(float(total), "training loss")
        return float(total) / steps

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Accuracy and loss of the network as it is."""
        accuracy, loss = evaluate(
            self._network, split, self._recipe, standard=self._standard, device=self._device
        )
        self._require_finite(loss, "validation loss")
        return accuracy, loss

    def _train_step(self, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
        with _autocast(self._recipe.precision, self._device):
            logits_BK = self._network(x_BCHW)
            loss = functional.cross_entropy(
                logits_BK.float(), y_B, label_smoothing=self._recipe.label_smoothing
            )
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        return loss.detach()

    def _require_finite(self, value: float, what: str) -> None:
        if not (-float("inf") < value < float("inf")):
            raise Diverged(
                f"the {what} was {value} at step {self._step} of {self.total_steps}; "
                f"lower the learning rate ({self._recipe.learning_rate:g}) or raise the precision"
            )


def make_optimizer(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, its weight decay on tensors of two or more dimensions only (kernels)."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups, lr=recipe.learning_rate, alpha=0.9, eps=1e-3, momentum=recipe.momentum
        )
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def _head(split: Split, count: int) -> Split:
    return Split(images_NCHW=split.images_NCHW[:count], labels_N=split.labels_N[:count])


def _check_channels(network: nn.Module, channels: int) -> None:
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and first.in_channels != channels:
        raise ValueError(
            f"the network reads {first.in_channels} channels and the images have {channels}; "
            f"set the data's channels or the architecture's input.channels"
        )


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() * images.element_size() <= free // 2


def _autocast(precision: Precision, device: torch.device) -> torch.autocast:
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision in ("bf16", "fp16"))


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed dropout and stochastic depth, and put torch's global generators back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def _fp32_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """TF32 exactly when asked for: left alone, cuDNN would use it for every fp32 convolution."""
    if device.type != "cuda":
        yield
        return
    switches = [torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv")]  # noqa: B009
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for switch, old in zip(switches, before, strict=True):
            switch.fp32_precision = old
