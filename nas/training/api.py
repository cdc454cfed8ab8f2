"""Training a network in full, from Python: `train` and `resume_training`."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.interruption import Interruption, noting_interrupts
from nas.training.directory import TrainingDirectory, read_result, read_training
from nas.training.plan import TrainingChanges, TrainingPlan, make_training_plan, plan_from_document
from nas.training.progress import SilentTraining, TrainingProgress
from proxies.data.protocol import DataSource
from proxies.recipe_document import RecipeDocument
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from search_spaces.network import Network

CHECKPOINT_SECONDS = 600.0
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
    workers: int = 1,
    loaders: int = 0,
    sync_batch_norm: bool = False,
    tensorboard: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: TrainingProgress | None = None,
) -> Trained:
    """Train a network in full, and return how it went.

        nas.train("efficientnetv2-b0", data="/data/pets", out="trained/b0", recipe="adamw").top1

    `threads`: of a CPU, for each worker; None: as many as torch takes, divided among the workers. `init`:
    weights to begin with, a safetensors file with our names, timm's or torchvision's, or a finished training.
    `loaders`: processes that decode images of folders and Parquet files beside the training, for data that
    does not fit into memory (a script needs `if __name__ == "__main__":` then). `workers`: processes that
    train together through Ray Train, each on a device of its own; on CUDA `sync_batch_norm` lets batch norm
    see what all of them have. `tensorboard`: the logs also as event files, under `out`.

    Raises:
        ConfigError, DocumentError, DataError, HardwareNotFoundError: it cannot begin.
        RunError: `out` cannot take a training.
        Diverged: the loss stopped being finite.
        ExecutorError: several workers, and no Ray, or no device for each.
        TrainingInterruptedError, RunWriteError: stopped before the end; see `resume_training`.
    """
    plan = make_training_plan(
        arch,
        data=data,
        recipe=recipe,
        changes=changes,
        hardware=hardware,
        seed=seed,
        threads=_threads(threads, workers),
        init=init,
        workers=workers,
        loaders=loaders,
        sync_batch_norm=sync_batch_norm,
        tensorboard=tensorboard,
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


def _threads(given: int | None, workers: int) -> int:
    """On a CPU the number of threads decides the last bits, so it is kept for a resume."""
    import torch

    return given if given is not None else max(1, torch.get_num_threads() // max(1, workers))


def _train(
    plan: TrainingPlan, directory: TrainingDirectory, progress: TrainingProgress, checkpoint_seconds: float
) -> Trained:
    interruption = Interruption()
    with noting_interrupts(interruption, SIGNALS):
        if plan.workers == 1:
            from nas.training.execution import execute

            result = execute(plan, directory, progress, interruption, checkpoint_seconds)
        else:
            from nas.training.ray_train import execute_together

            result = execute_together(plan, directory, progress, interruption, checkpoint_seconds)
    directory.write_result(result)
    return Trained(path=directory.path, result=result)
