"""The plot of an honest front: likely values with their intervals, and how sure each place is."""

from collections.abc import Sequence

from results.candidate import CandidateResult
from results.confirmations import honest as honest_networks
from results.honest import LIKELY, Honest
from results.pareto import Objective, non_dominated
from results.plots.chart import Chart
from results.plots.fronts import axes_of, axis_of, stair_line
from results.plots.marks import Axis, Bars, Mark, Panel, Points
from results.quantities import quantity
from results.run import Run

MAX_NAMED = 25
"""The most networks whose probabilities are drawn as bars."""


def honest(run: Run, *, x: str | None = None, y: str | None = None, seed: int = 0) -> Chart:
    """The honest front of a run; see `results.honest`.

    On the left the likely values of its members with 95 % intervals, each with the probability that no
    network truly dominates it; hollow where that is below a half. Faint: what the search's own front was
    measured as. On the right the probabilities, members first.

    Raises:
        RunError: no network was measured twice in an objective, so the noise is not known.
        ValueError: a quantity that is no objective of the run; only those have likely values.
    """
    across, up = axes_of(run.objectives, x, y)
    found = honest_networks(run, seed=seed)
    for objective in (across, up):
        if found and objective.name not in found[0].values:
            names = ", ".join(each.name for each in run.objectives)
            raise ValueError(f"{run.name}: {objective.name} has no likely values; choose of {names}")
    members = [each for each in found if each.is_member]
    marks = [_measured(run.pareto(), across, up), _likely_line(members, across, up)]
    for label, is_likely in (("honest front", True), (f"P below {LIKELY:g}", False)):
        chosen = [each for each in members if (each.probability >= LIKELY) == is_likely]
        if chosen:
            marks.append(_members(label, chosen, across, up, is_hollow=not is_likely))
    drawn = [mark for mark in marks if isinstance(mark, Points)]
    return Chart(
        title=f"Honest front of {run.name}",
        panels=(
            Panel(
                x=axis_of(across, [value for mark in drawn for value in mark.x]),
                y=axis_of(up, [value for mark in drawn for value in mark.y]),
                marks=tuple(marks),
            ),
            _probabilities(found),
        ),
        note=(
            "likely values: the mean of all measurements, drawn towards networks of like cost; bars are 95 %"
            " intervals, numbers the probability that no network truly dominates"
        ),
    )


def _measured(front: Sequence[CandidateResult], across: Objective, up: Objective) -> Points:
    points = [each.values((across.name, up.name)) for each in front]
    return Points(
        label="as the search measured its front",
        x=[point[across.name] or 0.0 for point in points],
        y=[point[up.name] or 0.0 for point in points],
        is_faint=True,
    )


def _likely_line(members: Sequence[Honest], across: Objective, up: Objective) -> Mark:
    points = [each.values for each in members]
    kept = [points[place] for place in non_dominated(points, (across, up))]
    return stair_line("honest front", kept, across, up, slot=0, in_legend=False)


def _members(
    label: str, members: Sequence[Honest], across: Objective, up: Objective, *, is_hollow: bool
) -> Points:
    def ends(name: str, end: str) -> list[float | None]:
        # An exact quantity has no interval.
        return [getattr(each, end)[name] if each.low[name] < each.high[name] else None for each in members]

    return Points(
        label=label,
        x=[each.values[across.name] for each in members],
        y=[each.values[up.name] for each in members],
        x_low=ends(across.name, "low"),
        x_high=ends(across.name, "high"),
        y_low=ends(up.name, "low"),
        y_high=ends(up.name, "high"),
        names=[f"{each.probability:.2f}" for each in members],
        texts=[_text(each) for each in members],
        is_hollow=is_hollow,
    )


def _text(each: Honest) -> str:
    lines = [f"candidate {each.id}", f"P(not dominated): {each.probability:.2f}"]
    for name, value in each.values.items():
        low, high = each.low[name], each.high[name]
        told = f"{value:.6g}" if low == high else f"{value:.4g} [{low:.4g}, {high:.4g}]"
        count = each.num_measurements.get(name)
        lines.append(f"{quantity(name).title}: {told}{f', measured {count} times' if count else ''}")
    return "\n".join(lines)


def _probabilities(found: Sequence[Honest]) -> Panel:
    """The probabilities of the members, and then of the likeliest others."""
    chosen = found[:MAX_NAMED]
    return Panel(
        title="probability that no network truly dominates",
        x=Axis(title="probability (0 to 1)", ends=(0.0, 1.0)),
        y=Axis(title="candidate"),
        marks=(
            Bars(
                label="P(not dominated)",
                categories=[f"{each.id}{'' if each.is_member else ', no member'}" for each in chosen],
                values=[each.probability for each in chosen],
            ),
        ),
    )
