"""What each of two workers does in the tests of teams: run as a program it is worker 1 of a process group."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from small_training import ARCH, DATA, RECIPE, Recorder, SignalsAt
from torch import Tensor, distributed

from nas.interruption import Interruption
from nas.training.directory import TrainingDirectory
from nas.training.execution import execute_part
from nas.training.loop import TrainingInterruptedError
from nas.training.plan import TrainingPlan, make_training_plan
from nas.training.progress import TrainingEvent
from nas.training.team import make_parallel, worker_seed
from proxies.data.digits import Digits
from proxies.data.protocol import Split, Splits
from proxies.numerics import training_numerics
from proxies.protocols import Diverged
from proxies.recipe import TrainingRecipe
from proxies.training import seeded_build
from proxies.training_run import Parallel, TrainingRun

CPU = torch.device("cpu")
STEPS = 20
PLAIN: dict[str, Any] = {"steps": STEPS, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.05}
MOVED = PLAIN | {
    "optimizer": "rmsprop_tf",  # AdamW makes steps of the rounding of gradients that are 0
    "learning_rate": 0.01,
    "weight_decay": 0.01,
    "accumulate": 2,
    "flip": True,
    "shift": 0.1,
    "ema": 0.9,
    "label_smoothing": 0.1,
    "progressive": {
        "stages": 2,
        "size": {"from": 6, "to": 8},
        "mixup": {"from": 0.1, "to": 0.2},
        "cutmix": {"from": 0.1, "to": 0.2},
    },
}
CASES = {"plain": PLAIN, "moved and mixed": MOVED}


def few() -> Splits:
    """160 scanned digits to train on, five batches."""
    digits = Digits(channels=1).load(resolution=8)
    parts = [
        Split(images_NCHW=split.images_NCHW[:160], labels_N=split.labels_N[:160])
        for split in (digits.train, digits.validation)
    ]
    return Splits(train=parts[0], validation=parts[1], num_classes=10)


def make_run(
    fields: dict[str, Any], parallel: Parallel | None, *, drop: float = 0.0, **changes: Any
) -> TrainingRun:
    splits = few() if "splits" not in changes else changes["splits"]
    network = seeded_build(ARCH, 10, seed=0, dropout=drop, drop_path=drop)
    recipe = TrainingRecipe.model_validate(fields)
    return TrainingRun(network, splits, recipe, seed=5, device=CPU, parallel=parallel)


def team_plan() -> TrainingPlan:
    """Two workers, all that a recipe can have, dropout and stochastic depth included."""
    return make_training_plan(ARCH, data=DATA, recipe=RECIPE, hardware="cpu", threads=1, workers=2)


def trained(fields: dict[str, Any], parallel: Parallel | None) -> tuple[list[float], dict[str, Tensor]]:
    """Loss by loss, and the tensors at the end."""
    with training_numerics(5, "fp32", CPU):
        run = make_run(fields, parallel)
        losses = [run.train(1) for _ in range(STEPS)]
        return losses, {key: value.clone() for key, value in run.state().tensors.items()}


def part(rank: int, folder: Path) -> dict[str, Any]:
    """All that is tried, in one order; what this worker found."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    try:
        parallel = make_parallel(CPU)
        found: dict[str, Any] = {name: trained(fields, parallel) for name, fields in CASES.items()}
        found["statistics"] = _statistics(parallel)
        found["resumed"] = _resumed(parallel)
        found["diverged"] = _diverged(parallel)
        found["whole"] = _executed(rank, folder / "whole")
        found["stopped"] = _executed(rank, folder / "halves", SignalsAt(10, number=15))
        found["second"] = _executed(rank, folder / "halves")
        return found
    finally:
        distributed.destroy_process_group()


def _statistics(parallel: Parallel) -> tuple[Tensor, Tensor]:
    """Running statistics of one step before they are averaged, and afterwards."""
    before: list[Tensor] = []

    def spied(tensor: Tensor) -> Tensor:
        before.append(tensor.clone())
        return parallel.mean(tensor)

    with training_numerics(5, "fp32", CPU):
        run = make_run(PLAIN, replace(parallel, mean=spied))
        run.train(1)
    after = [b.flatten() for name, b in run.network.named_buffers() if "running" in name]
    return before[-1], torch.cat(after)


def _resumed(parallel: Parallel) -> tuple[list[float], list[float]]:
    """Losses after step 8 with dropout: never stopped, and restored."""
    with training_numerics(worker_seed(5, parallel.rank), "fp32", CPU):
        run = make_run(MOVED, parallel, drop=0.3)
        run.train(8)
        tensors, values = run.state()
        state = type(run.state())({key: value.clone() for key, value in tensors.items()}, dict(values))
        whole = [run.train(1) for _ in range(4)]
    with training_numerics(99, "fp32", CPU):
        other = make_run(MOVED, parallel, drop=0.3)
        other.load_state(state)
        return whole, [other.train(1) for _ in range(4)]


def _diverged(parallel: Parallel) -> str:
    """One image of the first batch has no number; it is in one worker's part."""
    splits = few()
    images = splits.train.images_NCHW.astype("float32") / 255.0
    images[7] = float("nan")
    broken = replace(splits.train, images_NCHW=images)
    fields = PLAIN | {"batch_size": 160}
    with training_numerics(5, "fp32", CPU):
        run = make_run(fields, parallel, splits=Splits(train=broken, validation=broken, num_classes=10))
        try:
            run.train(1)
        except Diverged as error:
            return str(error)
    return ""


def _executed(rank: int, path: Path, progress: Any = None) -> Any:
    plan, interruption = team_plan(), Interruption()
    if rank == 0 and not (path / "train.yaml").exists():
        TrainingDirectory.create(path, plan.document()).close()
    distributed.barrier()
    directory = TrainingDirectory.of_worker(path)

    class Told(Recorder):
        """Asks to end instead of sending a signal to the tests' own process."""

        def update(self, event: TrainingEvent) -> None:
            super().update(event)
            if progress is not None and event.step >= progress.step and not interruption.is_requested:
                interruption.signal = progress.number
                interruption.request()

    try:
        return execute_part(plan, directory, Told(), interruption, 1e-9, CPU)
    except TrainingInterruptedError as stop:
        return stop.signal


if __name__ == "__main__":
    place = Path(sys.argv[1])
    torch.save(part(1, place), place / "found.pt")
