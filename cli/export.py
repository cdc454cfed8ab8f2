"""`nas export`: architectures to take away."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, RunName
from cli.output import write_json, write_line


def export(
    name: RunName,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write them.")],
    top: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Only the best K of the front; default: all of it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the best architectures of a run as YAML, each accepted wherever an architecture is."""
    from nas.api import export as export_run
    from results.errors import RunError, RunWriteError

    try:
        files = export_run(name, top=top, out=out)
    except RunWriteError as error:  # nothing to resume here
        raise RunError(str(error)) from error
    if not files:
        raise RunError(f"{name} has no front yet, so there is nothing to export")
    if as_json:
        write_json({"files": [str(file) for file in files]})
        return
    for file in files:
        write_line(file)
