"""`nas scale`: grow an architecture by a rule."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    COMPLETE_ARCHITECTURE,
    COMPLETE_HARDWARE,
    AllowPlugins,
    Json,
    completed_from,
    load_plugins,
)
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import format_count

if TYPE_CHECKING:
    from nas.grown import Grown
    from nas.scaling import Factors, ScalingRule
    from search_spaces.architecture import Architecture


def _rule_names() -> list[str]:
    from nas.scaling import rule_names

    return rule_names()


def scale(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="A shipped architecture or a YAML file.",
            autocompletion=COMPLETE_ARCHITECTURE,
        ),
    ],
    rule: Annotated[
        str,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="compound, effnetv2, effnetv2-b, coatnet, ghostnet, parameternet, or a YAML file.",
            autocompletion=completed_from(_rule_names),
        ),
    ] = "compound",
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="A size that the rule lists, such as m or b3.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Factor of the widths.")] = None,
    depth: Annotated[float | None, typer.Option(help="Factor of the depths.")] = None,
    phi: Annotated[
        float | None, typer.Option(help="Depth alpha^phi, width beta^phi, resolution gamma^phi.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="With --phi; default: the rule's.")] = None,
    beta: Annotated[float | None, typer.Option(help="With --phi; default: the rule's.")] = None,
    gamma: Annotated[float | None, typer.Option(help="With --phi; default: the rule's.")] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Evaluation pixels; default: what the rule gives.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMITS",
            help="Grow to a budget, such as step_ms<=2x,params<=50e6; several make a family, in --out DIR.",
        ),
    ] = None,
    measured: Annotated[
        int, typer.Option("--measure", min=1, metavar="K", help="Directions of growth that are timed.")
    ] = 5,
    hardware: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FILE", help="What to time on.", autocompletion=COMPLETE_HARDWARE),
    ] = "auto",
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="With --to: step times that --hardware NAME would have."),
    ] = False,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="With --to: choose by accuracy on this data.")
    ] = None,
    proxy: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="With --data: the short training.")
    ] = "quick",
    new_name: Annotated[str | None, typer.Option("--name", help="What to call the result.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; default: standard output.")
    ] = None,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Scale an architecture: by a rule to a listed size or by factors, or to a budget (--to)."""
    from nas import scaling
    from search_spaces.document import load_architecture

    load_plugins(allow_plugins)
    if to:
        _refuse_beside_to(size, width, depth, phi, alpha, beta, gamma, resolution, new_name)
        settings = {"hardware": hardware, "measured": measured, "data": data, "proxy": proxy}
        _grow(name, to, out, as_json, estimate=estimate, **settings)
        return
    if estimate:
        raise ValueError("--estimate is for a limit on step_ms: --to 'step_ms<=2x'")
    arch, found = load_architecture(name), scaling.load_rule(rule)
    coefficients = {"alpha": alpha, "beta": beta, "gamma": gamma}
    if size is not None:
        _refuse_beside_size(width, depth, phi, resolution, *coefficients.values())
        grown = scaling.scale_to_size(arch, found, size, name=new_name)
    else:
        factors = _factors(found, width, depth, phi, coefficients)
        grown = scaling.scale(arch, found, factors, resolution=resolution, name=new_name)
    _put(arch, grown, out, as_json)


def _grow(name: str, to: list[str], out: Path | None, as_json: bool, **settings: Any) -> None:
    from nas.growing import family_document, grow, write_family

    growths = grow(name, to, **settings)
    file = write_family(growths, out) if out is not None else None
    if as_json:
        names = [f"{index}" for index in range(1, len(growths) + 1)]
        write_json(family_document(growths, names) | {"file": str(file) if file else None})
        return
    step = "estimated step ms" if growths[0].is_estimated else "step ms"
    titles = ("blocks", "at px", "params", "MACs", step, "accuracy")
    rows = [_grown_row("", growths[0].base)]
    for text, growth in zip(to, growths, strict=True):
        rows += [_grown_row(text if each is growth.best else "", each) for each in growth.members]
    write_table(
        [Column("budget"), Column("direction"), *(Column(title, is_number=True) for title in titles)], rows
    )
    note(
        "of each budget the first is chosen: with --data the most accurate, else the one with most MACs; "
        + ("step times are estimated, not measured; " if growths[0].is_estimated else "")
        + (f"written to {file}" if file else "nothing is written without --out DIR")
    )


def _grown_row(budget: str, grown: "Grown") -> tuple[str, ...]:
    counts = (format_count(int(grown.costs[key])) for key in ("params", "macs"))
    step = "-" if grown.step_ms is None else f"{grown.step_ms:.2f}"
    accuracy = "-" if grown.accuracy is None else f"{grown.accuracy:.4f}"
    blocks, side = str(grown.arch.num_blocks), str(grown.arch.eval_resolution)
    return budget, grown.direction, blocks, side, *counts, step, accuracy


def _refuse_beside_to(*given: object) -> None:
    if any(value is not None for value in given):
        raise ValueError("--to finds its own factors and sizes; leave out the options of rules")


def _refuse_beside_size(*given: float | None) -> None:
    if any(value is not None for value in given):
        raise ValueError("--size has its own factors and image sizes; leave out the other options")


def _factors(
    rule: "ScalingRule",
    width: float | None,
    depth: float | None,
    phi: float | None,
    coefficients: dict[str, float | None],
) -> "Factors":
    from nas.scaling import Compound, Factors

    changed = {key: value for key, value in coefficients.items() if value is not None}
    if phi is None:
        if changed:
            raise ValueError(f"--{next(iter(changed))} needs --phi")
        if width is None and depth is None:
            raise ValueError("say how much to grow: --size, --width and --depth, or --phi")
        return Factors(width=1.0 if width is None else width, depth=1.0 if depth is None else depth)
    if width is not None or depth is not None:
        raise ValueError("--phi gives width and depth; leave out --width and --depth")
    compound = rule.compound or Compound()
    return Compound(**(compound.model_dump() | changed)).factors(phi)


def _put(arch: "Architecture", grown: "Architecture", out: Path | None, as_json: bool) -> None:
    from results.filesystem import write_atomically
    from search_spaces.text import dump

    if out is not None:
        write_atomically(out, dump(grown.to_document()))
    if as_json:
        write_json(_document(grown) | {"base": _document(arch), "file": str(out) if out else None})
        return
    if out is None:
        for line in dump(grown.to_document()).splitlines():
            write_line(line)
        return
    write_table(
        [Column("network"), *(Column(title, True) for title in ("blocks", "at px", "params", "MACs"))],
        [_row(arch), _row(grown)],
    )
    note(f"written to {out}; MACs: multiply-adds for one image, 1,000 classes")


def _document(arch: "Architecture") -> dict[str, Any]:
    from search_spaces.architecture import cost

    found = cost(arch, arch.eval_resolution)
    return {
        "name": arch.name,
        "digest": arch.digest,
        "resolution": arch.eval_resolution,
        "params": found.params,
        "macs": found.macs,
        "architecture": arch.to_document(),
    }


def _row(arch: "Architecture") -> tuple[object, ...]:
    found = _document(arch)
    counts = (format_count(found[key]) for key in ("resolution", "params", "macs"))
    return found["name"] or "unnamed", arch.num_blocks, *counts
