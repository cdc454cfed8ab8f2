"""`nas space`: look at search spaces, draw from them, check and copy their documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import COMPLETE_SPACE, AllowPlugins, Json, SpaceName, load_plugins
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import format_count

if TYPE_CHECKING:
    from search_spaces.space import Space

app = typer.Typer(help="Search spaces: list, show, draw from, check, copy.", no_args_is_help=True)


@app.command("list")
def list_spaces(as_json: Json = False) -> None:
    """List the shipped spaces."""
    from search_spaces.shipped import SPACES, shipped_names, shipped_notes

    spaces = [{"name": name, "notes": shipped_notes(SPACES, name)} for name in shipped_names(SPACES)]
    if as_json:
        write_json(spaces)
        return
    write_table(
        [Column("space"), Column("what it holds")],
        [(space["name"], space["notes"] or "") for space in spaces],
    )


@app.command("show")
def show(name: SpaceName, as_json: Json = False, allow_plugins: AllowPlugins = False) -> None:
    """Show a space: its exact size and every choice in it."""
    from search_spaces.space_document import load_space

    load_plugins(allow_plugins)
    space = load_space(name)
    if as_json:
        write_json(_space_document(space))
        return
    write_line(f"{space.name}: {_size_text(space)}, {len(space.genes)} choices")
    if space.notes:
        write_line(space.notes)
    for title, parts in (("rule", space.rules), ("limit", space.limits)):
        for part in parts:
            write_line(f"{title}: {part}")
    if space.seeds:
        write_line(f"contains {', '.join(seed.name or seed.digest[:12] for seed in space.seeds)}")
    for first, second in space.coincidences:
        write_line(f"{first} and {second} can be equal and then count as one run: the size is an upper bound")
    if space.inert_choices:
        inert = ", ".join(space.inert_choices)
        write_line(f"some members are the same whatever is chosen for {inert}: the size is an upper bound")
    write_line()
    write_table(
        [Column("choice"), Column("options"), Column("")],
        [(gene.site, ", ".join(gene.labels), "shared" if gene.shared else "") for gene in space.genes],
    )


def _space_document(space: "Space") -> dict[str, Any]:
    return {
        "name": space.name,
        "size": space.size,
        "size_is_exact": space.size_is_exact,
        "coincidences": [list(pair) for pair in space.coincidences],
        "inert_choices": list(space.inert_choices),
        "points": [
            {
                "site": gene.site,
                "column": gene.column,
                "options": list(gene.labels),
                "shared": gene.shared,
            }
            for gene in space.genes
        ],
    }


def _size_text(space: "Space") -> str:
    sign = "" if space.size_is_exact else "<= "
    return f"{sign}{format_count(space.size)} architectures"


@app.command("sample")
def sample(
    name: SpaceName,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
    uniform: Annotated[
        bool, typer.Option("--uniform", help="Make every member equally likely, rather than every option.")
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="BOUND", help='Bound on a cost, such as "params<=30e6". Repeatable.'),
    ] = None,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Draw members at random, with their exact costs."""
    import numpy as np

    from nas.objectives import parse_bounds, with_limits
    from search_spaces.architecture import cost
    from search_spaces.limits import COST_NAMES
    from search_spaces.space_document import load_space

    load_plugins(allow_plugins)
    bounds = parse_bounds(limit or [])
    for bound in bounds:
        if not bound.is_exact:
            raise typer.BadParameter(
                f"{bound.name} is known only by measuring; bound {', '.join(COST_NAMES)}",
                param_hint="'--limit'",
            )
    space = with_limits(load_space(name), bounds)
    genes = space.sample(np.random.default_rng(seed), count, uniform=uniform)
    members = [space.decode(row) for row in genes]
    costs = [cost(member, space.resolution) for member in members]
    if as_json:
        write_json(
            [
                {
                    "digest": member.digest,
                    "params": found.params,
                    "macs": found.macs,
                    "architecture": member.to_document(),
                }
                for member, found in zip(members, costs, strict=True)
            ]
        )
        return
    write_table(
        [
            Column("digest"),
            Column("params", True),
            Column("MACs", True),
            Column("blocks", True),
            Column("depths"),
        ],
        [
            (
                member.digest[:12],
                format_count(found.params),
                format_count(found.macs),
                member.num_blocks,
                "-".join(str(stage.depth) for stage in member.stages),
            )
            for member, found in zip(members, costs, strict=True)
        ],
    )
    note(
        f"MACs: multiply-adds for one image of {space.resolution} px, 1,000 classes; --json has the networks"
    )


@app.command("validate")
def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The YAML document of a space.")],
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Check the document of a space; every problem is named with its line and column."""
    from search_spaces.space_document import load_space

    load_plugins(allow_plugins)
    space = load_space(file)
    if as_json:
        write_json({"valid": True, "name": space.name, "size": space.size})
    else:
        write_line(f"{file}: valid; {space.name} has {_size_text(space)}")


@app.command("copy")
def copy(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A shipped space.", autocompletion=COMPLETE_SPACE)
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a shipped space to edit it."""
    from search_spaces.shipped import SPACES, shipped_names

    if name not in shipped_names(SPACES):
        raise typer.BadParameter(
            f"no shipped space is called {name!r}{_suggestion(name, shipped_names(SPACES))}",
            param_hint="NAME",
        )
    content = (SPACES / f"{name}.yaml").read_bytes()
    try:
        with file.open("wb" if force else "xb") as target:
            target.write(content)
    except FileExistsError as error:
        raise typer.BadParameter(f"{file} exists; --force replaces it", param_hint="FILE") from error
    if as_json:
        write_json({"name": name, "file": str(file)})
    else:
        write_line(file)
        note(f"edit it, then check it with: nas space validate {file}")


def _suggestion(name: str, known: tuple[str, ...]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; shipped: {', '.join(known)}"
