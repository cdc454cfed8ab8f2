"""Growing a network to a budget: directions solved in closed form, the best of them timed. No torch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import NamedTuple

from nas.grown import COSTS, Grown, Judge, Timer, grown
from nas.scaling import AppendedStage, Compound, Factors, LateLayers, ScalingError, ScalingRule, scale
from nas.timed_growth import AIM, TimedGrowth, Way
from search_spaces.architecture import Architecture
from search_spaces.messages import suggest

QUANTITIES = (*COSTS, "step_ms")
MAX_PHI = 24.0
BISECTIONS = 13
UNIFORM = "uniform"
_LIMIT = re.compile(r"\s*([a-z_]+)\s*<=\s*([0-9.eE+-]+?)(x?)\s*")


class Limit(NamedTuple):
    """At most `value` of `quantity`; `is_relative`: times the base network's."""

    quantity: str
    value: float
    is_relative: bool


class Direction(NamedTuple):
    """One way to grow: what a step in it does to depth, width and resolution, stage by stage."""

    name: str
    rule: ScalingRule
    compound: Compound

    def grow(self, arch: Architecture, phi: float) -> Architecture:
        """The network `phi` steps on; 0 is the base itself."""
        factors = self.compound.factors(phi)
        if phi == 0.0:
            return arch
        return scale(arch, self.rule, Factors(*factors), name=arch.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What came of a budget: the chosen network first, then the others that keep it."""

    base: Grown
    limits: Mapping[str, float]
    members: tuple[Grown, ...]
    is_estimated: bool = False
    """Whether the members' `step_ms` are estimates, which nobody measured."""

    @property
    def best(self) -> Grown:
        """The chosen network."""
        return self.members[0]

    @property
    def uniform(self) -> Grown | None:
        """Uniform scaling at the same budget; None where it could not be measured."""
        return next((each for each in self.members if each.direction == UNIFORM), None)


def parse_budget(text: str) -> tuple[Limit, ...]:
    """Limits from a text such as `step_ms<=2x,params<=50e6`.

    Raises:
        ScalingError: not limits, or of a quantity that is not known.
    """
    limits = []
    for part in text.split(","):
        match = _LIMIT.fullmatch(part)
        try:
            value = float(match[2]) if match else 0.0
        except ValueError:
            value = 0.0
        if match is None or not 0.0 < value < float("inf"):
            raise ScalingError(f"{part.strip()!r} is not a limit; write step_ms<=2x or params<=50e6")
        if match[1] not in QUANTITIES:
            known = f"known: {', '.join(QUANTITIES)}"
            raise ScalingError(f"limit on {match[1]!r}{suggest(match[1], QUANTITIES)}; {known}")
        limits.append(Limit(match[1], value, bool(match[3])))
    return tuple(limits)


def directions(arch: Architecture) -> tuple[Direction, ...]:
    """The ways in which `arch` is grown, uniform scaling (Tan & Le 2019) first.

    Late stages have grown more in EfficientNetV2-M and L, which also have a stage more; CoAtNet (Dai et al.
    2021, arXiv:2106.04803) grows the depth of its middle stages alone.
    """
    count = len(arch.stages)
    rising = tuple(0.5 + index / max(1, count - 1) for index in range(count))
    middle = tuple(float(0 < index < count - 1) for index in range(count))
    late = LateLayers(
        append=AppendedStage(depth=1, width=max(8, round(arch.stages[-1].width * 1.5) // 8 * 8))
    )
    flat, usual = Compound(gamma=1.0), Compound()
    found = [
        _direction(UNIFORM, usual),
        _direction("uniform, same images", flat),
        _direction("late depth", flat, depth=rising),
        _direction("late depth and width", flat, depth=rising, width=rising),
        _direction("late depth, larger images", usual, depth=rising),
        _direction("late depth, a stage more", flat, depth=rising, late=late),
        _direction("depth alone", Compound(beta=1.0, gamma=1.0)),
        _direction("width alone", Compound(alpha=1.0, gamma=1.0)),
    ]
    if count > 2:
        found.append(_direction("depth of the middle stages", Compound(gamma=1.0, beta=1.02), depth=middle))
    return tuple(found)


def grow_to_budget(
    arch: Architecture,
    limits: Sequence[Limit],
    *,
    measured: int = 5,
    time: Timer | None = None,
    judge: Judge | None = None,
    num_classes: int = 1000,
) -> Growth:
    """`arch` grown as far as `limits` allow, in each direction, and the best of them.

    Costs are exact. For a limit on `step_ms`, the `measured` most promising directions (uniform scaling is
    always one) are timed and solved again with what was seen, then filled up in small steps, until each is
    within the limit and near it; the last is timed twice, as the network itself is. With `judge` the most
    accurate is chosen, else the one with the most multiply-adds: a stand-in for accuracy, and no more.

    Raises:
        ScalingError: nothing grows within the limits, or step_ms is limited and there is no `time`.
    """
    base = grown("base", 0.0, arch, num_classes)
    if any(limit.quantity == "step_ms" for limit in limits):
        if time is None:
            raise ScalingError("a limit on step_ms needs measurements; allow some, or limit macs")
        base_times = [ms for ms in time([arch, arch]) if ms is not None]
        if not base_times:
            raise ScalingError("the network itself could not be timed, so nothing can be 'x' times it")
        base = replace(base, step_ms=fmean(base_times))
    bounds = {limit.quantity: _value(limit, base) for limit in limits}
    exact = {name: value for name, value in bounds.items() if name != "step_ms"}
    ways = directions(arch)
    if "step_ms" in bounds and time is not None:
        members = _timed(base, ways, bounds, measured, time, num_classes)
    else:
        solved = (_solve(arch, way, exact, num_classes) for way in ways)
        members = [each for each in solved if each is not None]
    members = _distinct([each for each in members if each.identity != base.identity])
    if not members:
        shown = ", ".join(f"{name}<={value:g}" for name, value in bounds.items())
        raise ScalingError(f"no direction grows {arch.name or 'the network'} within {shown}; raise a limit")
    if judge is not None:
        members = [replace(each, accuracy=judge(each.arch)) for each in members]
    members.sort(key=lambda each: (-(each.accuracy or 0.0), -each.costs["macs"], -each.costs["params"]))
    return Growth(base=base, limits=bounds, members=tuple(members))


def _direction(
    name: str,
    compound: Compound,
    *,
    depth: tuple[float, ...] | None = None,
    width: tuple[float, ...] | None = None,
    late: LateLayers | None = None,
) -> Direction:
    stages = late is not None and late.append is not None
    rule = ScalingRule(
        schema_version="nas.scaling/1",
        name=name.replace(", ", "-").replace(" ", "-"),
        head="fixed",
        depth_exponents=(*depth, 1.0) if depth and stages else depth,
        width_exponents=(*width, 1.0) if width and stages else width,
        late=late,
    )
    return Direction(name, rule, compound)


def _value(limit: Limit, base: Grown) -> float:
    own = base.step_ms if limit.quantity == "step_ms" else base.costs[limit.quantity]
    return limit.value * (own or 0.0) if limit.is_relative else limit.value


def _solve(arch: Architecture, way: Direction, bounds: Mapping[str, float], num_classes: int) -> Grown | None:
    """As far in a direction as exact bounds allow; None where not even its first step does."""

    def at(phi: float) -> Grown | None:
        found = grown(way.name, phi, way.grow(arch, phi), num_classes)
        return found if _keeps(found, bounds) else None

    low, high, found = 0.0, MAX_PHI, None
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        try:
            here = at(middle)
        except ScalingError:  # a block that does not take these widths, or a stage that cannot be added
            here = None
        if here is None:
            high = middle
        else:
            low, found = middle, here
    return found


def _keeps(each: Grown, bounds: Mapping[str, float]) -> bool:
    return all(each.costs[name] <= value for name, value in bounds.items())


def _timed(
    base: Grown,
    ways: Sequence[Direction],
    bounds: Mapping[str, float],
    measured: int,
    time: Timer,
    num_classes: int,
) -> list[Grown]:
    """The shortlisted directions, each grown until it is within the limit and near it."""
    exact = {name: value for name, value in bounds.items() if name != "step_ms"}

    def solved(way: Direction, macs: float) -> Grown | None:
        return _solve(base.arch, way, {**exact, "macs": min(macs, exact.get("macs", macs))}, num_classes)

    assert base.step_ms is not None
    at_first = AIM * bounds["step_ms"] / base.step_ms * base.costs["macs"]
    chosen = _shortlist([(way, solved(way, at_first)) for way in ways], measured)
    growth = TimedGrowth(
        base=base,
        limit_ms=bounds["step_ms"],
        time=time,
        allows=lambda each: _keeps(each, exact),
        num_classes=num_classes,
    )
    return growth.grow([Way(way.name, way.compound.gamma != 1.0, partial(solved, way)) for way in chosen])


def _shortlist(ways: Sequence[tuple[Direction, Grown | None]], count: int) -> list[Direction]:
    """Uniform scaling, then directions by parameters: at equal multiply-adds they differ in those."""
    found = [(way, grown) for way, grown in ways if grown is not None]
    ranked = sorted(found, key=lambda pair: (pair[0].name != UNIFORM, -pair[1].costs["params"]))
    return [way for way, _ in ranked[: max(1, count)]]


def _distinct(members: Sequence[Grown]) -> list[Grown]:
    """One of each network: two directions may lead to the same."""
    return list({each.identity: each for each in reversed(members)}.values())[::-1]
