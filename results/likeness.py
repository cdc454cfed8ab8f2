"""Which runs may be compared in which quantities: like with like only.

A step time is one of a device, its software and a timing's settings; an accuracy is one of a proxy task and
its data; exact costs are stated at a resolution. Where two runs differ in what a quantity depends on, numbers
of one say nothing about numbers of the other.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from results.directory import config_differences
from results.errors import UnlikeRunsError
from results.pareto import Objective
from results.run import Run
from search_spaces.limits import COST_NAMES

_OF_NETWORK = ("params", "active_params")
"""Costs that compare between any runs: each network's are those that it has at its own resolution."""
_OF_DEVICE = ("step_", "estimated_", "peak_memory_bytes", "images_per_second", "inference_ms")
_NOT_SETTINGS = ("tolerance", "budget_seconds")
_MAX_DIFFERENCES = 3


def conditions(run: Run, names: Sequence[str]) -> dict[str, Any]:
    """All that these quantities of a run depend on, as plain data; equal data means: comparable."""
    found: dict[str, Any] = {}
    for name in names:
        if name.startswith(_OF_DEVICE):
            found["hardware"] = _identity(run.config.get("hardware"))
            found["timing"] = _timing_settings(run)
        elif name not in COST_NAMES:
            found["proxy"] = _identity(run.config.get("task"))
        elif name not in _OF_NETWORK:
            found["resolution"] = sorted({result.resolution for result in run.results})
    return found


def like_groups(runs: Sequence[Run], objectives: Sequence[Objective]) -> tuple[tuple[Run, ...], ...]:
    """The runs in groups within which the objectives compare, in the order of their first runs."""
    names = [objective.name for objective in objectives]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_key(conditions(run, names)), []).append(run)
    return tuple(tuple(group) for group in groups.values())


def require_like(runs: Sequence[Run], objectives: Sequence[Objective]) -> None:
    """Let pass what compares.

    Raises:
        UnlikeRunsError: runs differ in what an objective depends on; what, and how to proceed.
    """
    groups = like_groups(runs, objectives)
    if len(groups) < 2:
        return
    first, other = groups[0][0], groups[1][0]
    names = [objective.name for objective in objectives]
    here, there = conditions(first, names), conditions(other, names)
    parts = [part for part in here if _key(here[part]) != _key(there[part])]
    unlike = [name for name in names if _differs(first, other, name)]
    differences = [text for part in parts for text in config_differences(here[part], there[part], part)]
    told = "; ".join(differences[:_MAX_DIFFERENCES])
    more = len(differences) - _MAX_DIFFERENCES
    like = [name for name in names if name not in unlike]
    instead = f"--objectives {','.join(like)} compares what does not depend on it, " if like else ""
    raise UnlikeRunsError(
        f"{first.name} and {other.name} differ in {' and '.join(parts)}, on which {', '.join(unlike)}"
        f" {'depends' if len(unlike) == 1 else 'depend'}, so they are not compared"
        f" ({told}{f'; {more} more' if more > 0 else ''}); {instead}--separate compares each group of like"
        " runs by itself, and a new search with --reuse measures on one side what the other has"
    )


def _differs(first: Run, second: Run, name: str) -> bool:
    return _key(conditions(first, [name])) != _key(conditions(second, [name]))


def _identity(document: Any) -> Any:
    """A part of `run.yaml` without what tells equal devices apart; its fingerprint, where it has one."""
    if not isinstance(document, Mapping):
        return document
    return {key: value for key, value in document.items() if key not in ("devices", "seeds")}


def _timing_settings(run: Run) -> dict[str, Any] | None:
    """How the run's networks are timed, as its first timing has it; None where there is none yet."""
    for result in run.results:
        if result.step_ms is not None:
            for record in run.records(result):
                settings = record.outcome.details.get("settings")
                if isinstance(settings, Mapping):
                    return {key: settings[key] for key in settings if key not in _NOT_SETTINGS}
            break
    return None


def _key(data: Any) -> str:
    """One text for equal conditions. A fingerprint stands for all that it is taken of."""
    if isinstance(data, Mapping):
        if data.get("fingerprint") is not None:
            return str(data["fingerprint"])
        return json.dumps({key: _key(value) for key, value in data.items()}, sort_keys=True)
    return json.dumps(data, sort_keys=True)
