"""Charts drawn by matplotlib, for PNG, SVG and print."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from results.plots.marks import Axis, Bars, Boxes, Line, Panel, Points, Strands, ThemeName, Verticals
from results.plots.theme import DASHES, SYMBOLS, THEMES, Theme

PANEL_INCHES = (7.0, 4.6)
NOTE_CHARACTERS = 110
"""As many of the note's small letters stand beside one another on a panel's width."""
BAR_INCHES = 0.24
NARROW_BOX = 4
"""Blocks; on a narrower box the text stands upright."""
MANY_POINTS = 2000
"""Above this the points of a mark are drawn as a picture inside an SVG, which stays small."""


def draw(title: str, panels: Sequence[Panel], note: str, theme_name: ThemeName) -> Figure:
    """The chart as a figure."""
    theme = THEMES[theme_name]
    width, height = PANEL_INCHES
    bars = [len(m.categories) * BAR_INCHES + 1.2 for p in panels for m in p.marks if isinstance(m, Bars)]
    figure = Figure(
        figsize=(width * len(panels), max([height, *bars])),
        facecolor=theme.background,
        layout="constrained",
    )
    figure.suptitle(title, color=theme.text, fontsize=12)
    for position, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), position)
        _draw_panel(axes, panel, theme)
    if note:
        figure.supxlabel(textwrap.fill(note, NOTE_CHARACTERS * len(panels)), color=theme.faint, fontsize=8)
    return figure


def _draw_panel(axes: Axes, panel: Panel, theme: Theme) -> None:
    axes.set_facecolor(theme.background)
    axes.set_title(panel.title, color=theme.text, fontsize=10)
    axes.grid(visible=True, color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.text, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.faint)
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    for mark in panel.marks:
        match mark:
            case Points():
                _draw_points(axes, mark, theme)
            case Line():
                _draw_line(axes, mark, theme)
            case Bars():
                _draw_bars(axes, mark, bars.index(mark), len(bars), theme)
            case Boxes():
                _draw_boxes(axes, mark, theme)
            case Strands():
                _draw_strands(axes, mark, theme)
            case Verticals():
                _draw_verticals(axes, mark, theme)
    _shape_axis(axes, "x", panel.x, theme)
    _shape_axis(axes, "y", panel.y, theme)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        legend = axes.legend(fontsize=8, facecolor=theme.background, edgecolor=theme.grid, framealpha=0.85)
        for text in legend.get_texts():
            text.set_color(theme.text)


def _shape_axis(axes: Axes, which: str, axis: Axis, theme: Theme) -> None:
    if axis.title:
        axes.set(**{f"{which}label": axis.title})
        getattr(axes, f"{which}axis").label.set_color(theme.text)
    if axis.is_log:
        axes.set(**{f"{which}scale": "log"})
    if axis.ends is not None:
        axes.set(**{f"{which}lim": axis.ends})


def _draw_points(axes: Axes, mark: Points, theme: Theme) -> None:
    colour = theme.faint if mark.is_faint else theme.colour(mark.slot)
    symbol = SYMBOLS[mark.slot % len(SYMBOLS)][1]
    for low, high, is_x in ((mark.x_low, mark.x_high, True), (mark.y_low, mark.y_high, False)):
        known = [i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a is not None and b is not None]
        ends = ([low[i] for i in known], [high[i] for i in known])
        across = [(mark.y if is_x else mark.x)[i] for i in known]
        draw_ends = axes.hlines if is_x else axes.vlines
        draw_ends(across, *ends, colors=colour, linewidth=1.0)  # type: ignore[arg-type]
    axes.scatter(
        mark.x,
        mark.y,
        s=9 if mark.is_faint else 34,
        marker=symbol,
        facecolors=theme.background if mark.is_hollow else colour,
        edgecolors=colour,
        alpha=0.45 if mark.is_faint else 1.0,
        linewidths=0 if mark.is_faint else 1.0,
        label=mark.label,
        rasterized=len(mark.x) > MANY_POINTS,
        zorder=2 if mark.is_faint else 3,
    )
    for name, x, y in zip(mark.names, mark.x, mark.y, strict=False):
        axes.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7, color=theme.text)


def _draw_line(axes: Axes, mark: Line, theme: Theme) -> None:
    axes.plot(
        mark.x,
        mark.y,
        color=theme.colour(mark.slot),
        linestyle=DASHES[mark.slot % len(DASHES)][1],
        linewidth=0.8 if mark.is_faint else 1.6,
        alpha=0.5 if mark.is_faint else 1.0,
        drawstyle="steps-post" if mark.is_stepped else "default",
        label=mark.label if mark.in_legend else "_",
    )


def _draw_bars(axes: Axes, mark: Bars, number: int, count: int, theme: Theme) -> None:
    thickness = 0.8 / count
    places = np.arange(len(mark.categories)) + (number - (count - 1) / 2) * thickness
    axes.barh(
        places,
        mark.values,
        height=thickness,
        xerr=mark.deviations or None,
        color=theme.colour(mark.slot),
        ecolor=theme.text,
        error_kw={"linewidth": 0.8},
        label=mark.label,
        hatch=("", "//", "..", "xx")[number % 4],
        edgecolor=theme.background,
    )
    axes.set_yticks(range(len(mark.categories)), mark.categories)
    axes.set_ylim(len(mark.categories) - 0.4, -0.6)


def _draw_boxes(axes: Axes, mark: Boxes, theme: Theme) -> None:
    axes.bar(
        mark.left,
        mark.heights,
        width=mark.widths,
        align="edge",
        color=theme.colour(mark.slot),
        edgecolor=theme.background,
        linewidth=1.5,
        label=mark.label,
        hatch=("", "//", "..", "xx")[mark.slot % 4],
        alpha=0.8,
    )
    for left, width, height, text in zip(mark.left, mark.widths, mark.heights, mark.texts, strict=True):
        is_narrow = width < NARROW_BOX
        axes.annotate(
            text.replace("\n", ", ") if is_narrow else text,
            (left + width / 2, height),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            rotation=90 if is_narrow else 0,
            fontsize=6.5,
            color=theme.text,
        )


def _draw_verticals(axes: Axes, mark: Verticals, theme: Theme) -> None:
    axes.vlines(
        mark.x, mark.low, mark.high, colors=theme.colour(mark.slot), linestyles=":", linewidth=0.9,
        label=mark.label,
    )  # fmt: skip
    for name, x in zip(mark.names, mark.x, strict=True):
        axes.annotate(
            name, (x, mark.high), xytext=(1.5, -2), textcoords="offset points", rotation=90, va="top",
            fontsize=6.5, color=theme.text,
        )  # fmt: skip


def _draw_strands(axes: Axes, mark: Strands, theme: Theme) -> None:
    heights = [_places(len(options)) for options in mark.options]
    lines = [
        [(place, heights[place][code] if code >= 0 else np.nan) for place, code in enumerate(row)]
        for row in mark.rows
    ]
    colours = LinearSegmentedColormap.from_list("strands", theme.scale)
    strands = LineCollection(
        [_kept(line) for line in lines],
        cmap=colours,
        norm=Normalize(min(mark.colours), max(mark.colours)) if mark.colours else None,
        linewidths=0.9,
        alpha=0.6,
        rasterized=len(lines) > MANY_POINTS,
    )
    strands.set_array(np.asarray(mark.colours))
    axes.add_collection(strands)
    axes.set_xlim(-0.4, len(mark.axes) - 0.4)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([])
    axes.set_xticks(range(len(mark.axes)), mark.axes, rotation=40, ha="right")
    for place, options in enumerate(mark.options):
        for height, option in zip(heights[place], options, strict=True):
            axes.annotate(
                option, (place, height), fontsize=7, color=theme.text, ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.15", "fc": theme.background, "ec": theme.grid, "lw": 0.5},
            )  # fmt: skip
    bar = axes.figure.colorbar(strands, ax=axes, pad=0.01)
    bar.set_label(mark.colour_title, color=theme.text, fontsize=8)
    bar.ax.tick_params(colors=theme.text, labelsize=7)


def _places(count: int) -> list[float]:
    return [0.5] if count == 1 else [index / (count - 1) for index in range(count)]


def _kept(line: Sequence[tuple[int, float]]) -> Any:
    """A strand without the axes at which it has no option."""
    return [point for point in line if not np.isnan(point[1])]
