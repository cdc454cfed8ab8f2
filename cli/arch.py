"""`nas arch`: look at architectures and their exact costs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import ExitCode
from cli.options import COMPLETE_ARCHITECTURE, AllowPlugins, Json, load_plugins
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import format_bytes, format_count

if TYPE_CHECKING:
    from proxies.cross_check import CrossCheck
    from search_spaces.architecture import Architecture
    from search_spaces.cost import Cost

app = typer.Typer(help="Architectures: list, show with exact costs.", no_args_is_help=True)


@app.command("list")
def list_architectures(as_json: Json = False) -> None:
    """List the shipped architectures with their exact costs."""
    from search_spaces.architecture import cost
    from search_spaces.document import load_architecture
    from search_spaces.shipped import ARCHITECTURES, shipped_names

    listed: list[dict[str, Any]] = []
    for name in shipped_names(ARCHITECTURES):
        arch = load_architecture(name)
        found = cost(arch, arch.eval_resolution)
        listed.append(
            {"name": name, "params": found.params, "macs": found.macs, "resolution": arch.eval_resolution}
        )
    if as_json:
        write_json(listed)
        return
    write_table(
        [Column("architecture"), Column("params", True), Column("MACs", True), Column("at px", True)],
        [
            (each["name"], *(format_count(each[key]) for key in ("params", "macs", "resolution")))
            for each in listed
        ],
    )
    note("MACs: multiply-adds for one image, 1,000 classes")


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_FILE",
            help="A shipped architecture or a YAML file, such as an exported one.",
            autocompletion=COMPLETE_ARCHITECTURE,
        ),
    ],
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Pixels to count at; default: the evaluation resolution.")
    ] = None,
    num_classes: Annotated[int, typer.Option(min=1, help="Of the classifier.")] = 1000,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Build the network and count again with PyTorch's and fvcore's counters."
        ),
    ] = False,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Show an architecture: its stages, and its exact parameters and multiply-adds."""
    from search_spaces.architecture import cost
    from search_spaces.document import load_architecture

    load_plugins(allow_plugins)
    arch = load_architecture(name)
    side = resolution or arch.eval_resolution
    total = cost(arch, side, num_classes)
    counted = _check(arch, side, num_classes) if check else None
    if as_json:
        checked = {"check": _check_document(counted)} if counted else {}
        write_json(_architecture_document(arch, total, side) | checked)
    else:
        _write(arch, total, side, num_classes)
        if counted:
            _write_check(counted)
    if counted and not counted.agrees:
        raise typer.Exit(ExitCode.FAILURE)


def _write(arch: "Architecture", total: "Cost", side: int, num_classes: int) -> None:
    write_line(f"{arch.name or 'unnamed'}  {arch.digest[:12]}")
    if arch.notes:
        write_line(arch.notes)
    write_line()
    write_table(
        [
            Column("part"),
            Column("op"),
            Column("settings"),
            *(Column(title, True) for title in ("depth", "width", "stride", "px", "params", "MACs")),
        ],
        list(_part_rows(arch, side, num_classes, total)),
    )
    write_line()
    write_line(
        f"activations kept for the backward pass: {format_bytes(total.activation_bytes)} an image in fp32"
    )
    note(
        f"MACs: multiply-adds of convolutions and linear layers,"
        f" for one image of {side} px, {num_classes:,} classes"
    )


def _architecture_document(arch: "Architecture", total: "Cost", resolution: int) -> dict[str, Any]:
    return {
        "name": arch.name,
        "digest": arch.digest,
        **total._asdict(),
        "resolution": resolution,
        "architecture": arch.to_document(),
    }


def _part_rows(
    arch: "Architecture", side: int, num_classes: int, total: "Cost"
) -> Iterator[tuple[object, ...]]:
    """A row for the stem, each stage, the head, and the sum. `px` is the side of the part's output."""
    from search_spaces.architecture import head_cost, spec_document, stage_cost, stem_cost

    found, side = stem_cost(arch.stem, arch.input.channels, side, arch.padding)
    stem = _settings({"kernel": arch.stem.kernel, "act": arch.stem.act})
    yield "stem", "conv", stem, 1, arch.stem.width, arch.stem.stride, side, *_counts(found)
    width = arch.stem.width
    for index, stage in enumerate(arch.stages):
        found, side = stage_cost(stage, width, side, arch.padding)
        width = stage.width
        block = spec_document(stage.block, complete=True)
        op = block.pop("op")
        yield f"stage {index}", op, _settings(block), stage.depth, width, stage.stride, side, *_counts(found)
    found = head_cost(arch.head, width, side, num_classes)
    head = _settings({"act": arch.head.act, "classes": num_classes})
    yield "head", "conv, linear", head, 1, arch.head.width, 1, 1, *_counts(found)
    yield "sum", "", "", arch.num_blocks + 2, "", "", "", *_counts(total)


def _counts(found: "Cost") -> tuple[str, str]:
    return format_count(found.params), format_count(found.macs)


def _settings(document: dict[str, Any], prefix: str = "") -> str:
    """`kernel 3, expand 4, se.ratio 0.25`; weights that are static go without saying."""
    parts = [
        _settings(value, f"{prefix}{key}.") if isinstance(value, dict) else f"{prefix}{key} {value}"
        for key, value in document.items()
        if value != "static"
    ]
    return ", ".join(filter(None, parts))


def _check(arch: "Architecture", resolution: int, num_classes: int) -> "CrossCheck":
    """What independent counters find in the built network."""
    from proxies.cross_check import cross_check

    return cross_check(arch, resolution, num_classes)


def _check_document(counted: "CrossCheck") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(counted) | {"agrees": counted.agrees}


def _write_check(counted: "CrossCheck") -> None:
    write_line()
    write_table(
        [Column("counted by"), Column("params", is_number=True), Column("MACs", is_number=True)],
        [
            ("closed form", format_count(counted.params), format_count(counted.macs)),
            (
                "built network, FlopCounterMode / 2",
                format_count(counted.built_params),
                format_count(counted.flop_counter_macs),
            ),
            ("fvcore, convolutions and linear layers", "", format_count(counted.fvcore_macs)),
        ],
    )
    write_line("all agree" if counted.agrees else "the counts differ")
