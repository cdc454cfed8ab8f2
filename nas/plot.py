"""Plots of runs and networks.

    nas.plot.front(nas.load_run("a"), nas.load_run("b")).save("fronts.png")
    nas.plot.hypervolume(run).plotly()              # interactive, in a notebook

Each function returns a `Chart`, which shows itself in a notebook. The libraries that draw are the extra
`plot` (matplotlib, plotly) and are loaded when something is drawn.
"""

from results.plots.agreement import correlation
from results.plots.chart import Chart
from results.plots.fronts import attainment, front
from results.plots.honest import honest
from results.plots.networks import importance, parallel, stages
from results.plots.progress import hypervolume, learning_curves
from results.plots.timing import timing

__all__ = [
    "Chart",
    "attainment",
    "correlation",
    "front",
    "honest",
    "hypervolume",
    "importance",
    "learning_curves",
    "parallel",
    "stages",
    "timing",
]
