"""Outcomes of a report: what each measured, under which conditions, and the learning curve, in few bytes."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from results.entries import Record
from results.report.pool import Pool
from results.text import dump_yaml

MAX_CURVE_POINTS = 200_000
"""Points of learning curves in one report. More are thinned evenly; the first and the last stay."""
MAX_POINTS = 200
MIN_POINTS = 6
SIGNIFICANT_DIGITS = 7

_PER_JOB = ("method", "learning_curve", "traceback", "log", "curve", "weights")
"""Details that differ from job to job; all others say under which conditions it ran."""


class Measurements:
    """Collects outcomes; the pools hold what many of them share."""

    def __init__(self, *, num_records: int) -> None:
        self.conditions: Pool[str] = Pool()
        self.texts: Pool[str] = Pool()
        self.names: Pool[tuple[str, ...]] = Pool()
        self._as_yaml = cache(_as_yaml)  # it is slow, and most outcomes were made under the same conditions
        self._max_points = max(MIN_POINTS, min(MAX_POINTS, MAX_CURVE_POINTS // max(1, num_records)))

    def entry(self, record: Record) -> dict[str, Any]:
        """One outcome. Absent keys: there is nothing to say."""
        outcome = record.outcome
        shared = {key: value for key, value in outcome.details.items() if key not in _PER_JOB}
        names = tuple(outcome.metrics)
        made: dict[str, Any] = {
            "k": outcome.kind,
            "s": outcome.status,
            "t": shortened(outcome.seconds),
            "n": self.names.place(names),
            "v": [shortened(outcome.metrics[name]) for name in names],
        }
        if shared:
            made["c"] = self.conditions.place(self._as_yaml(json.dumps(shared)))
        if outcome.reason is not None:
            made["r"] = self.texts.place(outcome.reason)
        if record.origin is not None:
            made["o"] = self.texts.place(record.origin)
        if record.attempt > 1:
            made["a"] = record.attempt
        curve = self._curve(outcome.details.get("learning_curve"))
        if curve is not None:
            made["l"] = curve
        log = outcome.details.get("traceback") or outcome.details.get("log")
        if isinstance(log, str):
            made["e"] = self.texts.place(log)
        return made

    def _curve(self, points: Any) -> dict[str, list[float]] | None:
        """Steps and accuracies of a learning curve; None where a training reported none."""
        if not isinstance(points, Sequence):
            return None
        found = [
            (point[0], point[1]["accuracy"])
            for point in points
            if len(point) == 2 and isinstance(point[1], Mapping) and "accuracy" in point[1]
        ]
        if len(found) < 2:
            return None
        kept = thinned(found, self._max_points)
        return {"x": [step for step, _ in kept], "y": [shortened(accuracy) for _, accuracy in kept]}


def _as_yaml(shared_json: str) -> str:
    return dump_yaml(json.loads(shared_json), "report")


def thinned(values: Sequence[Any], count: int) -> list[Any]:
    """At most `count` (2 or more) of the values, evenly spaced, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    last = len(values) - 1
    return [values[round(place * last / (count - 1))] for place in range(count)]


def shortened(value: float) -> float:
    """The value to seven significant digits, an integer where it is one: 2e7 bytes in few characters."""
    if value == int(value) and abs(value) < 2**53:
        return int(value)
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
