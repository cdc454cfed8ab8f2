"""`nas confirm`: a front without the winner's curse."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Json, RunName
from cli.output import Column, note, write_json, write_line, write_table

if TYPE_CHECKING:
    from results.honest import Honest


def confirm(
    name: RunName,
    timings: Annotated[int, typer.Option(min=0, metavar="N", help="Fresh timings of each network.")] = 1,
    seeds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Fresh trainings of each, from new seeds.")
    ] = 1,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="How many networks at most; default: as many as the front has."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the front again, and say how likely each network is truly on it.

    With --timings 0 --seeds 0 nothing is measured, and what is known is told.
    """
    from results.confirmations import honest
    from results.run import load_run

    run = load_run(name)
    if timings or seeds:
        from nas.confirming import confirm as confirm_run

        note(f"measuring the likely members of {run.name} again")
        found = confirm_run(run, timings=timings, seeds=seeds, top=top)
    else:
        found = honest(run)
    if as_json:
        write_json([asdict(each) for each in found])
        return
    write_honest(found, [objective.name for objective in run.objectives])


def write_honest(found: Sequence["Honest"], names: Sequence[str]) -> None:
    """The honest front for people."""
    members = [each for each in found if each.is_member]
    write_table(
        [
            Column("id", is_number=True),
            Column("P(not dominated)", is_number=True),
            *(Column(f"{name} [95 % interval]", is_number=True) for name in names),
            Column("measured", is_number=True),
        ],
        [
            (
                each.id,
                f"{each.probability:.2f}",
                *(_interval(each, name) for name in names),
                "+".join(str(number) for number in each.num_measurements.values()) or "-",
            )
            for each in members
        ],
    )
    write_line(
        f"{len(members)} of {len(found)} networks are on the honest front: likely values, drawn towards those"
        " of networks of like cost as far as repeats differ; measured: how often, by quantity"
    )


def _interval(each: "Honest", name: str) -> str:
    low, value, high = each.low[name], each.values[name], each.high[name]
    return f"{value:.6g}" if low == high else f"{value:.4g} [{low:.4g}, {high:.4g}]"
