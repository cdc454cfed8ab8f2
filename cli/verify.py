"""`nas verify`: whether files that left are what was written."""

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import ExitCode, report
from cli.options import AllowPlugins, Json, load_plugins
from cli.output import Column, write_json, write_table


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What nas export wrote.")],
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Check exported files: their checksums, and that each is still the network that it names."""
    from nas.deploy.verify import Verified
    from nas.deploy.verify import verify as verify_file
    from nas.errors import ExportError

    load_plugins(allow_plugins)
    verified: list[Verified] = []
    failed = False
    for file in files:
        try:
            verified.append(verify_file(file))
        except (ExportError, ValueError) as error:
            report(error)
            failed = True
    if as_json:
        write_json(
            [
                {
                    "file": str(each.file),
                    "kind": each.kind,
                    "digest": each.digest,
                    "has_checksum": each.has_checksum,
                    "round_trip": each.round_trip,
                }
                for each in verified
            ]
        )
    elif verified:
        write_table(
            [Column("file"), Column("kind"), Column("network"), Column("checksum"), Column("round trip")],
            [
                (
                    each.file,
                    each.kind,
                    each.digest[:12],
                    "holds" if each.has_checksum else "none",
                    each.round_trip,
                )
                for each in verified
            ],
        )
    if failed:
        raise typer.Exit(ExitCode.FAILURE)
