"""`nas report`: a run, or several, as one HTML file to open, send and keep."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import COMPLETE_RUN, Json
from cli.output import write_json, write_line


def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Directories, names under runs/, or latest.",
            autocompletion=COMPLETE_RUN,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Where to write it; default for one run: its report.html."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a report that opens in any browser, without a network; also of a run that is still going on."""
    from results.report.page import write_report
    from results.run import load_run

    runs = [load_run(name) for name in names]
    if out is None and len(runs) > 1:
        raise typer.BadParameter(
            "a report of several runs needs a name; give --out FILE.html", param_hint="--out"
        )
    file = write_report(runs, out or runs[0].path / "report.html")
    if as_json:
        write_json({"file": str(file), "bytes": file.stat().st_size, "runs": [run.name for run in runs]})
        return
    write_line(file)
