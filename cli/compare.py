"""`nas compare`: runs side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import COMPLETE_RUN, Json
from cli.output import Column, write_json, write_line, write_table
from cli.values import parse_names

if TYPE_CHECKING:
    from results.comparison import Comparison, Member


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...",
            help="Two or more: directories, names under runs/, or latest.",
            autocompletion=COMPLETE_RUN,
        ),
    ],
    objectives: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Other objectives than the runs', such as accuracy,params."),
    ] = None,
    separate: Annotated[
        bool,
        typer.Option("--separate", help="Compare within each group of runs that were measured alike."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the fronts of runs: hypervolume, coverage, epsilon, repeats, and which network to take."""
    from results.compare import common_objectives, compare_loaded, require_several
    from results.likeness import like_groups
    from results.run import load_runs

    loaded = load_runs(*runs)
    require_several(loaded)
    given = None if objectives is None else parse_names(objectives)
    chosen = common_objectives(loaded, given)
    groups = like_groups(loaded, chosen) if separate else (loaded,)
    found = [compare_loaded(group, chosen) for group in groups if len(group) > 1]
    alone = [group[0].name for group in groups if len(group) == 1]
    if as_json:
        summaries = [comparison.summary() for comparison in found]
        write_json({"groups": summaries, "alone": alone} if separate else summaries[0])
        return
    for number, comparison in enumerate(found):
        if number:
            write_line()
        write_comparison(comparison)
    for name in alone:
        write_line(f"{name}: no other of these runs was measured like it")


def write_comparison(comparison: "Comparison") -> None:
    """A comparison for people."""
    names = [objective.name for objective in comparison.objectives]
    write_table(
        [
            Column("run"),
            *(Column(title, is_number=True) for title in ("evaluated", "front", "hypervolume")),
            Column("of joint front", is_number=True),
            Column("members on it", is_number=True),
            Column("only here", is_number=True),
        ],
        [
            (
                side.label,
                side.evaluated,
                len(side.front),
                f"{side.hypervolume:.6g}",
                _percent(side.share),
                side.num_joint,
                side.num_new,
            )
            for side in comparison.sides
        ],
    )
    if comparison.reference is not None:
        corner = ", ".join(f"{name} {comparison.reference[name]:.6g}" for name in names)
        write_line(f"hypervolume: of one reference for all, {corner}")
    write_line()
    _write_pairs(comparison)
    _write_repeats(comparison)
    _write_networks(comparison, names)


def _write_pairs(comparison: "Comparison") -> None:
    write_table(
        [
            Column("front of"),
            Column("against"),
            *(Column(title, is_number=True) for title in ("covers", "epsilon", "same networks")),
        ],
        [
            (
                pair.first,
                pair.second,
                _percent(pair.coverage),
                "-" if pair.epsilon is None else f"{pair.epsilon:.3f}",
                pair.same,
            )
            for pair in comparison.pairs
        ],
    )
    write_line(
        "covers: members of the other front that one of this equals or dominates; epsilon: what this front"
        " lacks to cover the other, in objectives scaled to 0..1 over these fronts"
    )


def _write_repeats(comparison: "Comparison") -> None:
    for group in comparison.repeats:
        volumes = group.summary()["hypervolume"]
        write_line(
            f"repeats that differ in their seeds alone: {', '.join(group.labels)}; hypervolume"
            f" {volumes['median']:.6g} in the median, {volumes['low']:.6g} to {volumes['high']:.6g}"
        )


def _write_networks(comparison: "Comparison", names: Sequence[str]) -> None:
    shared = comparison.shared
    on_several = sum(len(each.on_front_of) > 1 for each in shared)
    write_line(f"{len(shared)} networks were measured by several runs; {on_several} are on several fronts")
    for anchor in comparison.anchors:
        standing = (
            "no network of these runs dominates it"
            if not anchor.num_better
            else f"{anchor.num_better} of the {len(comparison.joint)} networks of the joint front dominate it"
        )
        write_line(f"{anchor.name} (in {anchor.label}): {standing}")
    taken = comparison.best()
    if taken is not None:
        write_line(f"to take, at the knee of the joint front: {_named(taken, names)}")


def _named(member: "Member", names: Sequence[str]) -> str:
    values = member.result.values(names)
    told = ", ".join(f"{name} {value:.6g}" for name, value in values.items() if value is not None)
    return f"candidate {member.result.id} of {member.label} ({told})"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f} %"
