"""Files to take away: architectures with where they come from, the front, the table. Data only."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.candidate import CandidateResult
from results.entries import Record
from results.errors import RunWriteError
from results.filesystem import write_atomically
from results.frame import csv_text
from results.pareto import REFERENCE_RULE
from results.run import Run, load_run, member_summary
from results.text import dump_yaml

FRONT_SCHEMA = "nas.front/1"

_PROVENANCE_KEYS = ("versions", "git", "hardware", "seed")
_FRONT_FILE = re.compile(r"[0-9]{4,}-[0-9a-f]{12}\.yaml")
_MAX_NAME = 100


def architecture_text(candidate: CandidateResult, run: Run) -> str:
    """YAML of a candidate's architecture, with `provenance`, `measurements` and `estimates` if there are any.

    It is read wherever an architecture is, to the same digest; the added keys are passed over there.
    """
    from search_spaces.seal import seal
    from search_spaces.text import dump

    document = candidate.architecture
    document.setdefault("name", architecture_name(candidate, run))
    # The key order a person expects: what it is called, what it is, how to train it.
    ordered = {key: document.pop(key) for key in ("schema", "name", "notes") if key in document} | document
    place = f"export of candidate {candidate.id}"
    records = run.records(candidate)
    estimates = [_measurement(record) for record in records if record.outcome.kind == "estimate"]
    added = {
        "provenance": _provenance(candidate, run),
        "measurements": [_measurement(record) for record in records if record.outcome.kind != "estimate"],
    } | ({"estimates": estimates} if estimates else {})
    return seal(dump(ordered) + dump_yaml(added, place))


def export_architecture(candidate: CandidateResult, run: Run, path: Path) -> None:
    """Write `architecture_text` to `path`, whole or not at all.

    Raises:
        RunWriteError: the file cannot be written.
    """
    write_atomically(path, architecture_text(candidate, run))


def export_csv(run: Run, path: Path) -> None:
    """Write the run's table to `path` as CSV; cells cannot act as spreadsheet formulas.

    Raises:
        RunWriteError: the file cannot be written.
    """
    write_atomically(path, csv_text(run.candidates()))


def write_front(path: Path) -> Run:
    """Write `pareto.yaml` and `architectures/*.yaml` of the run in directory `path`; returns the run.

    Each file is whole at every moment, and `pareto.yaml` names only architectures that are there.
    Architectures that have left the front are removed last.

    Raises:
        RunWriteError: a file cannot be written.
    """
    run = load_run(path)
    folder = path / "architectures"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunWriteError(
            f"{folder} could not be made ({error.strerror}); move away what is there"
        ) from error
    names = {}
    for member in run.pareto():
        names[member.id] = f"{member.id:04d}-{member.digest[:12]}.yaml"
        target = folder / names[member.id]
        export_architecture(member, run, target)
    write_atomically(path / "pareto.yaml", dump_yaml(_front_document(run, names), "pareto.yaml"))
    for stale in folder.iterdir():
        if _FRONT_FILE.fullmatch(stale.name) and stale.name not in names.values():
            stale.unlink(missing_ok=True)
    return run


def _front_document(run: Run, names: Mapping[int, str]) -> dict[str, Any]:
    summary = run.summary()
    fixed = "hypervolume_reference" in run.config
    members = [
        member_summary(member)
        | member.values(objective.name for objective in run.objectives)
        | {"architecture": f"architectures/{names[member.id]}"}
        for member in run.pareto()
    ]
    return {
        "schema": FRONT_SCHEMA,
        "run": run.name,
        **({"estimated": True} if run.is_estimated else {}),
        "objectives": [{"name": each.name, "direction": each.direction} for each in run.objectives],
        "evaluated": summary["evaluated"],
        "failed": summary["failed"],
        "hypervolume": {
            "value": summary["hypervolume"],
            "reference": run.reference(),
            "rule": "fixed by the configuration" if fixed else REFERENCE_RULE,
        },
        "front": members,
    }


def _provenance(candidate: CandidateResult, run: Run) -> dict[str, Any]:
    return {
        "run": run.name,
        "candidate": candidate.id,
        "digest": candidate.digest,
        "status": candidate.status,
        "origin": candidate.origin,
    } | {key: run.config[key] for key in _PROVENANCE_KEYS if key in run.config}


def _measurement(record: Record) -> dict[str, Any]:
    outcome = record.outcome
    return {
        "kind": outcome.kind,
        "status": outcome.status,
        **({"reason": outcome.reason} if outcome.reason is not None else {}),
        **({"measured_in": record.origin} if record.origin is not None else {}),
        "metrics": outcome.metrics,
        "details": outcome.details,
        "seconds": outcome.seconds,
        "recorded_at": record.recorded_at,
        "key": outcome.key,
    }


def architecture_name(candidate: CandidateResult, run: Run) -> str:
    """A name that documents allow: the run's, as far as its characters go, and the candidate's number."""
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", run.name).lstrip("._+-") or "run"
    ending = f"-{candidate.id:04d}"
    return stem[: _MAX_NAME - len(ending)] + ending
