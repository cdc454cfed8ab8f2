"""`nas compare`: runs side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import COMPLETE_ARCHITECTURE, COMPLETE_RUN, Json
from cli.output import Column, note, write_json, write_line, write_table
from cli.values import parse_names

if TYPE_CHECKING:
    from proxies.records import Outcome
    from results.comparison import Comparison, Member
    from results.run import Run


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
    anchors: Annotated[
        bool,
        typer.Option(
            "--anchors",
            help="Measure EfficientNetV2 B0 to L and EfficientNet B0 to B7 here first, as the runs were.",
        ),
    ] = False,
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            "--anchor",
            metavar="ARCH",
            help="Measure this network here first; may be given several times.",
            autocompletion=COMPLETE_ARCHITECTURE,
        ),
    ] = None,
    train_anchors: Annotated[
        bool,
        typer.Option("--train-anchors", help="Train them by the runs' proxy too, so that they have a place."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the fronts of runs: hypervolume, coverage, epsilon, repeats, and which network to take.

    Networks measured with --anchors or --anchor are kept beside the first run and shown from then on.
    """
    from results.compare import common_objectives, compare_loaded, require_several
    from results.likeness import like_groups, require_like
    from results.run import load_runs

    loaded = load_runs(*runs)
    require_several(loaded)
    given = None if objectives is None else parse_names(objectives)
    chosen = common_objectives(loaded, given)
    groups = like_groups(loaded, chosen) if separate else (loaded,)
    if train_anchors and not (anchors or anchor):
        raise typer.BadParameter("needs --anchors or --anchor NAME", param_hint="'--train-anchors'")
    if anchors or anchor:
        require_like(groups[0], chosen)
        for group in groups:
            measure_group(group, anchor or (), with_published=anchors, train=train_anchors, goes_on=separate)
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


def measure_group(
    runs: Sequence["Run"], names: Sequence[str], *, with_published: bool, train: bool, goes_on: bool
) -> None:
    """Measure published networks beside the first of runs that were measured alike, told as they come.

    With `goes_on`, runs that cannot be measured beside here are said and left out: of several kinds of
    hardware one is here at most.
    """
    from nas.published import measure_anchors
    from proxies.hardware import HardwareNotFoundError
    from results.anchors import IMAGENET_TOP1
    from results.errors import RunError

    def told(name: str, outcome: "Outcome") -> None:
        what = "timed" if outcome.kind == "time" else "trained"
        note(f"{name}: {what}, {outcome.status}{f': {outcome.reason}' if outcome.reason else ''}")

    chosen = tuple(dict.fromkeys([*(IMAGENET_TOP1 if with_published else ()), *names]))
    note(f"measuring as {runs[0].name} was measured: {', '.join(chosen)}")
    try:
        measure_anchors(runs[0], chosen, train=train, reuse=runs[1:], told=told)
    except (RunError, HardwareNotFoundError) as error:
        if not goes_on:
            raise
        note(f"not measured: {error}")


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
    _write_anchors(comparison, names)
    taken = comparison.best()
    if taken is not None:
        write_line(f"to take, at the knee of the joint front: {_named(taken, names)}")


def _write_anchors(comparison: "Comparison", names: Sequence[str]) -> None:
    """Published networks with what was measured of them, what they are known for, and how they stand."""
    if not comparison.anchors:
        return
    num_joint = len({member.result.digest for member in comparison.joint})
    write_line()
    write_table(
        [
            Column("published network"),
            Column("in"),
            *(Column(name, is_number=True) for name in names),
            Column("ImageNet top-1", is_number=True),
            Column(f"better of {num_joint}", is_number=True),
            Column("status"),
        ],
        [
            (
                anchor.name,
                anchor.label,
                *(_number(value) for value in anchor.result.values(names).values()),
                "-" if anchor.imagenet_top1 is None else f"{anchor.imagenet_top1:.3f}",
                "-" if anchor.num_better is None else anchor.num_better,
                anchor.standing,
            )
            for anchor in comparison.anchors
        ],
    )
    write_line(
        "better of: networks of the joint front that dominate it, once all objectives are measured of it;"
        " ImageNet top-1: as published, at its own resolution, no accuracy of these runs' proxy"
    )
    write_line()


def _named(member: "Member", names: Sequence[str]) -> str:
    values = member.result.values(names)
    told = ", ".join(f"{name} {_number(value)}" for name, value in values.items() if value is not None)
    return f"candidate {member.result.id} of {member.label} ({told})"


def _number(value: float | None) -> str:
    """A count in full, anything else to six digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1e6 else f"{value:.6g}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f} %"
