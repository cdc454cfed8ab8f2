"""Plots of fronts: one or several, with intervals and published networks."""

from collections.abc import Mapping, Sequence

from results.anchors import Published, published_networks
from results.attainment import attainment_surfaces
from results.candidate import CandidateResult
from results.compare import common_objectives
from results.likeness import require_like
from results.pareto import Objective, non_dominated
from results.plots.chart import Chart
from results.plots.marks import Axis, Line, Mark, Panel, Points, Verticals
from results.quantities import quantity
from results.run import Run

_LOG_RATIO = 20.0
"""An axis whose values span more than this factor is logarithmic."""


def front(
    *runs: Run, x: str | None = None, y: str | None = None, with_all: bool = True, with_anchors: bool = True
) -> Chart:
    """The fronts of runs in two of their objectives; by default accuracy (or the first) over step time.

    Members are those of the front in all objectives; the line is the front in the two that are drawn.
    Hollow members are provisional. Bars are 95 % intervals where a quantity has them (`step_ms_low`,
    `step_ms_high`). `with_all` adds all other measured networks, `with_anchors` names published ones: points
    where both quantities were measured, upright lines where only the one across was (a step time, say, of
    networks that the proxy did not train; see `nas.measure_anchors`).

    Raises:
        UnlikeRunsError: runs differ in what a drawn quantity depends on.
        ValueError: no run, or a quantity without a known direction.
    """
    if not runs:
        raise ValueError("no run to draw; give one or more")
    known = common_objectives(runs, None)
    across, up = axes_of(known, x, y)
    require_like(runs, (across, up))
    marks: list[Mark] = []
    if with_all:
        marks.append(_others(runs, across, up))
    for slot, run in enumerate(runs):
        members = _having(run.pareto(), across, up)
        marks.append(_stairs(run.name, members, across, up, slot))
        for provisional in (False, True):
            chosen = [member for member in members if member.is_provisional == provisional]
            if chosen:
                label = f"{run.name}, provisional" if provisional else run.name
                marks.append(_members(label, chosen, across, up, known, slot, is_hollow=provisional))
    if with_anchors:
        marks += _anchors(runs, across, up, marks, slot=len(runs))
    drawn = [mark for mark in marks if isinstance(mark, (Points, Verticals))]
    return Chart(
        title="Pareto front" if len(runs) == 1 else "Pareto fronts",
        panels=(
            Panel(
                x=axis_of(across, [v for mark in drawn for v in mark.x]),
                y=axis_of(up, [v for mark in drawn if isinstance(mark, Points) for v in mark.y]),
                marks=tuple(marks),
            ),
        ),
        note=_note(runs, known),
    )


def attainment(*runs: Run, x: str | None = None, y: str | None = None) -> Chart:
    """What repeats of a search attained in two objectives: some, half and all of the runs.

    Raises:
        UnlikeRunsError, ValueError: as `front`.
    """
    if not runs:
        raise ValueError("no run to draw; give two or more")
    across, up = axes_of(common_objectives(runs, None), x, y)
    require_like(runs, (across, up))
    names = (across.name, up.name)
    fronts = [
        [member.values(names) for member in members]
        for run in runs
        if (members := _having(run.pareto((across, up)), across, up))
    ]
    surfaces = attainment_surfaces(fronts, (across, up)) if fronts else {}
    levels = {
        "any run": 1,
        f"half of the {len(fronts)} runs": (len(fronts) + 1) // 2,
        f"all {len(fronts)} runs": len(fronts),
    }
    lines = tuple(
        stair_line(label, surfaces[level], across, up, slot)
        for slot, (label, level) in enumerate(levels.items())
        if level in surfaces
    )
    return Chart(
        title="What repeated searches attained",
        panels=(
            Panel(
                x=axis_of(across, [v for line in lines for v in line.x]),
                y=axis_of(up, [v for line in lines for v in line.y]),
                marks=lines,
            ),
        ),
        note=f"fronts in these two quantities of {', '.join(run.name for run in runs)}",
    )


def axes_of(known: Sequence[Objective], x: str | None, y: str | None) -> tuple[Objective, Objective]:
    """The two quantities to draw, across and up, with their directions: those named, else the usual ones."""
    by_name = {objective.name: objective for objective in known}

    def objective(name: str) -> Objective:
        return by_name.get(name) or Objective.parse(name)

    names = list(by_name)
    up = y or ("accuracy" if "accuracy" in by_name else names[0])
    usual = ("step_ms", "estimated_step_ms", *names, "params")
    across = x or next(name for name in usual if name != up and (name in by_name or name == "params"))
    return objective(across), objective(up)


def _having(results: Sequence[CandidateResult], across: Objective, up: Objective) -> list[CandidateResult]:
    return [each for each in results if None not in each.values((across.name, up.name)).values()]


def _numbers(results: Sequence[CandidateResult], name: str) -> list[float]:
    return [value for each in results if (value := each.value(name)) is not None]


def _others(runs: Sequence[Run], across: Objective, up: Objective) -> Points:
    found = []
    for run in runs:
        members = {member.id for member in run.pareto()}
        measured = [each for each in run.candidates() if each.is_measured and each.id not in members]
        found += _having(measured, across, up)
    return Points(
        label="other networks", x=_numbers(found, across.name), y=_numbers(found, up.name), is_faint=True
    )


def _members(
    label: str,
    members: Sequence[CandidateResult],
    across: Objective,
    up: Objective,
    known: Sequence[Objective],
    slot: int,
    *,
    is_hollow: bool,
) -> Points:
    def ends(name: str, end: str) -> list[float | None]:
        return [member.value(f"{name}_{end}") for member in members]

    names = dict.fromkeys([objective.name for objective in known] + [across.name, up.name])
    return Points(
        label=label,
        x=_numbers(members, across.name),
        y=_numbers(members, up.name),
        x_low=ends(across.name, "low"),
        x_high=ends(across.name, "high"),
        y_low=ends(up.name, "low"),
        y_high=ends(up.name, "high"),
        slot=slot,
        is_hollow=is_hollow,
        texts=[
            "\n".join([f"{label}: candidate {member.id}", *(_told(member, name) for name in names)])
            for member in members
        ],
    )


def _told(member: CandidateResult, name: str) -> str:
    value = member.value(name)
    return f"{quantity(name).title}: {'-' if value is None else f'{value:.6g}'}"


def _stairs(
    label: str, members: Sequence[CandidateResult], across: Objective, up: Objective, slot: int
) -> Line:
    points = [member.values((across.name, up.name)) for member in members]
    kept = [points[position] for position in non_dominated(points, (across, up))]
    return stair_line(label, kept, across, up, slot, in_legend=False)


def stair_line(
    label: str,
    points: Sequence[Mapping[str, float | None]],
    across: Objective,
    up: Objective,
    slot: int,
    *,
    in_legend: bool = True,
) -> Line:
    """From the best to the worst along the axis that is drawn across: the region behind it is dominated."""
    pairs = sorted(
        ((point[across.name] or 0.0, point[up.name] or 0.0) for point in points),
        key=lambda pair: across.sign * pair[0],
    )
    return Line(
        label=label,
        x=[pair[0] for pair in pairs],
        y=[pair[1] for pair in pairs],
        slot=slot,
        is_stepped=True,
        in_legend=in_legend,
    )


def _anchors(
    runs: Sequence[Run], across: Objective, up: Objective, others: Sequence[Mark], slot: int
) -> list[Mark]:
    """Published networks, each once: as points, and as upright lines over the height of the other marks."""
    found = {each.name: each for run in runs for each in published_networks(run)}
    placed = [each for each in found.values() if _having([each.result], across, up)]
    timed = [
        each for each in found.values() if each not in placed and each.result.value(across.name) is not None
    ]
    marks: list[Mark] = []
    if placed:
        results = [each.result for each in placed]
        marks.append(
            Points(
                label="published networks",
                x=_numbers(results, across.name),
                y=_numbers(results, up.name),
                names=[each.name for each in placed],
                texts=[_anchor_text(each, across, up) for each in placed],
                slot=slot,
            )
        )
    heights = [value for mark in [*others, *marks] if isinstance(mark, Points) for value in mark.y]
    if timed and heights:
        marks.append(
            Verticals(
                label=f"published networks, {quantity(across.name).label} alone",
                x=_numbers([each.result for each in timed], across.name),
                low=min(heights),
                high=max(heights),
                names=[each.name for each in timed],
                texts=[_anchor_text(each, across, up) for each in timed],
                slot=slot,
            )
        )
    return marks


def _anchor_text(anchor: Published, across: Objective, up: Objective) -> str:
    known = "not stated here" if anchor.imagenet_top1 is None else f"{anchor.imagenet_top1:.3f}"
    return "\n".join(
        [
            anchor.name,
            *(_told(anchor.result, each.name) for each in (across, up)),
            f"ImageNet top-1 as published, no accuracy of this proxy: {known}",
        ]
    )


def axis_of(objective: Objective, values: Sequence[float]) -> Axis:
    """The axis of a quantity, which says what is better; logarithmic where the values drawn span much."""
    better = "larger" if objective.direction == "maximize" else "smaller"
    return Axis(title=f"{quantity(objective.name).title}, {better} is better", is_log=is_wide(values))


def is_wide(values: Sequence[float]) -> bool:
    """Whether positive values span so much that only a logarithmic axis shows the small ones."""
    return bool(values) and min(values) > 0.0 and max(values) > _LOG_RATIO * min(values)


def _note(runs: Sequence[Run], known: Sequence[Objective]) -> str:
    device = (runs[0].config.get("hardware") or {}).get("device")
    of = ", ".join(quantity(objective.name).label for objective in known)
    return f"front in {of}; bars are 95 % intervals" + (f"; measured on {device}" if device else "")
