"""What a search reaches over repeated seeds: attainment surfaces, and the spread of hypervolumes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from results.pareto import Objective, hypervolume
from results.run import Run

_OF_ONE_RUN = frozenset(
    {
        "seed",
        "out",
        "workers",
        "executor",
        "ray_address",
        "insecure",
        "reuse",
        "no_reuse",
        "max_failed",
        "keep_weights",
    }
)
"""Settings that two repeats of one search may differ in: they say where and how fast, not what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Two or more runs that differ in their seeds alone.

    `surfaces` holds, for each number of runs k, the points that k of the runs' fronts equal or dominate and
    beyond which fewer do: the empirical attainment function's surfaces (Fonseca et al. 2011). 1 is what some
    run reached, all of them what every run reached, half of them the median run.
    """

    labels: tuple[str, ...]
    hypervolumes: tuple[float, ...]
    surfaces: Mapping[int, tuple[Mapping[str, float], ...]] = field(hash=False, repr=False)

    @property
    def median_runs(self) -> int:
        """The number of runs of the median surface: at least half of them."""
        return (len(self.labels) + 1) // 2

    def summary(self) -> dict[str, Any]:
        """As plain JSON, with the best, median and worst surface."""
        levels = {"any": 1, "median": self.median_runs, "all": len(self.labels)}
        return {
            "runs": list(self.labels),
            "hypervolume": {
                "median": median(self.hypervolumes),
                "low": min(self.hypervolumes),
                "high": max(self.hypervolumes),
            },
            "surfaces": {name: [dict(point) for point in self.surfaces[k]] for name, k in levels.items()},
        }


def repeats(
    runs: Mapping[str, Run], objectives: Sequence[Objective], reference: Mapping[str, float] | None
) -> tuple[Repeats, ...]:
    """The groups of two or more runs that differ in their seeds alone; runs without a front left out."""
    groups: dict[str, list[str]] = {}
    for label, run in runs.items():
        if run.pareto(objectives) and reference is not None:
            groups.setdefault(_settings(run), []).append(label)
    names = [objective.name for objective in objectives]
    found = []
    for labels in groups.values():
        if len(labels) < 2:
            continue
        fronts = [[member.values(names) for member in runs[label].pareto(objectives)] for label in labels]
        volumes = [hypervolume(front, objectives, reference or {}) for front in fronts]
        found.append(
            Repeats(
                labels=tuple(labels),
                hypervolumes=tuple(volumes),
                surfaces=attainment_surfaces(fronts, objectives),
            )
        )
    return tuple(found)


def attainment_surfaces(
    fronts: Sequence[Sequence[Mapping[str, float | None]]], objectives: Sequence[Objective]
) -> dict[int, tuple[Mapping[str, float], ...]]:
    """For each k, the non-dominated points among those that at least k of the fronts equal or dominate.

    Empty but for two and three objectives, for which alone it can be computed exactly in reasonable time.

    Law: the surface of 1 is the front of all points; every surface is covered by the one before it.
    """
    if len(objectives) not in (2, 3):
        return dict.fromkeys(range(1, len(fronts) + 1), ())
    import moocore

    signs = np.array([objective.sign for objective in objectives])
    names = [objective.name for objective in objectives]
    points = np.array([[point[name] for name in names] for front in fronts for point in front]) * signs
    sets = np.repeat(np.arange(1, len(fronts) + 1), [len(front) for front in fronts])
    surfaces: dict[int, tuple[Mapping[str, float], ...]] = {}
    for level in range(1, len(fronts) + 1):
        rows = moocore.eaf(points, sets, percentiles=[100.0 * level / len(fronts)])[:, :-1] * signs
        surfaces[level] = tuple(dict(zip(names, row, strict=True)) for row in rows.tolist())
    return surfaces


def _settings(run: Run) -> str:
    """What was searched and how, but for the seed; runs that do not say are like no other."""
    config = run.config.get("config")
    if not isinstance(config, Mapping):
        return f"unknown: {run.path}"
    kept = {key: config[key] for key in sorted(config) if key not in _OF_ONE_RUN}
    space = (run.config.get("space") or {}).get("fingerprint")
    return json.dumps([kept, space], sort_keys=True)
