"""Colours, symbols and dashes of plots: for print and for dark pages, and safe for colour blindness.

Hues are those of Okabe & Ito 2008 ("Color Universal Design"); where the page would swallow one it is made
darker or lighter, to a contrast of 3 to 1 or more (WCAG 2.2, 1.4.11).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """What is drawn in which colour."""

    background: str
    text: str
    grid: str
    faint: str
    palette: tuple[str, ...]
    scale: tuple[str, ...]
    """Low to high, for values that colour something: cividis, which is safe and prints in grey."""

    def colour(self, slot: int) -> str:
        """The colour of a place in the palette; after the last comes the first again."""
        return self.palette[slot % len(self.palette)]


_CIVIDIS = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")

THEMES = {
    "light": Theme(
        background="#ffffff",
        text="#1a1a1a",
        grid="#dcdcdc",
        faint="#8a8a8a",
        palette=("#0072b2", "#d55e00", "#00805d", "#b8578f", "#a87400", "#2b86b8", "#000000"),
        scale=_CIVIDIS,
    ),
    "dark": Theme(
        background="#15181c",
        text="#ececec",
        grid="#3b4048",
        faint="#9a9a9a",
        palette=("#56b4e9", "#e69f00", "#2fc99b", "#e29bc4", "#f0e442", "#ff8a4c", "#ffffff"),
        scale=("#3f5f9e", *_CIVIDIS[1:]),
    ),
}

SYMBOLS = (
    ("circle", "o"),
    ("square", "s"),
    ("diamond", "D"),
    ("triangle-up", "^"),
    ("x", "X"),
    ("pentagon", "p"),
    ("star", "*"),
)
"""Symbols by slot, as plotly and as matplotlib call them."""

DASHES = (("solid", "-"), ("dash", "--"), ("dot", ":"), ("dashdot", "-."))
"""Dashes by slot, as plotly and as matplotlib call them."""
