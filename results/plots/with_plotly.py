"""Charts drawn by plotly: interactive, in notebooks and in HTML files."""

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from results.plots.marks import Axis, Bars, Boxes, Line, Mark, Panel, Points, Strands, ThemeName, Verticals
from results.plots.theme import DASHES, SYMBOLS, THEMES, Theme

PANEL_PIXELS = (680, 460)
NOTE_CHARACTERS = 100
"""As many of the note's small letters stand beside one another on a panel's width."""
BAR_PIXELS = 22
PATTERNS = ("", "/", ".", "x")
NAME_LEVELS = 8
"""Names of neighbouring upright lines stand on so many levels, so that they do not cover one another."""


def draw(title: str, panels: Sequence[Panel], note: str, theme_name: ThemeName) -> go.Figure:
    """The chart as a figure."""
    theme = THEMES[theme_name]
    has_strands = any(isinstance(mark, Strands) for panel in panels for mark in panel.marks)
    bars = [len(m.categories) * BAR_PIXELS + 140 for p in panels for m in p.marks if isinstance(m, Bars)]
    figure = go.Figure() if has_strands else make_subplots(
        rows=1, cols=len(panels), subplot_titles=[panel.title for panel in panels]
    )  # fmt: skip
    shown: set[str] = set()
    for column, panel in enumerate(panels, start=1):
        for mark in panel.marks:
            trace = _trace(mark, theme, in_legend=_label(mark) not in shown)
            if isinstance(mark, Strands) or trace.showlegend:
                shown.add(_label(mark))
            figure.add_trace(trace, **({} if has_strands else {"row": 1, "col": column}))
        if not has_strands:
            figure.update_xaxes(**_axis(panel.x, theme), row=1, col=column)
            figure.update_yaxes(**_axis(panel.y, theme), **_direction(panel), row=1, col=column)
    width, height = PANEL_PIXELS
    has_titles = any(panel.title for panel in panels)
    lines = textwrap.wrap(note, NOTE_CHARACTERS * len(panels))
    figure.update_layout(
        title={"text": title + "".join(f"<br><sub>{line}</sub>" for line in lines)},
        width=width * len(panels),
        height=max([height, *bars]),
        paper_bgcolor=theme.background,
        plot_bgcolor=theme.background,
        font={"color": theme.text},
        barmode="group",
        hovermode="closest",
        margin={"l": 70, "r": 30, "t": 90 + 14 * max(0, len(lines) - 1) + 24 * has_titles, "b": 70},
    )
    figure.update_annotations(font={"color": theme.text})
    return figure


def _label(mark: Mark) -> str:
    return "" if isinstance(mark, Strands) else mark.label


def _axis(axis: Axis, theme: Theme) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": {"text": axis.title},
        "gridcolor": theme.grid,
        "linecolor": theme.faint,
        "zerolinecolor": theme.grid,
        "automargin": True,
    }
    if axis.is_log:
        found["type"] = "log"
    if axis.ends is not None:
        found["range"] = list(axis.ends)
    return found


def _direction(panel: Panel) -> dict[str, Any]:
    return {"autorange": "reversed"} if any(isinstance(mark, Bars) for mark in panel.marks) else {}


def _trace(mark: Mark, theme: Theme, *, in_legend: bool) -> Any:
    match mark:
        case Points():
            return _points(mark, theme, in_legend)
        case Line():
            return go.Scatter(
                x=list(mark.x),
                y=list(mark.y),
                name=mark.label,
                mode="lines",
                showlegend=in_legend and mark.in_legend,
                legendgroup=mark.label,
                opacity=0.5 if mark.is_faint else 1.0,
                line={
                    "color": theme.colour(mark.slot),
                    "dash": DASHES[mark.slot % len(DASHES)][0],
                    "width": 1 if mark.is_faint else 2,
                    "shape": "hv" if mark.is_stepped else "linear",
                },
            )
        case Bars():
            return go.Bar(
                x=list(mark.values),
                y=list(mark.categories),
                orientation="h",
                name=mark.label,
                showlegend=in_legend,
                marker={"color": theme.colour(mark.slot), "pattern": {"shape": PATTERNS[mark.slot % 4]}},
                error_x={"array": list(mark.deviations), "color": theme.text} if mark.deviations else None,
            )
        case Boxes():
            return go.Bar(
                x=[left + width / 2 for left, width in zip(mark.left, mark.widths, strict=True)],
                y=list(mark.heights),
                width=list(mark.widths),
                name=mark.label,
                text=[text.replace("\n", "<br>") for text in mark.texts],
                textposition="outside",
                showlegend=in_legend,
                marker={"color": theme.colour(mark.slot), "pattern": {"shape": PATTERNS[mark.slot % 4]}},
            )
        case Strands():
            return _strands(mark, theme)
        case Verticals():
            return _verticals(mark, theme, in_legend)


def _verticals(mark: Verticals, theme: Theme, in_legend: bool) -> Any:
    """One trace of all lines; names stand at their upper ends, on several levels in turn."""
    x: list[float | None] = []
    y: list[float | None] = []
    names: list[str] = []
    hover: list[str] = []
    for place, (at, name, text) in enumerate(zip(mark.x, mark.names, mark.texts, strict=True)):
        lowered = mark.high - (place % NAME_LEVELS) * (mark.high - mark.low) / 16
        x += [at, at, at, None]
        y += [mark.low, lowered, mark.high, None]
        names += ["", name, "", ""]
        hover += [text.replace("\n", "<br>")] * 3 + [""]
    return go.Scatter(
        x=x,
        y=y,
        name=mark.label,
        mode="lines+text",
        text=names,
        textposition="middle right",
        textfont={"size": 9},
        hovertext=hover,
        hoverinfo="text",
        showlegend=in_legend,
        line={"color": theme.colour(mark.slot), "dash": "dot", "width": 1},
    )


def _points(mark: Points, theme: Theme, in_legend: bool) -> Any:
    colour = theme.faint if mark.is_faint else theme.colour(mark.slot)
    symbol = SYMBOLS[mark.slot % len(SYMBOLS)][0]
    kind = go.Scattergl if mark.is_faint else go.Scatter
    return kind(
        x=list(mark.x),
        y=list(mark.y),
        name=mark.label,
        mode="markers+text" if mark.names else "markers",
        text=list(mark.names) or None,
        textposition="top right",
        hovertext=[text.replace("\n", "<br>") for text in mark.texts] or None,
        hoverinfo="text" if mark.texts else None,
        showlegend=in_legend,
        legendgroup=mark.label,
        error_x=_intervals(mark.x, mark.x_low, mark.x_high, colour),
        error_y=_intervals(mark.y, mark.y_low, mark.y_high, colour),
        marker={
            "color": colour,
            "symbol": f"{symbol}-open" if mark.is_hollow else symbol,
            "size": 4 if mark.is_faint else 9,
            "opacity": 0.45 if mark.is_faint else 1.0,
        },
    )


def _intervals(
    values: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour: str
) -> dict[str, Any] | None:
    if not low:
        return None
    above = [None if end is None else end - value for value, end in zip(values, high, strict=True)]
    below = [None if end is None else value - end for value, end in zip(values, low, strict=True)]
    return {"type": "data", "array": above, "arrayminus": below, "color": colour, "thickness": 1, "width": 3}


def _strands(mark: Strands, theme: Theme) -> Any:
    """plotly's parallel coordinates; "none" takes the place of what a strand does not have."""
    dimensions = []
    for place, (title, options) in enumerate(zip(mark.axes, mark.options, strict=True)):
        codes = [row[place] for row in mark.rows]
        lacks = min(codes, default=0) < 0
        ticks = [-1, *range(len(options))] if lacks else list(range(len(options)))
        dimensions.append(
            {
                "label": title,
                "values": codes,
                "tickvals": ticks,
                "ticktext": ["none", *options] if lacks else list(options),
            }
        )
    scale = [[i / (len(theme.scale) - 1), colour] for i, colour in enumerate(theme.scale)]
    return go.Parcoords(
        dimensions=dimensions,
        labelangle=-40,
        line={
            "color": list(mark.colours),
            "colorscale": scale,
            "showscale": True,
            "colorbar": {"title": {"text": mark.colour_title}},
        },
    )
