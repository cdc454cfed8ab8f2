"""`nas bench`: how good the parts are, on a table of measured networks."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import COMPLETE_SPACE, AllowPlugins, Json, load_plugins
from cli.output import Column, write_json, write_line, write_table

if TYPE_CHECKING:
    from nas.prediction_bench import PredictionBench


def bench(
    table: Annotated[Path, typer.Argument(metavar="TABLE.csv", help="Networks and what was measured.")],
    space: Annotated[
        str,
        typer.Option(
            metavar="NAME_OR_FILE", help="The space that holds them.", autocompletion=COMPLETE_SPACE
        ),
    ],
    predict: Annotated[
        str, typer.Option(metavar="COLUMN", help="Predict this column; a rate is turned into a time.")
    ],
    rows: Annotated[int, typer.Option(min=1, help="Rows to fit; all others test.")] = 100,
    splits: Annotated[int, typer.Option(min=1, help="Random splits to average over.")] = 20,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help='Rows to leave out, such as "train_seconds>4500".'),
    ] = None,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Say how well a measured column is predicted from a few rows of its table."""
    from nas.prediction_bench import bench_prediction
    from results.table import read_table
    from search_spaces.space_document import load_space

    load_plugins(allow_plugins)
    found = load_space(space)
    networks = read_table(table, found, drop=drop or [])
    result = bench_prediction(networks, found, predict, rows=rows, splits=splits)
    if as_json:
        document = asdict(result)
        write_json(document | document.pop("predictor"))
    else:
        _write(result)


def _write(result: "PredictionBench") -> None:
    both = (
        ("learned from physical features", result.predictor),
        ("two terms: MACs, elements", result.two_term),
    )
    write_table(
        [Column("predictor"), Column("Kendall tau", True), Column("median error", True)],
        [(name, f"{each.kendall_tau:.3f}", f"{each.median_error:.1%}") for name, each in both],
    )
    write_line()
    write_line(
        f"90 % intervals: half-width {result.half_width:.1%}, cover {result.coverage:.1%} of held-out rows,"
        f" at least {result.lowest_coverage:.1%} in a split"
    )
    write_line(
        f"{result.column}: fitted on {result.rows} rows, tested on {result.test_rows},"
        f" mean of {result.splits} random splits"
    )
