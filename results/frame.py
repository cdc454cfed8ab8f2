"""Candidates as a table: one row each, for pandas and for spreadsheets."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from results.candidate import CandidateResult

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

_FIRST = ("id", "digest", "status", "accuracy", "step_ms", "step_ms_low", "step_ms_high", "params", "macs")
_THEN = (
    "step_ratio",
    "peak_memory_bytes",
    "activation_bytes",
    "active_params",
    "resolution",
    "origin",
    "train_loss_sum",
    "num_seeds",
    "reason",
    "seconds",
)
COLUMNS = (*_FIRST, *_THEN)
"""Always there, in this order; other metrics of the task follow by name."""

_INTEGERS = ("id", "params", "macs", "activation_bytes", "active_params", "resolution", "num_seeds")
_TEXTS = ("digest", "status", "origin", "reason")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def columns(results: Sequence[CandidateResult]) -> tuple[str, ...]:
    """The columns of a table of these candidates."""
    extra = {name for result in results for name in result.metrics}.difference(COLUMNS)
    return (*COLUMNS, *sorted(extra))


def row(result: CandidateResult, names: Sequence[str]) -> dict[str, Any]:
    """One candidate; what was not measured is None."""
    fields: dict[str, Any] = {
        "id": result.id,
        "digest": result.digest,
        "status": result.status,
        "resolution": result.resolution,
        "origin": result.origin,
        "num_seeds": result.num_seeds,
        "reason": result.reason,
        "seconds": result.seconds,
    }
    return {name: fields[name] if name in fields else result.value(name) for name in names}


def frame(results: Sequence[CandidateResult]) -> "pd.DataFrame":
    """A row per candidate; what was not measured is pandas' own missing value (NaN, or None for text)."""
    import pandas as pd

    names = columns(results)
    rows = [row(result, names) for result in results]
    series = {name: pd.Series([entry[name] for entry in rows], dtype=_dtype(name)) for name in names}
    return pd.DataFrame(series)


def frame_of(kind: type["DataclassInstance"], values: Sequence[Any]) -> "pd.DataFrame":
    """A row per value; the columns are the fields of `kind`, there also when there are no values."""
    import pandas as pd

    names = [field.name for field in fields(kind)]
    return pd.DataFrame([{name: getattr(value, name) for name in names} for value in values], columns=names)


def csv_text(results: Sequence[CandidateResult]) -> str:
    """The same table as CSV. Text that a spreadsheet would run as a formula is made plain text by a quote."""
    names = columns(results)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=[_escaped(name) for name in names], lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerow({_escaped(name): _escaped(value) for name, value in row(result, names).items()})
    return buffer.getvalue()


def _dtype(name: str) -> str:
    if name in _INTEGERS:
        return "int64"
    return "object" if name in _TEXTS else "float64"


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
