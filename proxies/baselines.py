"""What the reference network takes on a device: calibrated once, kept between runs, replaced on evidence.

A ratio to the reference holds while the machine's clock wanders; times in milliseconds do so only if all of
them are that ratio times one and the same reference time. This is where that time is kept: one small JSON
file for each device with its software and each way of timing, in the user's cache folder. Loads no torch.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, ValidationError

from proxies.records import TimingSettings
from proxies.reference_network import REFERENCE
from proxies.user_cache import cache_folder
from search_spaces.spec import Spec

REPLACED_AFTER = 5
"""So many trusted measurements in a row, all further from the baseline than the tolerance and on one side of
it, replace it by their median: then the device is another than it was, and not merely busy for a moment."""
KEPT_SIGHTINGS = 50
NOT_A_CONDITION = {"tolerance", "budget_seconds"}
"""Settings that say how well to measure, not what; a baseline holds whatever they are."""


def now_utc() -> str:
    """The time, as records hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Sighting(Spec):
    """What one measurement saw of the reference."""

    reference_ms: PositiveFloat
    at: str


class Replaced(Spec):
    """A baseline of former times, and what replaced it."""

    reference_ms: PositiveFloat
    calibrated_at: str
    replaced_at: str
    evidence_ms: tuple[FiniteFloat, ...]


class Baseline(Spec):
    """The reference's calibrated time under one set of conditions, and what it rests on."""

    schema_version: Literal["nas.baseline/1"] = Field(default="nas.baseline/1", alias="schema")
    conditions: dict[str, Any]
    """The reference's digest, the hardware's fingerprint, and the settings that bear on a step time."""
    reference_ms: PositiveFloat
    calibrated_at: str
    sightings: tuple[Sighting, ...] = ()
    """What trusted measurements saw, oldest first; the newest fifty."""
    former: tuple[Replaced, ...] = ()

    def seen(self, reference_ms: float, *, tolerance: float, at: str) -> "Baseline":
        """After one more trusted measurement: the same baseline, or one that the evidence asks for."""
        sightings = (*self.sightings, Sighting(reference_ms=reference_ms, at=at))[-KEPT_SIGHTINGS:]
        updated = self.model_copy(update={"sightings": sightings})
        recent = [one.reference_ms for one in sightings[-REPLACED_AFTER:]]
        away = [ms / self.reference_ms - 1 for ms in recent]
        is_away = all(part > tolerance for part in away) or all(part < -tolerance for part in away)
        if len(recent) < REPLACED_AFTER or not is_away:
            return updated
        former = Replaced(
            reference_ms=self.reference_ms,
            calibrated_at=self.calibrated_at,
            replaced_at=at,
            evidence_ms=tuple(recent),
        )
        return updated.model_copy(
            update={
                "reference_ms": median(recent),
                "calibrated_at": at,
                "sightings": (),
                "former": (*self.former, former),
            }
        )


def conditions_of(hardware_fingerprint: str, settings: TimingSettings) -> dict[str, Any]:
    """What a baseline is a baseline of, as plain JSON."""
    return {
        "reference": REFERENCE.digest,
        "hardware_fingerprint": hardware_fingerprint,
        "settings": settings.model_dump(mode="json", exclude=NOT_A_CONDITION),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineStore:
    """The baselines of one user on one machine, a file each."""

    folder: Path
    clock: Callable[[], str] = now_utc

    @classmethod
    def of_user(cls) -> "BaselineStore":
        """The one in the user's cache folder."""
        return cls(folder=cache_folder() / "baselines")

    def find(self, conditions: dict[str, Any]) -> Baseline | None:
        """The baseline under these conditions; None where there is none, or its file is damaged."""
        try:
            found = Baseline.model_validate_json(self._path(conditions).read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.conditions == conditions else None

    def see(self, conditions: dict[str, Any], reference_ms: float, *, tolerance: float) -> Baseline:
        """Put down what a trusted measurement saw; returns the baseline that holds from now on.

        The first sighting is the calibration. Of processes that calibrate at once, one wins for all.

        Raises:
            OSError: the folder cannot be written.
        """
        at = self.clock()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            known = self.find(conditions)
            if known is None:
                first = Sighting(reference_ms=reference_ms, at=at)
                baseline = Baseline(
                    conditions=conditions, reference_ms=reference_ms, calibrated_at=at, sightings=(first,)
                )
            else:
                baseline = known.seen(reference_ms, tolerance=tolerance, at=at)
            self._write(self._path(conditions), baseline)
        return baseline

    def forget(self, conditions: dict[str, Any]) -> bool:
        """Remove a baseline, so that the next measurement calibrates anew; whether there was one."""
        path = self._path(conditions)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed

    def _path(self, conditions: dict[str, Any]) -> Path:
        canonical = json.dumps(conditions, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return self.folder / f"{hashlib.sha256(canonical.encode()).hexdigest()}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, path: Path, baseline: Baseline) -> None:
        """Whole or not at all, and on disk when this returns."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(baseline.model_dump_json(by_alias=True, indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
