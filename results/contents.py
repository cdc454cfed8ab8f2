"""What is in a run's directory at one moment: its configuration, and its ledger joined into candidates."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.candidate import CandidateResult, join
from results.directory import LEDGER_NAME, read_config
from results.entries import Span, without_collection
from results.errors import RunError
from results.ledger import Ledger
from results.pareto import DEFAULT_OBJECTIVES, Objective

DEFAULT_JOBS = {"time": 1, "train": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What `results.run.Run` is made of."""

    config: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    results: tuple[CandidateResult, ...] = ()
    wall_seconds: float = 0.0
    sessions: tuple[Span, ...] = ()


def read_contents(path: Path) -> Contents:
    """Read the run in directory `path`, also while a search writes there.

    Raises:
        RunError: no run is there, or its configuration cannot be used.
        LedgerError: its ledger is damaged or of a newer schema.
    """
    config = read_config(path)
    objectives = _read_objectives(config, path)
    # A search that has only just begun has no ledger yet.
    if not (path / LEDGER_NAME).exists():
        return Contents(config=config, objectives=objectives)
    jobs = config.get("jobs_per_candidate") or DEFAULT_JOBS
    reading = Ledger.open(path / LEDGER_NAME, read_only=True)
    with without_collection(), reading as ledger, ledger.snapshot():
        records = ledger.records(with_details=False)
        return Contents(
            config=config,
            objectives=objectives,
            results=join(ledger.candidates(), records, ledger.decisions(), jobs_per_candidate=jobs),
            wall_seconds=ledger.wall_seconds(),
            sessions=ledger.sessions(),
        )


def _read_objectives(config: Mapping[str, Any], path: Path) -> tuple[Objective, ...]:
    entries = config.get("objectives")
    if not entries:
        return DEFAULT_OBJECTIVES
    try:
        return tuple(
            Objective.parse(entry) if isinstance(entry, str) else Objective(**entry) for entry in entries
        )
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}/run.yaml: objectives: {error}; each is a name and a direction") from error
