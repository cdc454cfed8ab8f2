"""Everything that a report says, as one plain JSON document. The page only arranges it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from results.candidate import CandidateResult
from results.directory import LEDGER_NAME
from results.entries import Record
from results.export import architecture_name
from results.ledger import Ledger
from results.pareto import DIRECTIONS, REFERENCE_RULE
from results.quantities import quantity
from results.report.beside import likely, published
from results.report.groups import common_reference, conditions_text, grouped, joint, progress
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
    groups = grouped(runs)
    described = []
    rows: list[dict[str, Any]] = []
    for index, (run, found) in enumerate(zip(runs, records, strict=True)):
        described.append(_run(run, groups[index]))
        members = {member.id for member in run.pareto()}
        rows += [
            _row(index, run, result, result.id in members, networks, measurements, found)
            for result in run.candidates()
        ]
    for run, group, said in zip(runs, groups, described, strict=True):
        said["progress"] = progress(run, common_reference(runs, groups, group))
        said["published"] = published(run)
        said["honest"] = likely(run)
    names = _names(run.candidates() for run in runs)
    return {
        "schema": SCHEMA,
        "made_at": _utc(now),
        "version": version,
        "runs": described,
        "groups": [
            conditions_text(runs[groups.index(group)], records[groups.index(group)])
            for group in range(max(groups) + 1)
        ],
        "quantities": [_quantity(name, runs) for name in names],
        "candidates": _columns(rows, names) | {"joint": joint(runs, groups)},
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


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
