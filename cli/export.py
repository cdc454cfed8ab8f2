"""`nas export`: networks to take away."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import COMPLETE_ARCHITECTURE, COMPLETE_RUN, AllowPlugins, Json, load_plugins
from cli.output import note, write_json, write_line

WEIGHTS = "Weights"


def _complete(incomplete: str) -> list[str]:
    return [*COMPLETE_RUN(incomplete), *COMPLETE_ARCHITECTURE(incomplete)]


def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ARCH",
            help="A run; an architecture, by name or YAML file; a training; or a file of weights.",
            autocompletion=_complete,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write them.")],
    top: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Only the best K of the front; default: all of it.")
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(metavar="REWARD", help="What is best, as in nas search; default: the run's."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="yaml, torch (a Python module that needs PyTorch alone), safetensors, onnx or timm.",
        ),
    ] = "yaml",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="An architecture's weights, as safetensors.", rich_help_panel=WEIGHTS
        ),
    ] = None,
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained", help="Weights as initialised, with seed 0, to measure.", rich_help_panel=WEIGHTS
        ),
    ] = False,
    num_classes: Annotated[
        int | None,
        typer.Option(min=1, help="Default: what the weights have, else 1000.", rich_help_panel=WEIGHTS),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pixels; default: the weights', else the architecture's.", rich_help_panel=WEIGHTS
        ),
    ] = None,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Write the best networks of a run, or an architecture, as files that need nothing of ours."""
    from nas.deploy.export import FORMATS
    from nas.deploy.export import export as export_networks
    from results.errors import RunError, RunWriteError

    if form not in FORMATS:
        raise typer.BadParameter(f"{form!r} is unknown; known: {', '.join(FORMATS)}", param_hint="'--format'")
    load_plugins(allow_plugins)
    try:
        files = export_networks(
            name,
            top=top,
            reward=reward,
            out=out,
            format=form,  # type: ignore[arg-type]
            weights=weights,
            untrained=untrained,
            num_classes=num_classes,
            resolution=resolution,
        )
    except RunWriteError as error:  # nothing to resume here
        raise RunError(str(error)) from error
    if not files:
        raise RunError(f"{name} has no front yet, so there is nothing to export")
    if as_json:
        write_json({"files": [str(file) for file in files]})
        return
    for file in files:
        write_line(file)
    if form == "torch" and not any(file.suffix == ".safetensors" for file in files):
        note("without weights: there are none, so build() starts afresh")
