"""Pareto fronts and hypervolume, for any number of objectives in any direction, in natural units.

A point is a mapping from objective names to values. A point that lacks a value of an objective takes no
part: it is never on a front and adds no volume. Points with equal values do not dominate one another, so
two networks that tie are both on the front.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Direction = Literal["maximize", "minimize"]
Point = Mapping[str, float | None]

DIRECTIONS: dict[str, Direction] = {
    "accuracy": "maximize",
    "step_ms": "minimize",
    "estimated_step_ms": "minimize",
    "step_ratio": "minimize",
    "params": "minimize",
    "active_params": "minimize",
    "macs": "minimize",
    "activation_bytes": "minimize",
    "peak_memory_bytes": "minimize",
    "inference_ms": "minimize",
    "inference_ratio": "minimize",
    "inference_peak_memory_bytes": "minimize",
    "onnx_ms": "minimize",
    "onnx_ratio": "minimize",
    "train_loss_sum": "minimize",
}
"""The direction of a quantity that is named without one."""

_SHORT: dict[str, Direction] = {"max": "maximize", "min": "minimize"}

REFERENCE_MARGIN = 0.1
REFERENCE_RULE = (
    "minimized: worst measured + 10 %; maximized: 0, or worst measured - 10 % if that is negative"
)
"""What `default_reference` does, in the words that are written beside a hypervolume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A named quantity and the direction that is better."""

    name: str
    direction: Direction

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name or self.name != self.name.strip():
            raise ValueError(f"objective {self.name!r} is not a name; use one like accuracy or step_ms")
        if self.direction not in get_args(Direction):
            raise ValueError(
                f"objective {self.name}: direction {self.direction!r} is not maximize or minimize"
            )

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """Read `name` or `name:direction`; the direction may be max, min, maximize or minimize.

        Raises:
            ValueError: no direction was given and the name is not one of `DIRECTIONS`.
        """
        name, colon, word = (part.strip() for part in text.partition(":"))
        if colon:
            direction = _SHORT.get(word, word)
            return cls(name=name, direction=direction)  # type: ignore[arg-type]  # checked when made
        if name not in DIRECTIONS:
            near = difflib.get_close_matches(name, DIRECTIONS, n=1)
            hint = f"did you mean {near[0]}? otherwise " if near else ""
            raise ValueError(
                f"objective {name!r}: no direction is known; {hint}write {name}:max or {name}:min"
            )
        return cls(name=name, direction=DIRECTIONS[name])

    def __str__(self) -> str:
        return f"{self.name}:{self.direction}"

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that smaller is better."""
        return 1.0 if self.direction == "minimize" else -1.0


DEFAULT_OBJECTIVES: tuple[Objective, ...] = tuple(
    Objective.parse(name) for name in ("accuracy", "step_ms", "params")
)


def dominates(first: Point, second: Point, objectives: Sequence[Objective]) -> bool:
    """Whether `first` is at least as good in every objective and better in one.

    False where either lacks a value: nothing is known then.
    """
    a, b = _losses(first, objectives), _losses(second, objectives)
    if a is None or b is None:
        return False
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def non_dominated(points: Sequence[Point], objectives: Sequence[Objective]) -> tuple[int, ...]:
    """Positions of the points that no other point dominates, in their order; all of equal points.

    Laws: members do not dominate one another; every other complete point is dominated by a member;
    neither the order of points nor a positive scale of an objective matters.

    Raises:
        ValueError: no objectives, the same one twice, or a value that is not finite.
    """
    positions, losses = _complete(points, objectives)
    if not positions:
        return ()
    import moocore

    kept = moocore.is_nondominated(losses, keep_weakly=True)
    return tuple(position for position, keep in zip(positions, kept, strict=True) if keep)


def hypervolume(
    points: Sequence[Point], objectives: Sequence[Objective], reference: Mapping[str, float]
) -> float:
    """Volume between the points and `reference`, which is given for each objective in its own unit.

    A point that is not better than the reference in every objective adds nothing. The unit is the
    product of the objectives' units, so scaling one of them (and its reference) by c > 0 scales the
    volume by c.

    Raises:
        ValueError: the reference lacks an objective, or a value is not finite; as `non_dominated`.
    """
    missing = [objective.name for objective in objectives if objective.name not in reference]
    if missing:
        raise ValueError(
            f"the hypervolume reference {dict(reference)} lacks {', '.join(missing)}; give each one"
        )
    corner = _losses(reference, objectives)
    positions, losses = _complete(points, objectives)
    if not positions:
        return 0.0
    import moocore

    return float(moocore.hypervolume(losses, ref=corner))


def default_reference(points: Sequence[Point], objectives: Sequence[Objective]) -> dict[str, float] | None:
    """A reference that every complete point is at least as good as; None when there is no such point.

    Minimized objectives: the worst value, moved 10 % of its size further. Maximized ones: 0 (an accuracy
    cannot be worse), unless negative values occur; then the worst, moved 10 %. It moves as worse points
    are seen, so volumes compare only under one and the same reference: it is written beside them.
    """
    positions, losses = _complete(points, objectives)
    if not positions:
        return None
    worst = losses.max(axis=0)
    corner: dict[str, float] = {}
    for objective, loss in zip(objectives, worst.tolist(), strict=True):
        if objective.direction == "maximize" and loss <= 0.0:
            corner[objective.name] = 0.0
        else:
            beyond = loss + REFERENCE_MARGIN * abs(loss)
            corner[objective.name] = objective.sign * beyond
    return corner


def _complete(
    points: Sequence[Point], objectives: Sequence[Objective]
) -> "tuple[list[int], NDArray[np.float64]]":
    """Positions and losses (smaller is better) of the points that have all objectives."""
    import numpy as np

    names = [objective.name for objective in objectives]
    if not names:
        raise ValueError("a front needs at least one objective, for example accuracy")
    if len(set(names)) != len(names):
        raise ValueError(f"objectives {', '.join(names)}: each may be named once")
    positions, rows = [], []
    for position, point in enumerate(points):
        losses = _losses(point, objectives)
        if losses is not None:
            positions.append(position)
            rows.append(losses)
    return positions, np.asarray(rows, dtype=np.float64).reshape(len(rows), len(names))


def _losses(point: Point, objectives: Sequence[Objective]) -> list[float] | None:
    losses = []
    for objective in objectives:
        value = point.get(objective.name)
        if value is None:
            return None
        if not math.isfinite(value):
            raise ValueError(f"{objective.name} is {value}; a value is finite, and what is missing is None")
        losses.append(objective.sign * value)
    return losses
