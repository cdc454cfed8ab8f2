"""What a plot shows, as plain values: panels with axes and marks, decided before a library that draws is
loaded.

A mark's `slot` is its place in the palette and in the lists of symbols and dashes, so that what belongs
together looks alike and nothing is told by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ThemeName = Literal["light", "dark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis: its title with the unit, whether it is logarithmic, and fixed ends where it has them."""

    title: str
    is_log: bool = False
    ends: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Points; `low` and `high` are the ends of intervals, each as long as the points, None for no interval.

    `texts` are shown on pointing at one, `names` beside it.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    slot: int = 0
    x_low: Sequence[float | None] = ()
    x_high: Sequence[float | None] = ()
    y_low: Sequence[float | None] = ()
    y_high: Sequence[float | None] = ()
    texts: Sequence[str] = ()
    names: Sequence[str] = ()
    is_faint: bool = False
    is_hollow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line; stepped, it keeps a value until the next."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    slot: int = 0
    is_stepped: bool = False
    is_faint: bool = False
    in_legend: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Lying bars, the first on top; `deviations` are drawn to both sides of their ends."""

    label: str
    categories: Sequence[str]
    values: Sequence[float]
    slot: int = 0
    deviations: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Boxes that stand on the axis, from `left` on, with a text on each."""

    label: str
    left: Sequence[float]
    widths: Sequence[float]
    heights: Sequence[float]
    texts: Sequence[str]
    slot: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strands:
    """Parallel coordinates: each row a strand through all axes, at its option's place on each.

    `options` are the ticks of each axis; `rows` hold positions among them, -1 where there is none.
    `colours` are values that colour the strands, of the quantity `colour_title`.
    """

    axes: Sequence[str]
    options: Sequence[Sequence[str]]
    rows: Sequence[Sequence[int]]
    colours: Sequence[float]
    colour_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verticals:
    """Upright lines from `low` to `high`, each with a name: what is known along one axis alone."""

    label: str
    x: Sequence[float]
    low: float
    high: float
    names: Sequence[str]
    texts: Sequence[str]
    slot: int = 0


Mark = Points | Line | Bars | Boxes | Strands | Verticals


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One drawing: two axes and what is marked between them."""

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    title: str = ""
