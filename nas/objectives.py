"""Objectives and limits as a user writes them, checked and split by what can be known when."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nas.errors import ConfigError
from proxies.records import TimedWork
from results.pareto import Objective
from search_spaces.limits import COST_NAMES, Limit
from search_spaces.space import Space

TIMED_BEGINNINGS: dict[TimedWork, str] = {"inference": "inference_", "onnx-inference": "onnx_"}
"""How the names of what only inference tells begin; a search times it where an objective or limit asks."""
_INFERENCE_NAMES = tuple(
    f"{beginning}{name}"
    for beginning in TIMED_BEGINNINGS.values()
    for name in ("ms", "ratio", "images_per_second")
)
MEASURED_NAMES = (
    *("accuracy", "step_ms", "step_ratio", "peak_memory_bytes", "images_per_second"),
    *(*_INFERENCE_NAMES, "inference_peak_memory_bytes"),
)
ESTIMABLE_NAMES = ("step_ms", "images_per_second")
ESTIMATED = "estimated_"
"""How the name of an estimated quantity begins, so that it is another quantity than the measured one."""
TIMED_NAMES = ("step_ratio", "peak_memory_bytes", "inference_peak_memory_bytes", *_INFERENCE_NAMES)
"""What only the device itself can say."""
_LIMIT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=)\s*([0-9.eE+_-]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A bound on one quantity, by name: `params <= 30e6`."""

    name: str
    sign: Literal["<=", ">="]
    value: float

    @property
    def is_exact(self) -> bool:
        """Whether it bounds a cost that is known without measuring."""
        return self.name in COST_NAMES

    def allows(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value <= self.value if self.sign == "<=" else value >= self.value

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value:g}"


def timed_works(objectives: Sequence[Objective], bounds: Sequence[Bound]) -> tuple[TimedWork, ...]:
    """What is timed of every candidate so that these quantities are known: training always, which is what a
    network is judged by afterwards, and inference where a name is of it.
    """
    asked = [*(objective.name for objective in objectives), *(bound.name for bound in bounds)]
    further = (
        work
        for work, beginning in TIMED_BEGINNINGS.items()
        if any(name.startswith(beginning) for name in asked)
    )
    return ("training", *further)


def parse_objectives(texts: Sequence[str]) -> tuple[Objective, ...]:
    """Objectives from `name` or `name:direction`.

    Raises:
        ConfigError: none, one twice, or a name without a known direction.
    """
    try:
        objectives = tuple(Objective.parse(text) for text in texts)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    names = [objective.name for objective in objectives]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"objectives {', '.join(names) or '(none)'}: name one or more, each once")
    return objectives


def parse_bounds(texts: Sequence[str]) -> tuple[Bound, ...]:
    """Bounds from texts such as `params<=30e6`.

    Raises:
        ConfigError: not a bound, or of a quantity that nothing measures.
    """
    return tuple(_parse_bound(text) for text in texts)


def estimated_objectives(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """The objectives of a search that measures no step: times are replaced by what is estimated of them.

    Raises:
        ConfigError: a quantity that only a measurement gives.
    """
    return tuple(replace(each, name=_estimated_name(each.name)) for each in objectives)


def estimated_bounds(bounds: Sequence[Bound]) -> tuple[Bound, ...]:
    """The bounds of such a search; raises as `estimated_objectives`."""
    return tuple(replace(each, name=_estimated_name(each.name)) for each in bounds)


def _estimated_name(name: str) -> str:
    if name in ESTIMABLE_NAMES:
        return ESTIMATED + name
    if name in TIMED_NAMES:
        raise ConfigError(
            f"{name} is measured, and --estimate measures no step; use {' or '.join(ESTIMABLE_NAMES)}, "
            "or search on the hardware itself"
        )
    return name


def _parse_bound(text: str) -> Bound:
    match = _LIMIT.fullmatch(text)
    try:
        value = float(match[3]) if match else None
    except ValueError:
        value = None
    if match is None or value is None:
        raise ConfigError(
            f"limit {text!r} is not of the form name<=number or name>=number, such as params<=30e6"
        )
    name = match[1]
    known = (*COST_NAMES, *MEASURED_NAMES, *(ESTIMATED + each for each in ESTIMABLE_NAMES))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"limit {text!r}: {name!r} is unknown; {hint}known: {', '.join(known)}")
    return Bound(name=name, sign="<=" if match[2] == "<=" else ">=", value=value)


def with_limits(space: Space, bounds: Sequence[Bound]) -> Space:
    """The space with exact bounds as limits of its own, so that nothing outside is ever proposed."""
    limits = tuple(
        Limit(
            cost=name,
            low=bound.value if bound.sign == ">=" else None,
            high=bound.value if bound.sign == "<=" else None,
        )
        for bound in bounds
        for name in COST_NAMES
        if bound.name == name
    )
    return replace(space, limits=(*space.limits, *limits)) if limits else space


def broken_bound(bounds: Sequence[Bound], values: Mapping[str, float]) -> str | None:
    """The first measured bound that the values break, as a sentence; None when all are kept."""
    for bound in bounds:
        value = values.get(bound.name)
        if not bound.is_exact and value is not None and not bound.allows(value):
            return f"{bound.name} is {value:g}, outside the limit {bound}"
    return None
