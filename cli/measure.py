"""`nas measure`: the training step time of architectures on the hardware that is here."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import ExitCode
from cli.options import COMPLETE_ARCHITECTURE, COMPLETE_HARDWARE, AllowPlugins, Json, load_plugins
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import format_bytes

if TYPE_CHECKING:
    from proxies.records import Outcome


def measure(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH...",
            help="Shipped architectures or YAML files.",
            autocompletion=COMPLETE_ARCHITECTURE,
        ),
    ],
    hardware: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FILE", help="What to measure on.", autocompletion=COMPLETE_HARDWARE),
    ] = "auto",
    resolution: Annotated[int | None, typer.Option(min=1, help="Pixels; default: the profile's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step; default: the profile's.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32, tf32, bf16 or fp16; default: the profile's.")
    ] = None,
    memory_format: Annotated[
        str | None,
        typer.Option(metavar="LAYOUT", help="channels_last or contiguous; default: the profile's."),
    ] = None,
    compile_mode: Annotated[
        str | None,
        typer.Option(
            "--compile",
            metavar="MODE",
            help="none, default, max-autotune or cuda-graph; default: the profile's.",
        ),
    ] = None,
    autotune: Annotated[
        bool | None,
        typer.Option(
            "--autotune/--no-autotune", help="Let cuDNN try its algorithms first; default: the profile's."
        ),
    ] = None,
    recalibrate: Annotated[
        bool,
        typer.Option("--recalibrate", help="Measure the stored time of the reference network anew, too."),
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Estimate for --hardware that is not here; measure nothing."),
    ] = False,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Measure the training step time, beside a fixed reference network.

    With --json: an object for one architecture, a list of them for several.
    """
    from nas.api import measure as measure_all
    from proxies.hardware import resolve_hardware
    from search_spaces.document import load_architecture

    load_plugins(allow_plugins)
    if estimate:
        from cli.estimated import show_estimates

        show_estimates(
            names, hardware=hardware, resolution=resolution, batch=batch, precision=precision, as_json=as_json
        )
        return
    resolve_hardware(hardware)  # refuse before anything heavy is loaded
    archs = [load_architecture(name) for name in names]
    outcomes = measure_all(
        archs,
        hardware=hardware,
        resolution=resolution,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]  # all three are checked where they are used
        memory_format=memory_format,  # type: ignore[arg-type]
        compile=compile_mode,  # type: ignore[arg-type]
        autotune=autotune,
        recalibrate=recalibrate,
    )
    documents = [_document(name, outcome) for name, outcome in zip(names, outcomes, strict=True)]
    if as_json:
        write_json(documents[0] if len(documents) == 1 else documents)
    else:
        _write(documents)
    for name, outcome in zip(names, outcomes, strict=True):
        if outcome.status != "ok":
            note(f"{name}: {outcome.status}: {outcome.reason}")
    if any(outcome.status not in {"ok", "unstable"} for outcome in outcomes):
        raise typer.Exit(ExitCode.FAILURE)


def _document(name: str, outcome: "Outcome") -> dict[str, Any]:
    """A measurement as plain JSON; what was not measured is null."""
    metrics = (
        "step_ms",
        "step_ms_low",
        "step_ms_high",
        "step_ratio",
        "images_per_second",
        "peak_memory_bytes",
    )
    return {
        "name": name,
        "digest": outcome.digest,
        "status": outcome.status,
        "reason": outcome.reason,
        **{metric: outcome.metrics.get(metric) for metric in metrics},
        "settings": outcome.details.get("settings"),
        "hardware": outcome.details.get("hardware"),
        "software": outcome.details.get("software"),
        "seconds": outcome.seconds,
    }


def _write(documents: list[dict[str, Any]]) -> None:
    from cli.front import conditions

    titles = ("step ms [95 % interval]", "ratio", "images/s", "peak memory")
    write_table(
        [Column("architecture"), *(Column(title, is_number=True) for title in titles), Column("status")],
        [(each["name"], *_cells(each), each["status"]) for each in documents],
    )
    measured = next((each for each in documents if each["settings"]), None)
    if measured is not None:
        write_line()
        write_line(conditions(measured))


def _cells(document: dict[str, Any]) -> tuple[str, ...]:
    if document["step_ms"] is None:
        return ("-",) * 4
    return (
        f"{document['step_ms']:.2f} [{document['step_ms_low']:.2f}, {document['step_ms_high']:.2f}]",
        f"{document['step_ratio']:.3f}",
        f"{document['images_per_second']:.1f}",
        format_bytes(document["peak_memory_bytes"]),
    )
