"""A plot, drawn by matplotlib for pictures and print and by plotly for notebooks and HTML."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.errors import RunError
from results.filesystem import write_atomically
from results.plots.marks import Panel, ThemeName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
FORMATS = ("png", "svg", "pdf", "html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A plot of one or more panels, side by side; `note` says what its numbers are of.

    In a notebook it shows itself as a picture, which prints and stays readable on any background;
    `plotly()` gives an interactive one.
    """

    title: str
    panels: tuple[Panel, ...]
    note: str = ""

    def matplotlib(self, *, theme: ThemeName = "light") -> "Figure":
        """The plot as a matplotlib figure, without pyplot and its global state.

        Raises:
            RunError: matplotlib is not installed.
        """
        try:
            from results.plots.with_matplotlib import draw
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        return draw(self.title, self.panels, self.note, theme)

    def plotly(self, *, theme: ThemeName = "light") -> Any:
        """The plot as an interactive `plotly.graph_objects.Figure`.

        Raises:
            RunError: plotly is not installed.
        """
        try:
            from results.plots.with_plotly import draw
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        return draw(self.title, self.panels, self.note, theme)

    def save(self, path: str | Path, *, theme: ThemeName = "light") -> Path:
        """Write the plot, whole or not at all: `.png`, `.svg` or `.pdf`; `.html` is interactive.

        An HTML file loads nothing from a network.

        Raises:
            ValueError: another ending.
            RunError: a library is not installed.
            RunWriteError: the file cannot be written.
        """
        target = Path(path)
        form = target.suffix.removeprefix(".").lower()
        if form not in FORMATS:
            raise ValueError(
                f"{target}: plots are written as {', '.join(FORMATS)}; name it {target.stem}.png"
            )
        if form == "html":
            write_atomically(target, self.plotly(theme=theme).to_html(include_plotlyjs=True))
        else:
            write_atomically(target, self._picture(form, theme))
        return target

    def _picture(self, form: str, theme: ThemeName = "light") -> bytes:
        buffer = io.BytesIO()
        self.matplotlib(theme=theme).savefig(buffer, format=form, dpi=DOTS_PER_INCH)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self._picture("png")


def _missing(error: ModuleNotFoundError) -> Exception:
    if error.name not in ("matplotlib", "plotly"):
        return error
    return RunError(
        f"plots need {error.name}, which is not installed; pip install 'training-aware-nas[plot]'"
    )
