"""A planned training carried out in this process: alone, or as one of several workers."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from nas.errors import ConfigError
from nas.interruption import Interruption
from nas.training.board import TensorBoard
from nas.training.checkpoints import load_newest
from nas.training.directory import TrainingDirectory
from nas.training.loop import TrainingLoop, steps_ahead
from nas.training.plan import TrainingPlan
from nas.training.progress import TrainingProgress
from nas.training.team import follow, make_parallel, share, worker_seed
from proxies.data.protocol import Split, Splits, StreamedSplit, Streams, class_names_of
from proxies.training_run import Parallel, TrainingRun, TrainingState

if TYPE_CHECKING:
    from search_spaces.network import Network

RESULT_SCHEMA = "nas.trained/1"


def execute(
    plan: TrainingPlan,
    directory: TrainingDirectory,
    progress: TrainingProgress,
    interruption: Interruption,
    checkpoint_seconds: float,
) -> dict[str, Any]:
    """Train to the end, from the last checkpoint if there is one; returns what result.json holds.

    Raises:
        Diverged, TrainingInterruptedError, RunWriteError, CheckpointError, DataError, ConfigError.
    """
    splits, device = _loaded(plan), _device(plan)
    result = _execute(plan, directory, progress, interruption, checkpoint_seconds, splits, device, None)
    assert result is not None
    return result


def execute_part(
    plan: TrainingPlan,
    directory: TrainingDirectory,
    progress: TrainingProgress,
    interruption: Interruption,
    checkpoint_seconds: float,
    device: torch.device,
) -> dict[str, Any] | None:
    """The part of this worker of a process group; the chief returns what result.json holds, others None.

    Raises:
        As `execute`; the chief alone is interrupted, and the others end with it.
    """
    splits, parallel = _loaded(plan), make_parallel(device)
    return _execute(plan, directory, progress, interruption, checkpoint_seconds, splits, device, parallel)


def _execute(
    plan: TrainingPlan,
    directory: TrainingDirectory,
    progress: TrainingProgress,
    interruption: Interruption,
    checkpoint_seconds: float,
    splits: Splits,
    device: torch.device,
    parallel: Parallel | None,
) -> dict[str, Any] | None:
    with _training(plan, splits, device, parallel) as run:
        if parallel is not None and parallel.rank > 0:
            _restored(directory, run)
            follow(run, share, steps_ahead)
            return None
        found = _lead(
            plan,
            directory,
            progress=progress,
            interruption=interruption,
            checkpoint_seconds=checkpoint_seconds,
            splits=splits,
            run=run,
            **({} if parallel is None else {"share": share}),
        )
    return _result(plan, splits, directory, found, device)


def _read(plan: TrainingPlan) -> Splits:
    if plan.loaders:
        assert isinstance(plan.source, Streams)
        return plan.source.stream(resolution=plan.load_resolution, loaders=plan.loaders)
    return plan.source.load(resolution=plan.load_resolution)


def _loaded(plan: TrainingPlan) -> Splits:
    splits = _read(plan)
    _check_batch(plan.recipe.recipe.batch_size, splits)
    return splits


@contextmanager
def _training(
    plan: TrainingPlan, splits: Splits, device: torch.device, parallel: Parallel | None
) -> Iterator[TrainingRun]:
    """The training's state, at its beginning, within its numerics."""
    from proxies.numerics import training_numerics

    recipe, rank = plan.recipe.recipe, 0 if parallel is None else parallel.rank
    with ExitStack() as stack:
        stack.enter_context(_using_threads(plan.threads))
        stack.enter_context(training_numerics(worker_seed(plan.seed, rank), recipe.precision, device))
        network: torch.nn.Module = _network(plan, splits)
        if plan.is_norm_shared:
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        yield TrainingRun(
            network,
            splits,
            recipe,
            seed=plan.seed,
            device=device,
            resolution=plan.eval_resolution,
            train_resolution=plan.train_resolution,
            compiled=plan.recipe.compile,
            parallel=parallel,
        )


def _lead(plan: TrainingPlan, directory: TrainingDirectory, **given: Any) -> dict[str, Any]:
    loop = TrainingLoop(plan=plan, directory=directory, class_names=class_names_of(plan.source), **given)
    checkpoint, _ = load_newest(directory.checkpoints)
    if checkpoint is not None:
        loop.restore(checkpoint)
    if plan.has_board:
        loop.board = TensorBoard(directory.path, step=loop.run.step)
    with closing(loop.board):
        return loop.run_to_end()


def _restored(directory: TrainingDirectory, run: TrainingRun) -> None:
    checkpoint, _ = load_newest(directory.checkpoints)
    if checkpoint is not None:
        values = {key: value for key, value in checkpoint.values.items() if key != "loop"}
        run.load_state(TrainingState(checkpoint.tensors, values))


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
    plan: TrainingPlan,
    splits: Splits,
    directory: TrainingDirectory,
    found: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """How it went, with the best weights judged once on the test images."""
    from search_spaces.architecture import cost

    costs = cost(plan.arch, plan.eval_resolution, splits.num_classes)
    return {
        "schema": RESULT_SCHEMA,
        "name": plan.arch.name,
        "digest": plan.arch.digest,
        "num_classes": splits.num_classes,
        "class_names": None if (names := class_names_of(plan.source)) is None else list(names),
        "resolution": plan.eval_resolution,
        "params": costs.params,
        "macs": costs.macs,
        **found,
        "test": _judge_test(plan, directory, splits, device),
        "images": {"train": len(splits.train), "validation": len(splits.validation)},
        "precision": plan.recipe.recipe.precision,
        "workers": plan.workers,
        "hardware": plan.hardware.describe(),
    }


def _judge_test(
    plan: TrainingPlan, directory: TrainingDirectory, splits: Splits, device: torch.device
) -> dict[str, float]:
    from nas.training.weights import load_network
    from proxies.evaluation import evaluate
    from proxies.feed import Standardisation
    from proxies.numerics import training_numerics

    recipe = plan.recipe.recipe
    test: Split | StreamedSplit
    if plan.loaders and isinstance(plan.source, Streams):
        test = plan.source.stream_test(resolution=plan.load_resolution, loaders=plan.loaders)
    else:
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


def _device(plan: TrainingPlan) -> torch.device:
    device = plan.hardware.device
    return torch.device("cpu") if device.kind == "cpu" else torch.device(device.kind, device.index)


@contextmanager
def _using_threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
