"""A plot of compared strategies: hypervolume by evaluations."""

from collections.abc import Mapping, Sequence

import numpy as np

from nas.strategy_bench import BenchPlan, Trace, interval
from results.plots.chart import Chart
from results.plots.marks import Axis, Line, Panel


def comparison(plan: BenchPlan, traces: Mapping[str, Sequence[Trace]]) -> Chart:
    """The mean of each strategy over its seeds, with the ends of its 95 % interval as faint lines."""
    marks = []
    for slot, (name, found) in enumerate(traces.items()):
        volumes = np.array([trace.hypervolume for trace in found])
        at = [float(number) for number in range(1, volumes.shape[1] + 1)]
        means = [interval(column) for column in volumes.T]
        marks.append(Line(label=name, x=at, y=[each.mean for each in means], slot=slot))
        if len(found) > 1:
            for end in ("low", "high"):
                values = [float(getattr(each, end)) for each in means]
                marks.append(Line(label=name, x=at, y=values, slot=slot, is_faint=True, in_legend=False))
    box = ", ".join(
        f"{objective.name} {low:g} to {high:g}"
        for objective, low, high in zip(plan.objectives, plan.reference, plan.ideal, strict=True)
    )
    return Chart(
        title="Search strategies on one table",
        panels=(
            Panel(
                x=Axis(title="networks evaluated"),
                y=Axis(title="hypervolume (share of the box)"),
                marks=tuple(marks),
            ),
        ),
        note=f"box: {box}; mean of {plan.seeds} seeds, faint: its 95 % interval",
    )
