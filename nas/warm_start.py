"""What earlier runs found, as what a strategy is told before it proposes anything.

It is written into the run's directory when the run is started, so that a resumed search is told the same even
if those runs have gone on, or have gone.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nas.errors import ConfigError
from nas.evaluations import accuracy_curve
from nas.strategies.protocol import Evaluation
from proxies.records import Outcome
from results.candidate import CandidateResult
from results.directory import LEDGER_NAME, read_config
from results.filesystem import write_atomically
from results.ledger import Ledger
from results.pareto import Objective, non_dominated
from results.run import load_run
from search_spaces.architecture import cost
from search_spaces.document import architecture_from_document
from search_spaces.space import Space

FILE_NAME = "warm_start.json"


def warm_start(
    directory: Path, runs: Sequence[Path], space: Space, *, task_fingerprint: str, hardware_fingerprint: str
) -> list[Evaluation]:
    """The evaluations that a run in `directory` starts from; read back if it was started before.

    Only what was measured in the same way can be learned from: candidates of other spaces are left out, runs
    on another task or hardware are refused.

    Raises:
        ConfigError: such a run.
        RunError, LedgerError: a run cannot be read.
    """
    file = directory / FILE_NAME
    if not file.exists():
        rows: list[dict[str, Any]] = []
        for run in runs:
            _require_alike(run, task_fingerprint, hardware_fingerprint)
            rows += _rows(run)
        write_atomically(file, json.dumps(rows, allow_nan=False))
    return _evaluations(json.loads(file.read_bytes()), space)


def front_of(earlier: Sequence[Evaluation], objectives: Sequence[Objective]) -> list[Evaluation]:
    """Those that no other dominates: worth being proposed again, since their measurements are copied."""
    return [earlier[position] for position in non_dominated([each.values for each in earlier], objectives)]


def _require_alike(run: Path, task_fingerprint: str, hardware_fingerprint: str) -> None:
    document = read_config(run)
    found = {"proxy task": ("task", task_fingerprint), "hardware": ("hardware", hardware_fingerprint)}
    for what, (key, fingerprint) in found.items():
        if (document.get(key) or {}).get("fingerprint") != fingerprint:
            raise ConfigError(
                f"--warm-start {run}: it was measured with another {what}, so nothing can be learned from it"
            )


def _rows(run: Path) -> Iterable[dict[str, Any]]:
    with Ledger.open(run / LEDGER_NAME, read_only=True) as ledger:
        trainings: dict[str, list[Outcome]] = {}
        for outcome in ledger.outcomes("train"):
            trainings.setdefault(outcome.digest, []).append(outcome)
    for result in load_run(run).candidates():
        if result.is_measured:
            yield _row(result, trainings.get(result.digest, []))


def _row(result: CandidateResult, trainings: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "architecture": result.architecture,
        "metrics": dict(result.metrics),
        "curve": list(accuracy_curve(trainings).items()),
        "is_provisional": result.is_provisional,
    }


def _evaluations(rows: Sequence[dict[str, Any]], space: Space) -> list[Evaluation]:
    found: dict[str, Evaluation] = {}
    for row in rows:
        arch = architecture_from_document(row["architecture"])
        if arch.digest in found or not space.contains(arch):
            continue
        total = cost(arch, space.resolution)
        found[arch.digest] = Evaluation(
            index=-1 - len(found),
            genes=space.encode(arch),
            digest=arch.digest,
            values={**dict(zip(total._fields, map(float, total), strict=True)), **row["metrics"]},
            curve={int(step): float(value) for step, value in row["curve"]},
            is_provisional=row["is_provisional"],
        )
    return list(found.values())
