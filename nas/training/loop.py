"""The loop of a full training: steps, judgements, checkpoints, in an order that a resumed one repeats."""

import logging
import signal
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.errors import NasError
from nas.interruption import Interruption
from nas.training.board import Board, NoBoard
from nas.training.checkpoints import Checkpoint, save_checkpoint
from nas.training.directory import TrainingDirectory
from nas.training.plan import TrainingPlan
from nas.training.progress import Clock, Pace, TrainingEvent, TrainingProgress
from nas.training.team import Share, Word
from nas.training.weights import save_weights
from proxies.data.protocol import Splits
from proxies.evaluation import Evaluation
from proxies.training_run import TrainingRun, TrainingState

logger = logging.getLogger(__name__)

LOADER_LIMITS = 0.2
"""Part of a training's time spent waiting for images, from which the loaders are said to limit it."""
LOG_STEPS = 10
"""Steps between two rows of steps.csv; only there, and at the end of an epoch, does anything else happen."""

JUDGED = ("epoch", "step", "train_loss", "validation_loss", "top1", "top5")
"""What is said of weights: nothing that depends on the clock, so equal trainings give equal files."""


class TrainingInterruptedError(NasError):
    """The training was asked to end by `signal`; everything up to here is kept and it can be resumed."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


@dataclass(slots=True, kw_only=True)
class TrainingLoop:
    """A training on its way. Use it within `numerics.training_numerics`.

    `checkpoint_seconds`: time between two checkpoints. Clocks decide only when something is saved, never
    what is computed, so a training that was resumed is, on a CPU, one that was never stopped. `share` tells
    the other workers, where there are any, what was decided.
    """

    plan: TrainingPlan
    splits: Splits
    run: TrainingRun
    directory: TrainingDirectory
    progress: TrainingProgress
    interruption: Interruption
    checkpoint_seconds: float
    clock: Clock = time.monotonic
    share: Share = lambda word: word
    class_names: Sequence[str] | None = None
    board: Board = field(default_factory=NoBoard)
    _pace: Pace = field(init=False)
    _history: list[dict[str, Any]] = field(default_factory=list)
    _best: dict[str, Any] | None = None
    _epoch_loss: float = 0.0
    _epoch_steps: int = 0
    _epoch_seconds: float = 0.0
    _seconds: float = 0.0
    _own_seconds: float = 0.0
    _is_warned: bool = False
    _loss: float = 0.0
    _saved_at: float = 0.0

    def __post_init__(self) -> None:
        self._pace = Pace(self._sides(), self.run.batch_size)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same training."""
        values = dict(checkpoint.values)
        loop = values.pop("loop")
        self.run.load_state(TrainingState(checkpoint.tensors, values))
        self._history, self._best = loop["history"], loop["best"]
        self._epoch_loss, self._epoch_steps = loop["epoch_loss"], loop["epoch_steps"]
        self._epoch_seconds, self._seconds = loop["epoch_seconds"], loop["seconds"]

    def run_to_end(self) -> dict[str, Any]:
        """Train; returns what result.json holds of validation.

        Raises:
            Diverged: the loss stopped being finite.
            RunWriteError: the disk is full.
            TrainingInterruptedError: it was asked to end, and has saved where it is.
        """
        run = self.run
        self.directory.begin_steps(run.step)
        self.directory.write_epochs(self._history)
        self._saved_at = self.clock()
        while run.step < run.total_steps:
            self._advance()
            is_judged = run.step % run.steps_per_epoch == 0 or run.step == run.total_steps
            if is_judged:
                self._judge()
            self.progress.update(self._event())
            word = self.share(self._decision())
            if word != Word.GO_ON:
                self._save()
            if word == Word.STOP:
                self._stop()
        self._save()
        last = {key: self._history[-1][key] for key in JUDGED}
        last["sha256"] = self._write_weights("last", last)
        found = {"best": self._best, "last": last, "train_seconds": self._seconds}
        return found if run.loading is None else {**found, "loading": self._loading()}

    def _decision(self) -> Word:
        if self.interruption.is_requested and self.run.step < self.run.total_steps:
            return Word.STOP
        is_due = self.clock() - self._saved_at >= self.checkpoint_seconds
        return Word.SAVE if is_due else Word.GO_ON

    def _advance(self) -> None:
        run = self.run
        first, settings, rate, stage = run.step, run.settings, run.learning_rate, run.stage
        steps = steps_ahead(run)
        started = self.clock()
        self._loss = run.train(steps)
        seconds = self.clock() - started
        self._pace.add(first, steps, seconds)
        self._epoch_loss += self._loss * steps
        self._epoch_steps += steps
        self._epoch_seconds += seconds
        self._seconds += seconds
        self._own_seconds += seconds
        row = {
            "step": run.step,
            "epoch": run.step / run.steps_per_epoch,
            "stage": stage,
            "resolution": settings.resolution,
            "learning_rate": rate,
            "loss": self._loss,
            "images_per_second": self._pace.images_per_second,
        }
        self.directory.add_steps(row)
        self.board.add_steps(row)

    def _judge(self) -> None:
        run = self.run
        found = run.evaluate(self.splits.validation)
        # The epoch's own settings: those of its last step.
        last = self._last_settings()
        images = self._epoch_steps * run.batch_size
        row = {
            "epoch": run.step / run.steps_per_epoch,
            "step": run.step,
            **last,
            "train_loss": self._epoch_loss / self._epoch_steps,
            **judgement(found),
            "images_per_second": images / self._epoch_seconds if self._epoch_seconds > 0.0 else None,
            "seconds": self._epoch_seconds,
        }
        self._epoch_loss, self._epoch_steps, self._epoch_seconds = 0.0, 0, 0.0
        self._warn_of_loading()
        self._history.append(row)
        self.board.add_epoch(row)
        if self._best is None or found.accuracy > self._best["top1"]:
            self._best = {key: row[key] for key in JUDGED}
            self._best["sha256"] = self._write_weights("best", self._best)
        self.directory.write_epochs(self._history)

    def _loading(self) -> dict[str, Any]:
        """What the loaders can deliver against what the network takes, in images a second.

        Both since this process began; judgements are not in it.
        """
        loading = self.run.loading
        assert loading is not None
        working = self._own_seconds - loading.waited_seconds
        return {
            "loaders": loading.loaders,
            "loader_images_per_second": loading.images_per_second,
            "network_images_per_second": loading.images / working if working > 0.0 else None,
            "waited": loading.waited_seconds / self._own_seconds if self._own_seconds > 0.0 else None,
        }

    def _warn_of_loading(self) -> None:
        """Once, where the loaders and not the network limit the speed."""
        if self.run.loading is None or self._is_warned:
            return
        found = self._loading()
        if (found["waited"] or 0.0) < LOADER_LIMITS:
            return
        self._is_warned = True
        logger.warning(
            "the loaders limit the training: it waited for images %.0f %% of its time; %d of them deliver "
            "%.0f images a second and the network takes %.0f; raise --loaders, or store smaller images",
            100.0 * found["waited"],
            found["loaders"],
            found["loader_images_per_second"] or 0.0,
            found["network_images_per_second"] or 0.0,
        )

    def _last_settings(self) -> dict[str, Any]:
        run, recipe = self.run, self.plan.recipe.recipe
        step, count = max(0, run.step - 1), len(self.splits.train)
        stage = recipe.stage(step, count)
        factor = recipe.learning_rate_factor(step, run.total_steps, steps_per_epoch=run.steps_per_epoch)
        return {
            "stage": stage,
            "resolution": recipe.stage_settings(stage, self.plan.train_resolution).resolution,
            "learning_rate": recipe.learning_rate * factor,
        }

    def _save(self) -> None:
        state = self.run.state()
        loop = {
            "history": self._history,
            "best": self._best,
            "epoch_loss": self._epoch_loss,
            "epoch_steps": self._epoch_steps,
            "epoch_seconds": self._epoch_seconds,
            "seconds": self._seconds,
        }
        save_checkpoint(
            self.directory.checkpoints,
            self.run.step,
            Checkpoint(state.tensors, {**state.values, "loop": loop}),
        )
        self._saved_at = self.clock()

    def _write_weights(self, name: str, metrics: Mapping[str, Any]) -> str:
        return save_weights(
            self.directory.path / f"{name}.safetensors",
            self.run,
            arch=self.plan.arch,
            num_classes=self.splits.num_classes,
            resolution=self.plan.eval_resolution,
            metrics=metrics,
            class_names=self.class_names,
        )

    def _stop(self) -> None:
        raise TrainingInterruptedError(
            f"stopped at step {self.run.step} of {self.run.total_steps}; go on with: "
            f"nas train {self.directory.path} --resume",
            self.interruption.signal or signal.SIGINT,
        )

    def _event(self) -> TrainingEvent:
        run = self.run
        last = self._history[-1] if self._history else None
        return TrainingEvent(
            step=run.step,
            total_steps=run.total_steps,
            epoch=run.step // run.steps_per_epoch,
            total_epochs=-(-run.total_steps // run.steps_per_epoch),
            stage=run.stage,
            resolution=self._last_settings()["resolution"],
            loss=self._loss,
            top1=None if last is None else last["top1"],
            top5=None if last is None else last["top5"],
            images_per_second=self._pace.images_per_second,
            eta_seconds=self._pace.seconds_left(run.step),
        )

    def _sides(self) -> list[tuple[int, int]]:
        """How many steps are trained at which image size, stage by stage."""
        recipe, count, total = self.plan.recipe.recipe, len(self.splits.train), self.run.total_steps
        stages = recipe.progressive.stages if recipe.progressive is not None else 1
        starts = [
            bisect_left(range(total), stage, key=lambda s: recipe.stage(s, count)) for stage in range(stages)
        ]
        ends = [*starts[1:], total]
        return [
            (end - start, recipe.stage_settings(stage, self.plan.train_resolution).resolution)
            for stage, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]


def steps_ahead(run: TrainingRun) -> int:
    """How many steps are made before anything else happens."""
    in_epoch = run.steps_per_epoch - run.step % run.steps_per_epoch
    return min(LOG_STEPS - run.step % LOG_STEPS, in_epoch, run.total_steps - run.step)


def judgement(found: Evaluation) -> Mapping[str, float]:
    """An evaluation under the names of the logs."""
    return {"validation_loss": found.loss, "top1": found.accuracy, "top5": found.top5}
