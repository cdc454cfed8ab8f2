"""Growing until a step takes as long as it may: solved, timed, solved again, filled up. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from nas.grown import Grown, Identity, Timer, grown
from nas.small_steps import TimeModel, is_valid, neighbours

OVERSHOOT = 0.03
"""Of a measured limit: what a time may be above it, as a fraction. Costs are exact and never above theirs."""
AIM = 0.98
"""Part of a measured limit that is aimed at, so that a time which scatters stays below OVERSHOOT."""
NEAR = 0.95
"""Part of a measured limit below which a network is filled up in small steps."""
ROUNDS = 4
FILL_ROUNDS = 6


class Way(NamedTuple):
    """A direction to grow in. `solve` gives the network of at most so many multiply-adds, if there is one."""

    name: str
    has_larger_images: bool
    solve: Callable[[float], Grown | None]


@dataclass(slots=True, kw_only=True)
class TimedGrowth:
    """Networks grown to a limit on the step time, in several ways.

    `allows`: whether exact costs keep the other limits. `base` has its step time.
    """

    base: Grown
    limit_ms: float
    time: Timer
    allows: Callable[[Grown], bool]
    num_classes: int
    _seen: dict[str, dict[Identity, list[float]]] = field(default_factory=dict)
    _members: dict[Identity, Grown] = field(default_factory=dict)

    def grow(self, ways: Sequence[Way]) -> list[Grown]:
        """The largest network of each way that keeps the limit; a way that has none is left out."""
        self._solve(ways)
        for _ in range(FILL_ROUNDS):
            fills = [(way, each) for way in ways if (each := self._fill(way)) is not None]
            self._measure(fills)
            again = [(way, best) for way in ways if (best := self._lucky(way, fills)) is not None]
            self._measure(again, is_again=True)
            if not (fills or again):
                break
        return [best for way in ways if (best := self._best(way)) is not None]

    def _solve(self, ways: Sequence[Way]) -> None:
        """At first times go with multiply-adds, then they lie on the line through base and last."""
        base_ms, base_macs = self._base_ms, self.base.costs["macs"]
        aim = AIM * self.limit_ms
        targets = {way.name: aim / base_ms * base_macs for way in ways}
        for _ in range(ROUNDS):
            tried = [(way, each) for way in ways if (each := way.solve(targets[way.name])) is not None]
            measured = self._measure(tried)
            if not measured:
                return
            for way, each, ms in measured:
                rise = (ms - base_ms) / (each.costs["macs"] - base_macs)
                if rise > 0.0:
                    targets[way.name] = each.costs["macs"] + (aim - ms) / rise

    def _fill(self, way: Way) -> Grown | None:
        """The neighbour of a way's best whose foretold time comes nearest to the aim from below."""
        start = self._best(way) or self._least(way)
        if start is None or NEAR * self.limit_ms <= self._ms(way, start) <= self.limit_ms:
            return None
        model, known = self._model(), self._seen[way.name]
        own_ms = self._ms(way, start)
        ratio = own_ms / model.step_ms(start.costs, start.arch.num_blocks)
        found: list[tuple[float, Grown]] = []
        near = neighbours(start.arch, self.base.arch, has_larger_images=way.has_larger_images)
        for arch in near:
            each = grown(way.name, start.phi, arch, self.num_classes)
            foretold = ratio * model.step_ms(each.costs, arch.num_blocks)
            if foretold <= AIM * self.limit_ms and each.identity not in known and self.allows(each):
                found.append((foretold, each))
        found.sort(key=lambda pair: -pair[0])
        is_over = own_ms > (1.0 + OVERSHOOT) * self.limit_ms
        better = (each for foretold, each in found if is_over or foretold > own_ms)
        return next((each for each in better if is_valid(each.arch)), None)

    def _lucky(self, way: Way, fills: Sequence[tuple[Way, Grown]]) -> Grown | None:
        """A way's best that was timed once, to be timed again: what is chosen for a time was lucky in it.

        None where it has only now been filled up.
        """
        best = self._best(way)
        if best is None or len(self._seen[way.name][best.identity]) > 1:
            return None
        return None if any(filled.name == way.name for filled, _ in fills) else best

    def _measure(
        self, tried: Sequence[tuple[Way, Grown]], *, is_again: bool = False
    ) -> list[tuple[Way, Grown, float]]:
        """Time what is new; what could not be timed is not tried again."""
        fresh = [
            (way, each)
            for way, each in tried
            if is_again
            or (each.identity not in self._seen.get(way.name, {}) and each.identity != self.base.identity)
        ]
        found = []
        for (way, each), ms in zip(fresh, self.time([each.arch for _, each in fresh]), strict=True):
            times = self._seen.setdefault(way.name, {}).setdefault(each.identity, [])
            self._members[each.identity] = each
            if ms is not None:
                times.append(ms)
                found.append((way, each, ms))
        return found

    def _timed(self, way: Way) -> list[Grown]:
        seen = self._seen.get(way.name, {})
        return [
            replace(self._members[identity], direction=way.name, step_ms=fmean(times))
            for identity, times in seen.items()
            if times
        ]

    def _best(self, way: Way) -> Grown | None:
        """The slowest that keeps the limit, as far as its time can be told apart from it."""
        within = [
            each for each in self._timed(way) if (each.step_ms or 0.0) <= (1.0 + OVERSHOOT) * self.limit_ms
        ]
        return max(within, key=lambda each: each.step_ms or 0.0, default=None)

    def _least(self, way: Way) -> Grown | None:
        return min(self._timed(way), key=lambda each: each.step_ms or 0.0, default=None)

    def _ms(self, way: Way, each: Grown) -> float:
        return fmean(self._seen[way.name][each.identity])

    @property
    def _base_ms(self) -> float:
        assert self.base.step_ms is not None
        return self.base.step_ms

    def _model(self) -> TimeModel:
        rows = [(self.base.costs, self.base.arch.num_blocks, self._base_ms)]
        for seen in self._seen.values():
            for identity, times in seen.items():
                if times:
                    each = self._members[identity]
                    rows.append((each.costs, each.arch.num_blocks, fmean(times)))
        return TimeModel(rows)
