"""The state of one training, a proxy's or a full one: made, stepped, judged, saved and restored."""

# Shapes: N images in a split, B batch, C channels, H height, W width, K classes.

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxies.augment import Mixed, mix, step_generator
from proxies.data.protocol import Split, Splits, StreamedSplit
from proxies.evaluation import Evaluation, evaluate
from proxies.feed import Augmentation, Standardisation, View
from proxies.numerics import autocast, memory_format
from proxies.optimizers import averaged, make_optimizer
from proxies.progressive import StageSettings
from proxies.protocols import Diverged
from proxies.recipe import TrainingRecipe
from proxies.streamed_feed import Loading, StreamedFeed, make_feed

STEPS_BETWEEN_CHECKS = 16
STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """One worker of several that train one network together, each on its part of every batch.

    `wrap` makes the module whose backward pass averages gradients over the workers. `mean` averages a tensor
    over them, in place; `gather` gives every worker's, in order. All workers call both at the same places.
    """

    rank: int
    size: int
    wrap: Callable[[nn.Module], nn.Module]
    mean: Callable[[Tensor], Tensor]
    gather: Callable[[Tensor], list[Tensor]]


class TrainingState(NamedTuple):
    """All that a training needs to go on to the last bit, as tensors and as JSON."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class TrainingRun:
    """One network in training. Make it, and use it, within `numerics.training_numerics`.

    `resolution`: pixels at which it is evaluated; default: the images as they are. `train_resolution`: at
    which it is trained where no progressive schedule says otherwise; default: the same. `compiled`: through
    torch.compile, anew for every image size.

    With `parallel` this is one of several workers that make each step together. Batch norm sees one part of a
    worker at a time; its running statistics are averaged over the workers at the end of each `train`, so
    that what is judged and saved is the same in all.
    """

    def __init__(
        self,
        network: nn.Module,
        splits: Splits,
        recipe: TrainingRecipe,
        *,
        seed: int,
        device: torch.device,
        resolution: int | None = None,
        train_resolution: int | None = None,
        compiled: bool = False,
        parallel: Parallel | None = None,
    ) -> None:
        self._count = len(splits.train)
        self.total_steps = recipe.total_steps(self._count)
        self.steps_per_epoch = recipe.steps_per_epoch(self._count)
        self.batch_size = min(recipe.batch_size, self._count)
        self.step = 0
        self._recipe, self._device, self._seed = recipe, device, seed
        self._resolution = resolution or splits.resolution
        self._train_resolution = train_resolution or self._resolution
        self._parallel = parallel
        self.network = network.to(device, memory_format=memory_format(recipe))  # type: ignore[call-overload]
        self._forward: Any = self.network if parallel is None else parallel.wrap(self.network)
        if compiled:
            self._forward = torch.compile(self._forward)
        self._ema = averaged(self.network, recipe.ema) if recipe.ema is not None else None
        self.standard = Standardisation.of(splits.train)
        self._is_announced = False
        self._feed = make_feed(splits.train, standard=self.standard, recipe=recipe, device=device)
        self._generator = torch.Generator().manual_seed(seed)
        self._augment = Augmentation(recipe, self._generator) if recipe.flip or recipe.shift else None
        self._optimizer = make_optimizer(self.network, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self._position = 0
        self._epoch_state = self._generator.get_state()
        self._order_N = torch.empty(0, dtype=torch.int64)
        self._has_own_size = recipe.progressive is not None or self._train_resolution != splits.resolution
        _check_distortions(recipe, splits)

    @property
    def stage(self) -> int:
        """The progressive stage of the next step, counted from 0."""
        return self._recipe.stage(self.step, self._count)

    @property
    def settings(self) -> StageSettings:
        """What holds at the next step."""
        return self._recipe.stage_settings(self.stage, self._train_resolution)

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        factor = self._recipe.learning_rate_factor(
            self.step, self.total_steps, steps_per_epoch=self.steps_per_epoch
        )
        return self._recipe.learning_rate * factor

    @property
    def evaluated(self) -> nn.Module:
        """The network that is judged and kept: the averaged one where the recipe averages."""
        return self._ema.module if self._ema is not None else self.network

    def train(self, steps: int) -> float:
        """Make `steps` steps, over freshly shuffled images in each epoch; returns their mean loss.

        Raises:
            Diverged: the loss stopped being finite.
        """
        self.network.train()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for _ in range(steps):
            if self._position == 0:
                self._epoch_state = self._generator.get_state()
                self._order_N = torch.randperm(self._count, generator=self._generator)
                self._is_announced = False
            if not self._is_announced:
                self._announce()
            start = self._position * self.batch_size
            total += self._train_step(self._order_N[start : start + self.batch_size])
            self.step += 1
            self._position = (self._position + 1) % self.steps_per_epoch
            if self.step % STEPS_BETWEEN_CHECKS == 0:
                self._require_finite(self._everyones(total), "training loss")
        loss = self._everyones(total)
        self._require_finite(loss, "training loss")
        self._share_statistics()
        return loss / steps

    @property
    def loading(self) -> Loading | None:
        """How the loading of training images has gone; None where they are in memory."""
        return self._feed.loading if isinstance(self._feed, StreamedFeed) else None

    def evaluate(self, split: Split | StreamedSplit) -> Evaluation:
        """How good the network is now, on a split.

        Raises:
            Diverged: the loss is not finite.
        """
        found = evaluate(
            self.evaluated,
            split,
            self._recipe,
            standard=self.standard,
            device=self._device,
            resolution=self._resolution,
        )
        self._require_finite(found.loss, "validation loss")
        return found

    def state(self) -> TrainingState:
        """Everything, between two steps."""
        tensors = {f"network.{key}": value for key, value in self.network.state_dict().items()}
        if self._ema is not None:
            tensors |= {f"ema.{key}": value for key, value in self._ema.module.state_dict().items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
        tensors |= self._random("torch", torch.get_rng_state())
        if self._device.type == "cuda":
            tensors |= self._random("cuda", torch.cuda.get_rng_state(self._device))
        tensors["random.order"] = self._generator.get_state()
        tensors["random.epoch"] = self._epoch_state
        values = {
            "step": self.step,
            "position": self._position,
            "ema_updates": int(self._ema.n_averaged) if self._ema is not None else None,
            "scaler": self._scaler.state_dict(),
        }
        return TrainingState(tensors, values)

    def load_state(self, state: TrainingState) -> None:
        """Go on from `state`, which a run of the same network, data and recipe gave.

        Raises:
            KeyError, RuntimeError: it is another's.
        """
        tensors, values = state
        self.network.load_state_dict(_under("network.", tensors))
        if self._ema is not None:
            self._ema.module.load_state_dict(_under("ema.", tensors))
            self._ema.n_averaged.fill_(values["ema_updates"])
        self._load_optimizer(_under("optimizer.", tensors))
        self._scaler.load_state_dict(values["scaler"])
        mine = "" if self._parallel is None or self._parallel.rank == 0 else f".{self._parallel.rank}"
        torch.set_rng_state(tensors[f"random.torch{mine}"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors[f"random.cuda{mine}"], self._device)
        self._epoch_state = tensors["random.epoch"]
        self._generator.set_state(self._epoch_state)
        self._order_N = torch.randperm(self._count, generator=self._generator)
        self._generator.set_state(tensors["random.order"])
        self.step, self._position = values["step"], values["position"]
        self._is_announced = False

    def _announce(self) -> None:
        """Tell the feed which images come next, to the end of the epoch or of the training."""
        left = min(self.steps_per_epoch - self._position, self.total_steps - self.step)
        batches = []
        for position in range(self._position, self._position + left):
            start = position * self.batch_size
            parts, mine = self._parts(self._order_N[start : start + self.batch_size])
            batches += [parts[number] for number in mine]
        self._feed.announce(batches)
        self._is_announced = True

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # In the layout that the parameter has, as the optimiser itself would have made it.
            kept = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            states.setdefault(int(index), {})[key] = kept.detach().copy_(value)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})

    def _train_step(self, chosen_B: Tensor) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        settings = self.settings
        self._set_dropout(settings.dropout)
        self._optimizer.zero_grad(set_to_none=True)
        parts, mine = self._parts(chosen_B)
        losses = []
        for number, part_B in enumerate(parts):
            if number in mine:
                is_last = number == mine[-1]
                losses.append(self._backward(part_B, settings, number, 1.0 / len(mine), is_last=is_last))
            elif self._augment is not None:
                # The draws of another worker's part: each image is moved as if one worker did all.
                self._feed.skip(len(part_B), self._augment)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update_parameters(self.network)
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _set_dropout(self, rate: float | None) -> None:
        dropout = getattr(self.network, "dropout", None)
        if rate is not None and isinstance(dropout, nn.Dropout):
            dropout.p = rate

    def _parts(self, chosen_B: Tensor) -> tuple[list[Tensor], range]:
        """The equal parts of the batch, and the numbers of this worker's."""
        each, size, rank = self._recipe.accumulate, 1, 0
        if self._parallel is not None:
            size, rank = self._parallel.size, self._parallel.rank
        return list(chosen_B.tensor_split(each * size)), range(rank * each, (rank + 1) * each)

    def _everyones(self, total: Tensor) -> float:
        """A sum of losses as the mean over the workers, so that all go on, or none."""
        return float(total if self._parallel is None else self._parallel.mean(total.clone()))

    def _share_statistics(self) -> None:
        """Running means and variances of batch norm, averaged over the workers in one message."""
        if self._parallel is None:
            return
        modules = [self.network] if self._ema is None else [self.network, self._ema.module]
        found = [
            buffer
            for module in modules
            for name, buffer in module.named_buffers()
            if name.endswith(STATISTICS)
        ]
        if not found:
            return
        shared = self._parallel.mean(torch.cat([buffer.flatten() for buffer in found]))
        for buffer, mean in zip(
            found, torch.split(shared, [buffer.numel() for buffer in found]), strict=True
        ):
            buffer.copy_(mean.view_as(buffer))

    def _random(self, name: str, state: Tensor) -> dict[str, Tensor]:
        """The state of a generator, and the other workers' under their numbers."""
        if self._parallel is None:
            return {f"random.{name}": state}
        states = self._parallel.gather(state)
        return {f"random.{name}{f'.{rank}' if rank else ''}": each for rank, each in enumerate(states)}

    def _backward(
        self, part_B: Tensor, settings: StageSettings, number: int, share: float, *, is_last: bool
    ) -> Tensor:
        """One part forward and backward; its loss."""
        mixed, is_mixed = self._mixed(part_B, settings, number)
        waits = nullcontext() if is_last or self._parallel is None else self._forward.no_sync()
        with waits:
            with autocast(self._recipe.precision, self._device):
                logits_BK = self._forward(mixed.x_BCHW)
                loss = self._loss(logits_BK.float(), mixed, is_mixed=is_mixed)
            scaled = loss if share == 1.0 else loss * share
            self._scaler.scale(scaled).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _mixed(self, part_B: Tensor, settings: StageSettings, number: int) -> tuple[Mixed, bool]:
        recipe, view, rng = self._recipe, None, None
        mixup, cutmix = settings.mixup or 0.0, settings.cutmix or 0.0
        magnitude = settings.randaugment or 0.0
        if self._has_own_size or magnitude or mixup or cutmix or recipe.crop_area is not None:
            rng = step_generator(self._seed, self.step, number)
            view = View(
                resolution=settings.resolution, crop_area=recipe.crop_area, randaugment=magnitude, rng=rng
            )
        x_BCHW, y_B = self._feed.batch(part_B, self._augment, view)
        if rng is None or not (mixup or cutmix):
            return Mixed(x_BCHW, y_B, y_B, y_B), False
        return mix(x_BCHW, y_B, mixup=mixup, cutmix=cutmix, rng=rng), True

    def _loss(self, logits_BK: Tensor, mixed: Mixed, *, is_mixed: bool) -> Tensor:
        smoothing = self._recipe.label_smoothing
        if not is_mixed:
            return functional.cross_entropy(logits_BK, mixed.y_B, label_smoothing=smoothing)
        own_B, other_B = (
            functional.cross_entropy(logits_BK, y_B, label_smoothing=smoothing, reduction="none")
            for y_B in (mixed.y_B, mixed.other_B)
        )
        return torch.lerp(other_B, own_B, mixed.weight_B).mean()

    def _require_finite(self, value: float, what: str) -> None:
        if not (-float("inf") < value < float("inf")):
            raise Diverged(
                f"the {what} was {value} at step {self.step} of {self.total_steps}; "
                f"lower the learning rate ({self._recipe.learning_rate:g}) or raise the precision"
            )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _check_distortions(recipe: TrainingRecipe, splits: Splits) -> None:
    rises = recipe.progressive.randaugment if recipe.progressive is not None else None
    distorts = rises.end > 0.0 if rises is not None else recipe.randaugment > 0.0
    if distorts and not splits.train.is_whole_numbers:
        raise ValueError(
            "randaugment needs images of whole numbers from 0 to 255 and the data has fractions; set it to 0"
        )
