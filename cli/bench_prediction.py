"""`nas bench --predict`: how well a column of a table is predicted, in one of three ways."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cli.output import Column, write_json, write_line, write_table

if TYPE_CHECKING:
    from nas.prediction_bench import PredictionBench
    from results.table import Table
    from search_spaces.space import Space


def run_prediction(
    table: "Table",
    space: "Space",
    column: str,
    *,
    roofline: str | None,
    source: str | None,
    anchors: int,
    rows: int,
    splits: int,
    as_json: bool,
) -> None:
    """Learn from the rows, or estimate by a roofline, or carry another column over; write what came of it."""
    from nas.prediction_bench import bench_prediction, bench_roofline, bench_transfer

    if roofline is not None and source is not None:
        raise typer.BadParameter("cannot be given with --roofline", param_hint="'--from'")
    if roofline is not None:
        result = bench_roofline(table, space, column, roofline, rows=rows, splits=splits)
    elif source is not None:
        result = bench_transfer(table, space, column, source, anchors=anchors, rows=rows, splits=splits)
    else:
        result = bench_prediction(table, space, column, rows=rows, splits=splits)
    if as_json:
        document = asdict(result)
        write_json(document | document.pop("predictor") | document.pop("others"))
    else:
        _write_prediction(result)


def _write_prediction(result: "PredictionBench") -> None:
    name = "learned from physical features" if result.method == "learned" else result.method
    both = (
        (name, result.predictor),
        *((other.replace("_", " "), each) for other, each in result.others.items()),
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
        f"{result.column}: {_what_rows_gave(result)}, tested on {result.test_rows},"
        f" mean of {result.splits} random splits"
    )


def _what_rows_gave(result: "PredictionBench") -> str:
    if result.method.startswith("roofline"):
        return f"one factor by {result.rows} rows"
    return f"fitted on {result.rows} rows"
