"""Rules over the present runs of a space, in order. Each is a finite automaton.

Being automata, rules are respected exactly when genotypes are counted and drawn: nothing is rejected after
the fact. A rule reads only a few fields of a run (its `paths`); runs that agree in those are one symbol.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search_spaces.registry import BLOCKS
from search_spaces.schema import RunValue
from search_spaces.tree import field_values

MAPPING = "{...}"
"""What a path that leads to a mapping reads as."""


class Place(Protocol):
    """Where a run stands: its slot among all runs, its stage, and the side of its output in pixels."""

    @property
    def slot(self) -> int:
        """Index among the runs of the space."""

    @property
    def stage(self) -> int:
        """Index of the stage."""

    @property
    def side(self) -> int:
        """Height (= width) of the run's output at the space's evaluation resolution."""


class Rule(Protocol):
    """A deterministic automaton over the runs of a space."""

    @property
    def paths(self) -> frozenset[str]:
        """Fields of a run that the rule reads: width, block.op, block.kernel, ..."""

    @property
    def start(self) -> Hashable:
        """The state before the first run."""

    def step(self, state: Any, place: Place, run: Mapping[str, Any] | None) -> Hashable | None:
        """The state after a run (None: absent); None when the rule is broken.

        `run` holds at least the values under `paths`; a field that the run's block lacks is absent.
        """

    def accepts(self, state: Any) -> bool:
        """Whether a space may end in this state."""

    def __str__(self) -> str:
        """The rule as a sentence about what is required."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monotone:
    """Values appear in the order given: once one has appeared, none before it appears again.

    `free` values, and runs that lack the field, do not count; a value in neither list never appears.
    """

    path: str
    order: tuple[Any, ...]
    free: tuple[Any, ...] = ()

    @property
    def paths(self) -> frozenset[str]:
        """The one field."""
        return frozenset({self.path})

    @property
    def start(self) -> int:
        """The first rank."""
        return 0

    def step(self, state: int, place: Place, run: Mapping[str, Any] | None) -> int | None:
        """Ranks never fall; free values do not count."""
        value = None if run is None else run.get(self.path)
        if value is None or value in self.free:
            return state
        if value not in self.order:
            return None
        rank = self.order.index(value)
        return rank if rank >= state else None

    def accepts(self, state: int) -> bool:
        """Any end will do."""
        return True

    def __str__(self) -> str:
        return f"{self.path} follows the order {', '.join(map(str, self.order))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Increasing:
    """A number never falls from run to run; with `strict` it always rises."""

    path: str
    strict: bool = False

    @property
    def paths(self) -> frozenset[str]:
        """The one field."""
        return frozenset({self.path})

    @property
    def start(self) -> float:
        """Below every number."""
        return float("-inf")

    def step(self, state: float, place: Place, run: Mapping[str, Any] | None) -> float | None:
        """The last number seen."""
        value = None if run is None else run.get(self.path)
        if value is None:
            return state
        allowed = value > state if self.strict else value >= state
        return value if allowed else None

    def accepts(self, state: float) -> bool:
        """Any end will do."""
        return True

    def __str__(self) -> str:
        return f"{self.path} {'always rises' if self.strict else 'never falls'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbid:
    """No run, in the stages given or in all, has all of these values together."""

    values: tuple[tuple[str, Any], ...]
    stages: frozenset[int] | None = None

    @property
    def paths(self) -> frozenset[str]:
        """The fields it speaks of."""
        return frozenset(path for path, _ in self.values)

    @property
    def start(self) -> bool:
        """Stateless."""
        return True

    def step(self, state: bool, place: Place, run: Mapping[str, Any] | None) -> bool | None:
        """Unbroken unless everything matches."""
        if run is None or (self.stages is not None and place.stage not in self.stages):
            return state
        return None if all(run.get(path) == value for path, value in self.values) else state

    def accepts(self, state: bool) -> bool:
        """Any end will do."""
        return True

    def __str__(self) -> str:
        where = "" if self.stages is None else f" in stages {', '.join(map(str, sorted(self.stages)))}"
        return f"no run{where} has {' and '.join(f'{path} {value}' for path, value in self.values)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SomePresent:
    """At least one of these runs is present: a stage that halves the resolution never vanishes."""

    slots: frozenset[int]
    what: str

    @property
    def paths(self) -> frozenset[str]:
        """Presence alone matters."""
        return frozenset()

    @property
    def start(self) -> bool:
        """None seen yet."""
        return False

    def step(self, state: bool, place: Place, run: Mapping[str, Any] | None) -> bool:
        """Whether one has been seen."""
        return state or (run is not None and place.slot in self.slots)

    def accepts(self, state: bool) -> bool:
        """One must have been seen."""
        return state

    def __str__(self) -> str:
        return f"{self.what} has at least one run that is present"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequirements:
    """What the blocks themselves require of their width and resolution."""

    @property
    def paths(self) -> frozenset[str]:
        """Op and width, and every key that some block is constrained by."""
        keys = {key for kind in BLOCKS.values() for key in _constrained_by(kind.spec)}
        return frozenset({"block.op", "width", *(f"block.{key}" for key in keys)})

    @property
    def start(self) -> bool:
        """Stateless."""
        return True

    def step(self, state: bool, place: Place, run: Mapping[str, Any] | None) -> bool | None:
        """Ask the block."""
        return state if run is None or block_refusal(run, place.side) is None else None

    def accepts(self, state: bool) -> bool:
        """Any end will do."""
        return True

    def __str__(self) -> str:
        return "every block accepts its width and resolution"


def block_refusal(run: Mapping[str, Any], side: int) -> str | None:
    """Why a block cannot have its width at an output of `side` pixels, in its own words; None: it can."""
    spec: Any = BLOCKS[run["block.op"]].spec
    keys = _constrained_by(spec)
    if not keys:
        return None
    refusal: str | None = spec.requirement(run["width"], side, {key: run.get(f"block.{key}") for key in keys})
    return refusal


def block_is_constrained(op: str) -> bool:
    """Whether blocks of this op can refuse a width."""
    return bool(_constrained_by(BLOCKS[op].spec))


def _constrained_by(spec: Any) -> frozenset[str]:
    keys: frozenset[str] = spec.constrained_by
    return keys


def run_fields(run: RunValue, paths: frozenset[str]) -> dict[str, Any]:
    """The values of a run under `paths`; a path that leads nowhere is left out."""
    fields = {}
    for path in paths:
        value: Any = run.width if path == "width" else run.depth if path == "depth" else run.block
        for key in path.split(".")[1:]:
            value = value.op if key == "op" else (field_values(value) or {}).get(key)
        if value is not None:
            fields[path] = MAPPING if field_values(value) is not None else value
    return fields
