"""Runs of a report that were measured alike, and what compares only among them: joint fronts and progress."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.entries import Record
from results.likeness import like_groups
from results.pareto import Objective, non_dominated
from results.report.measurements import shortened
from results.run import Run


def grouped(runs: Sequence[Run]) -> list[int]:
    """The group of each run: runs of one group compare in all objectives that any run has."""
    objectives = tuple(dict.fromkeys(objective for run in runs for objective in run.objectives))
    groups = like_groups(runs, objectives)
    return [next(place for place, group in enumerate(groups) if run in group) for run in runs]


def conditions_text(run: Run, records: Mapping[str, list[Record]]) -> str:
    """What results of a run compare under, as a sentence: device, software, timing settings, proxy task."""
    hardware = run.config.get("hardware") or {}
    task = run.config.get("task") or {}
    timings = (
        record.outcome.details
        for found in records.values()
        for record in found
        if record.outcome.kind == "time" and "settings" in record.outcome.details
    )
    details: Mapping[str, Any] = next(timings, {})
    settings = details.get("settings") or {}
    step = (
        f"batch {settings.get('batch_size')} at {settings.get('resolution')} px, {settings.get('precision')},"
        f" {settings.get('memory_format')}, compile {settings.get('compile')}"
        if settings
        else "no step timed yet"
    )
    device = hardware.get("device") or "device not recorded"
    marks = [str(each["fingerprint"])[:8] for each in (hardware, task) if each.get("fingerprint")]
    software = f", torch {hardware['torch']}" if hardware.get("torch") else ""
    return (
        f"{device}{software}; step: {step}; proxy {task.get('name', 'not recorded')}"
        f"{f' [{chr(32).join(marks)}]' if marks else ''}"
    )


def common_reference(runs: Sequence[Run], groups: Sequence[int], group: int) -> dict[str, float] | None:
    """A reference no better than that of any run of the group; None where their objectives differ."""
    members = [run for run, each in zip(runs, groups, strict=True) if each == group]
    corners = [corner for run in members if (corner := run.reference()) is not None]
    objectives = members[0].objectives
    if not corners or any(set(run.objectives) != set(objectives) for run in members):
        return None
    worst = {"minimize": max, "maximize": min}
    return {each.name: worst[each.direction](corner[each.name] for corner in corners) for each in objectives}


def progress(run: Run, reference: Mapping[str, float] | None) -> list[list[float | None]]:
    """Evaluations, seconds and hypervolume over `reference`: the first, each one that raised it, the last."""
    moments = run.moments(reference) if reference is not None else ()
    kept = [
        moment
        for before, moment in zip((None, *moments), moments, strict=False)
        if before is None or moment.hypervolume != before.hypervolume or moment is moments[-1]
    ]
    return [
        [
            each.evaluated,
            *(None if value is None else shortened(value) for value in (each.seconds, each.hypervolume)),
        ]
        for each in kept
    ]


def joint(runs: Sequence[Run], groups: Sequence[int]) -> list[int]:
    """1 for each candidate on the front of all runs of its group, where they share their objectives."""
    on_joint: set[tuple[int, int]] = set()
    for group in set(groups):
        indices = [index for index, each in enumerate(groups) if each == group]
        objectives: tuple[Objective, ...] = runs[indices[0]].objectives
        if any(set(runs[index].objectives) != set(objectives) for index in indices):
            continue
        members = [(index, member) for index in indices for member in runs[index].pareto()]
        names = [each.name for each in objectives]
        kept = non_dominated([member.values(names) for _, member in members], objectives)
        on_joint |= {(members[place][0], members[place][1].id) for place in kept}
    return [int((index, each.id) in on_joint) for index, run in enumerate(runs) for each in run.candidates()]
