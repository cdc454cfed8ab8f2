"""`nas measure`: the training step time of architectures on the hardware that is here."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import ExitCode
from cli.options import COMPLETE_ARCHITECTURE, COMPLETE_HARDWARE, SIZE, AllowPlugins, Json, load_plugins
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import format_bytes

if TYPE_CHECKING:
    from proxies.records import Outcome


def measure(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH...",
            help="Shipped architectures, YAML files, or directories of them.",
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
    fused_optimizer: Annotated[
        bool, typer.Option("--fused-optimizer", help="Update all weights in one kernel.")
    ] = False,
    inference: Annotated[
        bool, typer.Option("--inference", help="Measure the forward pass alone, in evaluation mode.")
    ] = False,
    onnxruntime: Annotated[
        bool,
        typer.Option(
            "--onnxruntime",
            help="Measure the forward pass in ONNX Runtime on one thread of the CPU (extra: export).",
        ),
    ] = False,
    recalibrate: Annotated[
        bool,
        typer.Option("--recalibrate", help="Measure the stored time of the reference network anew, too."),
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Estimate for --hardware that is not here; measure nothing."),
    ] = False,
    tune_runtime: Annotated[
        bool,
        typer.Option(
            "--tune-runtime",
            help="Try layouts, precisions, compilation and the fused optimizer; keep the fastest sound way.",
        ),
    ] = False,
    largest_batch: Annotated[
        bool, typer.Option("--largest-batch", help="Measure at the largest batch that fits into memory.")
    ] = False,
    memory_limit: Annotated[
        int | None,
        typer.Option(**SIZE, help="What --largest-batch may use, such as 20GiB; default: what is free."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw what one architecture's time rests on: .png, .svg, .pdf or .html (extra: plot).",
        ),
    ] = None,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Measure the training step time (or inference), beside a fixed reference network.

    With --json: an object for one architecture, a list of them for several.
    """
    from nas.api import measure as measure_all
    from nas.measuring import architecture_names
    from proxies.hardware import resolve_hardware
    from search_spaces.document import load_architecture

    load_plugins(allow_plugins)
    if inference and onnxruntime:
        raise typer.BadParameter("cannot be given with --inference", param_hint="'--onnxruntime'")
    if tune_runtime and (inference or onnxruntime or estimate):
        raise typer.BadParameter("is for measured training steps", param_hint="'--tune-runtime'")
    if memory_limit is not None and not largest_batch:
        raise typer.BadParameter("goes with --largest-batch", param_hint="'--memory-limit'")
    names = architecture_names(names)
    if plot is not None and (estimate or len(names) > 1):
        what = "an estimate has none" if estimate else f"{len(names)} are named; name one"
        raise typer.BadParameter(
            f"draws the pairs of one measured architecture: {what}", param_hint="'--plot'"
        )
    if estimate:
        if inference or onnxruntime:
            raise typer.BadParameter("estimates a training step, not inference", param_hint="'--estimate'")
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
        fused_optimizer=fused_optimizer,
        work="onnx-inference" if onnxruntime else "inference" if inference else "training",
        recalibrate=recalibrate,
        tune_runtime=tune_runtime,
        largest_batch=largest_batch,
        memory_limit_bytes=memory_limit,
    )
    documents = [_document(name, outcome) for name, outcome in zip(names, outcomes, strict=True)]
    if as_json:
        write_json(documents[0] if len(documents) == 1 else documents)
    else:
        _write(documents)
    if plot is not None and "method" in outcomes[0].details:
        from results.plots.timing import timing

        note(f"drawn: {timing(outcomes[0], Path(names[0]).stem).save(plot)}")
    for name, outcome in zip(names, outcomes, strict=True):
        if outcome.status != "ok":
            note(f"{name}: {outcome.status}: {outcome.reason}")
    if any(outcome.status not in {"ok", "unstable"} for outcome in outcomes):
        raise typer.Exit(ExitCode.FAILURE)


def _document(name: str, outcome: "Outcome") -> dict[str, Any]:
    """A measurement as plain JSON; what was not measured is null."""
    settings = outcome.details.get("settings")
    return {
        "name": name,
        "digest": outcome.digest,
        "status": outcome.status,
        "reason": outcome.reason,
        **{metric: outcome.metrics.get(metric) for metric in _metrics(settings)},
        "settings": settings,
        "hardware": outcome.details.get("hardware"),
        "software": outcome.details.get("software"),
        **{each: outcome.details[each] for each in ("runtime", "largest_batch") if each in outcome.details},
        "seconds": outcome.seconds,
    }


def _metrics(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Time, its interval, ratio, throughput and memory, as what was measured calls them."""
    from proxies.records import METRIC_NAMES

    time, other = METRIC_NAMES[(settings or {}).get("work", "training")]
    return (
        f"{time}_ms",
        f"{time}_ms_low",
        f"{time}_ms_high",
        f"{time}_ratio",
        f"{other}images_per_second",
        f"{other}peak_memory_bytes",
    )


def _write(documents: list[dict[str, Any]]) -> None:
    from cli.front import conditions

    measured = next((each for each in documents if each["settings"]), None)
    time = _metrics(measured["settings"] if measured else None)[0].removesuffix("_ms")
    titles = (f"{time} ms [95 % interval]", "ratio", "images/s", "peak memory")
    write_table(
        [Column("architecture"), *(Column(title, is_number=True) for title in titles), Column("status")],
        [(each["name"], *_cells(each), each["status"]) for each in documents],
    )
    for each in documents:
        _write_runtime(each)
        _write_largest_batch(each)
    if measured is not None:
        write_line()
        write_line(conditions(measured))


def _write_runtime(document: dict[str, Any]) -> None:
    """Every way of running that was tried, the one that was kept named."""
    if "runtime" not in document:
        return
    write_line(f"\n{document['name']}: ways of running a training step")
    ways = ("layout", "precision", "compile", "fused optimizer")
    write_table(
        [*map(Column, ways), Column("step ms [95 % interval]", is_number=True), Column("kept")],
        [
            (
                way["memory_format"],
                way["precision"],
                way["compile"],
                "yes" if way["fused_optimizer"] else "no",
                _time_cell(way["step_ms"], way["step_ms_low"], way["step_ms_high"]),
                "yes" if way["why_not"] is None else f"no: {way['why_not']}",
            )
            for way in document["runtime"]
        ],
    )


def _write_largest_batch(document: dict[str, Any]) -> None:
    if "largest_batch" not in document:
        return
    found = document["largest_batch"]
    refused = f"; {found['refused']} does not fit" if found["refused"] else ""
    limit = "" if found["limit_bytes"] is None else f" of {format_bytes(found['limit_bytes'])}"
    size = found["batch_size"]
    told = (
        "not even one image fits" if size is None else f"{size}, {format_bytes(found['peak_bytes'])}{limit}"
    )
    write_line(f"\n{document['name']}: largest batch: {told}{refused}")


def _time_cell(middle: float | None, low: float | None, high: float | None) -> str:
    return "-" if middle is None else f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def _cells(document: dict[str, Any]) -> tuple[str, ...]:
    middle, low, high, ratio, images, memory = (
        document.get(metric) for metric in _metrics(document["settings"])
    )
    if middle is None:
        return ("-",) * 4
    return (
        _time_cell(middle, low, high),
        f"{ratio:.3f}",
        f"{images:.1f}",
        format_bytes(memory),
    )
