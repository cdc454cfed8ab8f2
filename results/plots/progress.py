"""Plots of how searches went: hypervolume against evaluations and against time, and learning curves."""

from collections.abc import Mapping, Sequence

from results.compare import common_objectives
from results.directory import LEDGER_NAME
from results.ledger import Ledger
from results.likeness import require_like
from results.pareto import default_reference
from results.plots.chart import Chart
from results.plots.marks import Axis, Line, Panel
from results.quantities import quantity
from results.run import Run

UNITS = {"accuracy": "fraction"}
"""Shorter than elsewhere, where several stand in one title."""
MAX_CURVES = 200
"""More learning curves than this are an even selection."""


def hypervolume(*runs: Run, reference: Mapping[str, float] | None = None) -> Chart:
    """How the hypervolume of each run grew, of one reference for all: the one given, else that of everything
    that any of them measured.

    Raises:
        UnlikeRunsError: runs differ in what an objective depends on.
        ValueError: no run.
    """
    if not runs:
        raise ValueError("no run to draw; give one or more")
    objectives = common_objectives(runs, None)
    require_like(runs, objectives)
    names = [objective.name for objective in objectives]
    points = [each.values(names) for run in runs for each in run.candidates() if each.is_measured]
    corner = reference if reference is not None else default_reference(points, objectives)
    by_count, by_time = [], []
    for slot, run in enumerate(runs):
        moments = [each for each in run.moments(corner) if each.hypervolume is not None]
        timed = [each for each in moments if each.seconds is not None]
        volumes = [each.hypervolume or 0.0 for each in moments]
        counts = [float(each.evaluated) for each in moments]
        by_count.append(Line(label=run.name, x=counts, y=volumes, slot=slot, is_stepped=True))
        by_time.append(
            Line(
                label=run.name,
                x=[(each.seconds or 0.0) / 60.0 for each in timed],
                y=[each.hypervolume or 0.0 for each in timed],
                slot=slot,
                is_stepped=True,
            )
        )
    units = " × ".join(unit for name in names if (unit := UNITS.get(name) or quantity(name).unit))
    upright = Axis(title=f"hypervolume of {', '.join(names)}{f' ({units})' if units else ''}")
    told = "none" if corner is None else ", ".join(f"{name} {corner[name]:.4g}" for name in names)
    return Chart(
        title="Hypervolume of the front",
        panels=(
            Panel(x=Axis(title="candidates evaluated"), y=upright, marks=tuple(by_count)),
            Panel(x=Axis(title="time spent searching (minutes)"), y=upright, marks=tuple(by_time)),
        ),
        note=f"reference: {told}",
    )


def learning_curves(run: Run, metric: str = "accuracy") -> Chart:
    """A metric over the epochs (or the task's own steps) of each training; those of the front stand out.

    Of more than 200 trainings off the front an even selection is drawn.

    Raises:
        ValueError: no training reported the metric.
    """
    members = {member.digest: member for member in run.pareto()}
    curves = learning_curve_points(run, metric)
    if not curves:
        raise ValueError(f"{run.name}: no training reported {metric} on its way, so there is no curve")
    others = [curve for digest, curve in curves if digest not in members]
    if len(others) > MAX_CURVES:
        others = [others[index * len(others) // MAX_CURVES] for index in range(MAX_CURVES)]
    marks = [_curve(f"{len(others)} off the front", curve, 0, faint=True) for curve in others[:1]]
    marks += [_curve("off the front", curve, 0, faint=True, in_legend=False) for curve in others[1:]]
    for digest, curve in curves:
        if digest in members:
            slot = 1 + list(members).index(digest)
            marks.append(_curve(f"candidate {members[digest].id}", curve, slot))
    return Chart(
        title=f"Learning curves of {run.name}",
        panels=(Panel(x=Axis(title="epoch"), y=Axis(title=quantity(metric).title), marks=tuple(marks)),),
        note="as reported during training, on the part of the validation images that is looked at then",
    )


def learning_curve_points(run: Run, metric: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Digest and curve of each training that reported `metric`, as the ledger has them now."""
    if not (run.path / LEDGER_NAME).exists():
        return []
    with Ledger.open(run.path / LEDGER_NAME, read_only=True) as ledger:
        outcomes = ledger.outcomes("train")
    found = []
    for outcome in outcomes:
        points = outcome.details.get("learning_curve") or []
        curve = [(float(step), float(values[metric])) for step, values in points if metric in values]
        if curve:
            found.append((outcome.digest, curve))
    return found


def _curve(
    label: str,
    points: Sequence[tuple[float, float]],
    slot: int,
    *,
    faint: bool = False,
    in_legend: bool = True,
) -> Line:
    return Line(
        label=label,
        x=[x for x, _ in points],
        y=[y for _, y in points],
        slot=slot,
        is_faint=faint,
        in_legend=in_legend,
    )
