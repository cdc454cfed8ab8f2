"""What the ledger holds, as values, and how a value becomes a row and back."""

import gc
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from proxies.records import Outcome
from results.errors import LedgerError
from search_spaces.cost import Cost

OUTCOME_COLUMNS = "key, kind, digest, status, reason, metrics, details, seconds"
FILED_COLUMNS = "attempt, origin, recorded_at, sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network that was proposed. `cost` is exact and stated at `resolution` pixels."""

    id: int
    digest: str
    architecture_json: str = field(repr=False)
    cost: Cost
    resolution: int
    origin: str
    proposal_index: int
    created_at: float

    @property
    def architecture(self) -> dict[str, Any]:
        """The architecture document, read anew at each call."""
        document: dict[str, Any] = json.loads(self.architecture_json)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An outcome as it was filed. `origin` names the run it was copied from; None: measured here."""

    outcome: Outcome
    attempt: int
    origin: str | None
    recorded_at: float
    sha256: str

    @property
    def is_intact(self) -> bool:
        """Whether the outcome is still what was recorded."""
        return encode_outcome(self.outcome).sha256 == self.sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipDecision:
    """Why a candidate was not evaluated further. `kind` is `limit` for an infeasible one, else free."""

    digest: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time in which a search wrote: its start in seconds since 1970, its length in seconds."""

    started_at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedOutcome:
    """An outcome as a row (`OUTCOME_COLUMNS`), as canonical JSON, and the checksum of that."""

    row: tuple[Any, ...]
    payload: str
    sha256: str


def encode_outcome(outcome: Outcome) -> EncodedOutcome:
    """The outcome as the ledger writes it.

    Raises:
        ValueError: a number is not finite, or `details` is not plain JSON.
    """
    place = f"{outcome.kind} outcome {outcome.key[:12]}"
    metrics, details = canonical_json(outcome.metrics, place), canonical_json(outcome.details, place)
    reason = None if outcome.reason is None else _storable(outcome.reason)
    # Through JSON and back, so that tuples and integer keys give the checksum that a reader computes.
    parsed = {"reason": reason, "metrics": json.loads(metrics), "details": json.loads(details)}
    payload = canonical_json(outcome.model_dump() | parsed, place)
    return EncodedOutcome(
        row=(
            outcome.key,
            outcome.kind,
            outcome.digest,
            outcome.status,
            reason,
            metrics,
            details,
            outcome.seconds,
        ),
        payload=payload,
        sha256=hashlib.sha256(payload.encode()).hexdigest(),
    )


def decode_outcome(row: tuple[Any, ...]) -> Outcome:
    """The outcome of a row that starts with `OUTCOME_COLUMNS`.

    Raises:
        LedgerError: the row does not hold an outcome; somebody changed it.
    """
    key, kind, digest, status, reason, metrics, details, seconds, *_ = row
    try:
        return Outcome(
            key=key,
            kind=kind,
            digest=digest,
            status=status,
            reason=reason,
            metrics=from_json(metrics),
            details={} if details == "{}" else from_json(details),
            seconds=seconds,
        )
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"outcome {str(key)[:12]} cannot be read back ({_first_line(error)}); restore it from a copy"
        ) from error


def decode_record(row: tuple[Any, ...]) -> Record:
    """The record of a row of `OUTCOME_COLUMNS` and `FILED_COLUMNS`; raises as `decode_outcome`."""
    outcome = decode_outcome(row)
    attempt, origin, recorded_at, sha256 = row[8:]
    return Record(outcome=outcome, attempt=attempt, origin=origin, recorded_at=recorded_at, sha256=sha256)


def decode_payload(payload: str) -> Outcome:
    """The outcome of a canonical JSON text.

    Raises:
        LedgerError: the text does not hold an outcome; somebody changed it.
    """
    try:
        return Outcome.model_validate_json(payload)
    except ValueError as error:
        raise LedgerError(
            f"an outcome cannot be read back ({_first_line(error)}); restore the ledger from a copy"
        ) from error


def decode_candidate(row: tuple[Any, ...]) -> Candidate:
    """The candidate of a row with all columns."""
    return Candidate(
        id=row[0],
        digest=row[1],
        architecture_json=row[2],
        cost=Cost(*row[3:7]),
        resolution=row[7],
        origin=row[8],
        proposal_index=row[9],
        created_at=row[10],
    )


def encode_architecture(architecture: Mapping[str, Any], digest: str) -> str:
    """The document as JSON, its keys in the order a person reads them.

    Raises:
        ValueError: it is not plain JSON.
    """
    return _json(architecture, f"architecture {digest[:12]}", sort_keys=False)


def canonical_json(value: Any, place: str) -> str:
    """One text for equal values.

    Raises:
        ValueError: a number is not finite, or something is not plain JSON; `place` is named.
    """
    return _json(value, place, sort_keys=True)


@contextmanager
def without_collection() -> Iterator[None]:
    """Python's search for cycles, off meanwhile: values of a ledger have none, and looking for them among
    100,000 took 40 % of the time of a load.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def plain_json(value: Any, place: str) -> Any:
    """The same data as mappings with string keys, lists, strings, finite numbers, booleans and None.

    Raises:
        ValueError: something cannot be that; `place` is named.
    """
    return json.loads(_json(value, place, sort_keys=False))


def _json(value: Any, place: str, *, sort_keys: bool) -> str:
    try:
        return json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}; record finite numbers and plain JSON only") from None


def _storable(text: str) -> str:
    """Without lone surrogates, which undecodable bytes in an error message become and SQLite refuses."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
