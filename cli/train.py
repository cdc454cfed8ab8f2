"""`nas train`: a network trained in full."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.errors import ExitCode
from cli.options import (
    COMPLETE_ARCHITECTURE,
    COMPLETE_HARDWARE,
    DURATION,
    AllowPlugins,
    Json,
    completed_from,
    load_plugins,
)
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import format_count, format_duration

if TYPE_CHECKING:
    from nas.training.api import Trained
    from nas.training.plan import TrainingChanges
    from nas.training.progress import TrainingProgress
    from nas.training.stage_two import TrainedMember

T = TypeVar("T")


def _recipes() -> list[str]:
    from proxies.recipe_document import recipe_names

    return recipe_names()


def _schedules() -> list[str]:
    from proxies.progressive import preset_names

    return ["none", *preset_names()]


def train(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="A shipped architecture or a YAML file; with --top-k a run; with --resume a training.",
            autocompletion=COMPLETE_ARCHITECTURE,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="A source such as digits, a folder, a .parquet file, hub:NAME."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to keep it; default: trained/ARCH.")
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="effnetv2, adamw, quick, ..., or a YAML file.",
            autocompletion=completed_from(_recipes),
        ),
    ] = "adamw",
    progressive: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Image size and regularisation that rise: paper/s, ..., or none.",
            autocompletion=completed_from(_schedules),
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Warm-up and decay keep their shares; default: the recipe's.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=2, help="The learning rate goes with it; default: the recipe's.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Parts that a batch is worked off in; default: the recipe's.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak; default: the recipe's.")] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Pixels; default: the recipe's, else the architecture's.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32, tf32, bf16 or fp16; default: the profile's.")
    ] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Through torch.compile.")
    ] = None,
    hardware: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FILE", help="What to train on.", autocompletion=COMPLETE_HARDWARE),
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of a CPU, for each worker; default: all, divided.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that train together, each on a device (Ray Train).")
    ] = 1,
    loaders: Annotated[
        int,
        typer.Option(min=0, help="Processes of each that decode images as they come; 0: all are in memory."),
    ] = 0,
    sync_batch_norm: Annotated[
        bool, typer.Option("--sync-batch-norm", help="Batch norm over all workers; CUDA only.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Logs for TensorBoard too, in DIR/tensorboard.")
    ] = False,
    checkpoint_every: Annotated[
        float | None, typer.Option(**DURATION, help="Time between checkpoints; default: 10m.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Begin with these: .safetensors named as ours, timm's or torchvision's, or a training.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top-k", min=1, metavar="K", help="Train the K best of a run, on its data or --data."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Train a network in full: its weights, its accuracy, and logs, in one directory."""
    from nas.training import api

    load_plugins(allow_plugins)
    seconds = api.CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every
    if resume and top is None:
        _refuse_beside_resume(data=data, out=out, init=init)
        _put(
            _supervised(lambda shown: api.resume_training(name, checkpoint_seconds=seconds, progress=shown)),
            as_json,
        )
        return
    settings: dict[str, Any] = {
        "recipe": recipe,
        "changes": _changes(
            epochs=epochs,
            batch_size=batch,
            learning_rate=learning_rate,
            accumulate=accumulate,
            precision=precision,
            progressive=progressive,
            resolution=resolution,
            compile=compiled,
        ),
        "hardware": hardware,
        "seed": seed,
        "threads": threads,
        "workers": workers,
        "loaders": loaders,
        "sync_batch_norm": sync_batch_norm,
        "tensorboard": tensorboard,
        "init": init,
        "checkpoint_seconds": seconds,
        "out": out or Path("trained") / Path(name).stem,
    }
    if top is not None:
        _train_top(name, top, as_json, data=data, resume=resume, **settings)
        return
    if data is None:
        raise ValueError("say what to train on: --data digits, a folder, a .parquet file or hub:NAME")
    _put(_supervised(lambda shown: api.train(name, data=data, progress=shown, **settings)), as_json)


def _train_top(name: str, top: int, as_json: bool, **settings: Any) -> None:
    from nas.training.stage_two import train_top

    members = _supervised(lambda shown: train_top(name, top=top, progress=shown, **settings))
    if as_json:
        write_json(
            [
                {"candidate": each.candidate.id, "path": str(each.trained.path), **each.trained.result}
                for each in members
            ]
        )
        return
    titles = ("in the search", "validation top-1", "test top-1", "top-5", "params")
    write_table(
        [Column("candidate"), *(Column(title, is_number=True) for title in titles)],
        [_member_row(each) for each in sorted(members, key=lambda each: -each.trained.top1)],
    )
    note(f"weights: {settings['out']}/*/best.safetensors; accuracy in the search is of its short training")


def _member_row(member: "TrainedMember") -> tuple[str, ...]:
    result, accuracy = member.trained.result, member.candidate.value("accuracy")
    return (
        str(member.candidate.id),
        "-" if accuracy is None else f"{accuracy:.4f}",
        f"{result['best']['top1']:.4f}",
        f"{result['test']['top1']:.4f}",
        f"{result['test']['top5']:.4f}",
        format_count(result["params"]),
    )


def _changes(**given: Any) -> "TrainingChanges":
    from nas.training.plan import TrainingChanges

    return TrainingChanges(**given)


def _refuse_beside_resume(**given: object) -> None:
    for key, value in given.items():
        if value is not None:
            raise ValueError(f"--resume goes on with what was started; leave out --{key}")


def _supervised(start: "Callable[[TrainingProgress], T]") -> T:
    """A training with its progress on stderr, and its early end told."""
    import signal

    from cli.training_progress import showing_training
    from nas.training.loop import TrainingInterruptedError

    try:
        with showing_training() as progress:
            return start(progress)
    except TrainingInterruptedError as stop:
        note(stop)
        is_terminated = stop.signal == signal.SIGTERM
        raise typer.Exit(ExitCode.TERMINATED if is_terminated else ExitCode.INTERRUPTED) from None


def _put(trained: "Trained", as_json: bool) -> None:
    result = trained.result
    if as_json:
        write_json({"path": str(trained.path), **result})
        return
    best, test = result["best"], result["test"]
    write_table(
        [Column("images"), *(Column(title, is_number=True) for title in ("count", "top-1", "top-5", "loss"))],
        [
            _row("validation", result["images"]["validation"], best, best["validation_loss"]),
            _row("test", test["images"], test, test["loss"]),
        ],
    )
    write_line()
    took = format_duration(result["train_seconds"])
    workers = f" by {result['workers']} workers" if result["workers"] > 1 else ""
    write_line(
        f"best of {result['last']['epoch']:g} epochs: epoch {best['epoch']:g}; "
        f"{format_count(result['params'])} parameters; trained for {took}{workers} "
        f"on {result['hardware']['device']}, {result['precision']}, {result['resolution']} px"
    )
    note(f"weights: {trained.path / 'best.safetensors'}; logs: {trained.path / 'epochs.csv'}")


def _row(images: str, count: int, found: dict[str, Any], loss: float) -> tuple[str, ...]:
    return images, format_count(count), f"{found['top1']:.4f}", f"{found['top5']:.4f}", f"{loss:.4f}"
