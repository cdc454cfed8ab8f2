"""Everything that a report says, as one plain JSON document. The page only arranges it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from results.candidate import CandidateResult
from results.directory import LEDGER_NAME
from results.entries import Record
from results.export import architecture_name
from results.ledger import Ledger
from results.pareto import DIRECTIONS, REFERENCE_RULE, Objective, non_dominated
from results.quantities import quantity
from results.report.measurements import Measurements, shortened
from results.report.networks import PART_FIELDS, Networks
from results.report.pool import Pool
from results.run import Run
from results.state import run_state
from results.text import dump_yaml
from search_spaces.cost import Cost

SCHEMA = "nas.report/1"


def content(runs: Sequence[Run], *, now: float, version: str) -> dict[str, Any]:
    """The report of `runs`, made at `now` (seconds since 1970).

    Candidates stand in columns; a place in `texts`, `parts`, `names` or `conditions` stands for what is
    kept there once. `groups` holds what was measured alike: only within one do step times and accuracies
    compare, and `joint` marks who is on the front of all runs of its group.

    Raises:
        LedgerError: a ledger is damaged.
    """
    records = [_records(run) for run in runs]
    networks = Networks()
    measurements = Measurements(num_records=sum(len(each) for found in records for each in found.values()))
    groups: Pool[str] = Pool()
    described = []
    rows: list[dict[str, Any]] = []
    for index, (run, found) in enumerate(zip(runs, records, strict=True)):
        described.append(_run(run, groups.place(_conditions(run, found))))
        members = {member.id for member in run.pareto()}
        rows += [
            _row(index, run, result, result.id in members, networks, measurements, found)
            for result in run.candidates()
        ]
    for run, said in zip(runs, described, strict=True):
        said["progress"] = progress(run, _common_reference(runs, described, said["group"]))
    names = _names(run.candidates() for run in runs)
    return {
        "schema": SCHEMA,
        "made_at": _utc(now),
        "version": version,
        "runs": described,
        "groups": groups.values(),
        "quantities": [_quantity(name, runs) for name in names],
        "candidates": _columns(rows, names) | {"joint": _joint(runs, described)},
        "texts": networks.texts.values(),
        "part_fields": PART_FIELDS,
        "parts": networks.parts.values(),
        "measured": {
            "texts": measurements.texts.values(),
            "names": measurements.names.values(),
            "conditions": measurements.conditions.values(),
        },
    }


def _records(run: Run) -> dict[str, list[Record]]:
    """Outcomes by digest, with their details."""
    if not (run.path / LEDGER_NAME).exists():
        return {}
    found: dict[str, list[Record]] = {}
    with Ledger.open(run.path / LEDGER_NAME, read_only=True) as ledger:
        for record in ledger.records():
            found.setdefault(record.outcome.digest, []).append(record)
    return found


def _run(run: Run, group: int) -> dict[str, Any]:
    summary = run.summary()
    state = run_state(run.path)
    target = (run.config.get("config") or {}).get("candidates")
    return {
        "name": run.name,
        "group": group,
        "phase": state.phase,
        "writer": state.writer if state.may_change else None,
        "evaluated": summary["evaluated"],
        "failed": summary["failed"],
        "target": target if isinstance(target, int) else None,
        "hypervolume": summary["hypervolume"],
        "reference": run.reference(),
        "rule": "fixed by the configuration" if run.config.get("hypervolume_reference") else REFERENCE_RULE,
        "wall_seconds": run.wall_seconds,
        "estimated": run.is_estimated,
        "objectives": [{"name": each.name, "direction": each.direction} for each in run.objectives],
        "provenance": {
            str(key): dump_yaml(value, "report") if isinstance(value, dict) else str(value)
            for key, value in run.config.items()
            if key != "schema" and value is not None
        },
    }


def _row(
    index: int,
    run: Run,
    result: CandidateResult,
    is_member: bool,
    networks: Networks,
    measurements: Measurements,
    records: Mapping[str, list[Record]],
) -> dict[str, Any]:
    return {
        "run": index,
        "id": result.id,
        "digest": result.digest,
        "status": result.status,
        "reason": result.reason,
        "origin": result.origin,
        "resolution": result.resolution,
        "seeds": result.num_seeds,
        "front": int(is_member),
        "result": result,
        "yaml": networks.yaml(result, name=architecture_name(result, run), run=run.name),
        "parts": networks.anatomy(result),
        "outcomes": [measurements.entry(record) for record in records.get(result.digest, [])],
    }


_PLAIN = ("run", "id", "digest", "resolution", "seeds", "front", "yaml", "parts", "outcomes")
_POOLED = ("status", "reason", "origin")


def _columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """The rows by column; texts that repeat as places in `words`, None as null."""
    words: Pool[str] = Pool()
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in _PLAIN}
    for key in _POOLED:
        columns[key] = [None if row[key] is None else words.place(row[key]) for row in rows]
    columns["values"] = {name: [_value(row["result"], name) for row in rows] for name in names}
    columns["words"] = words.values()
    return columns


def _value(result: CandidateResult, name: str) -> float | None:
    value = result.seconds if name == "seconds" else result.value(name)
    return None if value is None else shortened(value)


def _names(results: Any) -> list[str]:
    """Names of all quantities: costs, metrics, and the time that the evaluation took."""
    first = ("accuracy", "step_ms", "params", "macs", "step_ratio", "peak_memory_bytes", "activation_bytes")
    found = {name for each in results for result in each for name in result.metrics}
    usual = [name for name in first if name in found or name in Cost._fields]
    return [*usual, *sorted(found.difference(usual)), "seconds"]


def _quantity(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """A quantity with the direction that is better: the runs' where they have it as an objective."""
    known = quantity(name)
    chosen = {each.name: each.direction for run in runs for each in run.objectives}
    direction = chosen.get(name) or DIRECTIONS.get(name)
    return {
        "name": name,
        "label": known.label,
        "unit": known.unit,
        "form": known.form,
        "direction": direction,
    }


def _conditions(run: Run, records: Mapping[str, list[Record]]) -> str:
    """What results of a run compare under: device with software, timing settings, proxy task; as a sentence.

    Two runs with the same sentence were measured alike: fingerprints are part of it.
    """
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


def _common_reference(
    runs: Sequence[Run], described: Sequence[Mapping[str, Any]], group: int
) -> dict[str, float] | None:
    """A reference that no run of the group is worse than its own in; None where their objectives differ."""
    members = [run for run, each in zip(runs, described, strict=True) if each["group"] == group]
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


def _joint(runs: Sequence[Run], described: Sequence[Mapping[str, Any]]) -> list[int]:
    """1 for each candidate on the front of all runs of its group, where they share their objectives."""
    on_joint: set[tuple[int, int]] = set()
    for group in {each["group"] for each in described}:
        indices = [index for index, each in enumerate(described) if each["group"] == group]
        objectives: tuple[Objective, ...] = runs[indices[0]].objectives
        if any(set(runs[index].objectives) != set(objectives) for index in indices):
            continue
        members = [(index, member) for index in indices for member in runs[index].pareto()]
        names = [each.name for each in objectives]
        kept = non_dominated([member.values(names) for _, member in members], objectives)
        on_joint |= {(members[place][0], members[place][1].id) for place in kept}
    return [int((index, each.id) in on_joint) for index, run in enumerate(runs) for each in run.candidates()]


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
