"""Training a network in full, from Python: `train` and `resume_training`."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError
from nas.interruption import Interruption, noting_interrupts
from nas.training.checkpoints import load_newest
from nas.training.directory import TrainingDirectory, read_result, read_training
from nas.training.plan import TrainingChanges, TrainingPlan, make_training_plan, plan_from_document
from nas.training.progress import SilentTraining, TrainingProgress
from proxies.data.protocol import DataSource, Splits
from proxies.recipe_document import RecipeDocument
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from search_spaces.network import Network

CHECKPOINT_SECONDS = 600.0
RESULT_SCHEMA = "nas.trained/1"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished training: its directory, and what result.json says."""

    path: Path
    result: dict[str, Any]

    @property
    def top1(self) -> float:
        """Accuracy of the best weights on the validation images, 0 to 1."""
        return float(self.result["best"]["top1"])

    def network(self) -> "Network":
        """The network with the weights that were best on the validation images.

        Raises:
            CheckpointError: the file of weights is damaged or gone.
        """
        from nas.training.weights import load_network

        return load_network(self.path / "best.safetensors", sha256=self.result["best"]["sha256"])


def train(
    arch: Architecture | str | Path,
    *,
    data: DataSource | str,
    out: str | Path,
    recipe: RecipeDocument | str | Path = "adamw",
    changes: TrainingChanges | None = None,
    hardware: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    init: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: TrainingProgress | None = None,
) -> Trained:
    """Train a network in full, and return how it went.

        nas.train("efficientnetv2-b0", data="/data/pets", out="trained/b0", recipe="adamw").top1

    `threads`: of a CPU; None: as many as torch takes. `init`: weights to begin with, a safetensors file with
    our names, timm's or torchvision's, or a finished training.

    Raises:
        ConfigError, DocumentError, DataError, HardwareNotFoundError: it cannot begin.
        RunError: `out` cannot take a training.
        Diverged: the loss stopped being finite.
        TrainingInterruptedError, RunWriteError: stopped before the end; see `resume_training`.
    """
    plan = make_training_plan(
        arch,
        data=data,
        recipe=recipe,
        changes=changes,
        hardware=hardware,
        seed=seed,
        threads=_threads(threads),
        init=init,
    )
    with TrainingDirectory.create(Path(out), _document(plan)) as directory:
        return _train(plan, directory, progress or SilentTraining(), checkpoint_seconds)


def resume_training(
    path: str | Path,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: TrainingProgress | None = None,
) -> Trained:
    """Go on with a training that was stopped, from its last checkpoint; a finished one is returned as it is.

    Raises:
        RunError: no training is there.
        CheckpointError: it has checkpoints, and all are damaged.
        ConfigError: train.yaml was edited, or the data has changed.
    """
    path = Path(path)
    config = read_training(path)
    done = read_result(path)
    if done is not None:
        return Trained(path=path, result=done)
    plan = plan_from_document(config, str(path / "train.yaml"))
    with TrainingDirectory.open(path) as directory:
        return _train(plan, directory, progress or SilentTraining(), checkpoint_seconds)


def _document(plan: TrainingPlan) -> dict[str, Any]:
    from nas.planning import git_state, versions

    return {**plan.document(), "versions": versions(), "git": git_state(Path.cwd())}


def _threads(given: int | None) -> int:
    """On a CPU the number of threads decides the last bits, so it is kept for a resume."""
    import torch

    return given if given is not None else torch.get_num_threads()


def _train(
    plan: TrainingPlan, directory: TrainingDirectory, progress: TrainingProgress, checkpoint_seconds: float
) -> Trained:
    from nas.training.loop import TrainingLoop
    from proxies.numerics import training_numerics
    from proxies.training_run import TrainingRun

    splits = plan.source.load(resolution=plan.load_resolution)
    recipe, device = plan.recipe.recipe, _device(plan)
    _check_batch(recipe.batch_size, splits)
    interruption = Interruption()
    with ExitStack() as stack:
        stack.enter_context(_using_threads(plan.threads))
        stack.enter_context(training_numerics(plan.seed, recipe.precision, device))
        stack.enter_context(noting_interrupts(interruption, SIGNALS))
        run = TrainingRun(
            _network(plan, splits),
            splits,
            recipe,
            seed=plan.seed,
            device=device,
            resolution=plan.eval_resolution,
            train_resolution=plan.train_resolution,
            compiled=plan.recipe.compile,
        )
        loop = TrainingLoop(
            plan=plan,
            splits=splits,
            run=run,
            directory=directory,
            progress=progress,
            interruption=interruption,
            checkpoint_seconds=checkpoint_seconds,
        )
        checkpoint, _ = load_newest(directory.checkpoints)
        if checkpoint is not None:
            loop.restore(checkpoint)
        found = loop.run_to_end()
    result = _result(plan, splits, directory, found)
    directory.write_result(result)
    return Trained(path=directory.path, result=result)


def _network(plan: TrainingPlan, splits: Splits) -> "Network":
    from nas.training.weights import initialise
    from proxies.training import check_channels, seeded_build

    network = seeded_build(
        plan.arch,
        splits.num_classes,
        seed=plan.seed,
        dropout=plan.dropout,
        drop_path=plan.drop_path,
        resolution=plan.eval_resolution,
    )
    check_channels(network, splits.channels)
    if plan.initial is not None:
        initialise(network, plan.arch, plan.initial)
    return network


def _result(
    plan: TrainingPlan, splits: Splits, directory: TrainingDirectory, found: dict[str, Any]
) -> dict[str, Any]:
    """How it went, with the best weights judged once on the test images."""
    from search_spaces.architecture import cost

    costs = cost(plan.arch, plan.eval_resolution, splits.num_classes)
    return {
        "schema": RESULT_SCHEMA,
        "name": plan.arch.name,
        "digest": plan.arch.digest,
        "num_classes": splits.num_classes,
        "resolution": plan.eval_resolution,
        "params": costs.params,
        "macs": costs.macs,
        **found,
        "test": _judge_test(plan, directory, splits),
        "images": {"train": len(splits.train), "validation": len(splits.validation)},
        "precision": plan.recipe.recipe.precision,
        "hardware": plan.hardware.describe(),
    }


def _judge_test(plan: TrainingPlan, directory: TrainingDirectory, splits: Splits) -> dict[str, float]:
    from nas.training.weights import load_network
    from proxies.evaluation import evaluate
    from proxies.feed import Standardisation
    from proxies.numerics import training_numerics

    device, recipe = _device(plan), plan.recipe.recipe
    test = plan.source.load_test(resolution=plan.load_resolution)
    network = load_network(directory.path / "best.safetensors").to(device)
    with _using_threads(plan.threads), training_numerics(plan.seed, recipe.precision, device):
        found = evaluate(
            network,
            test,
            recipe,
            standard=Standardisation.of(splits.train),
            device=device,
            resolution=plan.eval_resolution,
        )
    return {"loss": found.loss, "top1": found.accuracy, "top5": found.top5, "images": len(test)}


def _check_batch(batch_size: int, splits: Splits) -> None:
    if batch_size > len(splits.train):
        raise ConfigError(
            f"a batch of {batch_size} is more than the {len(splits.train)} training images; lower --batch"
        )


def _device(plan: TrainingPlan) -> Any:
    import torch

    device = plan.hardware.device
    return torch.device("cpu") if device.kind == "cpu" else torch.device(device.kind, device.index)


@contextmanager
def _using_threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
