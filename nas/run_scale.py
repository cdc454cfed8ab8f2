"""One scale for a run: its first timing's reference time sets the milliseconds of all others."""

import json
from dataclasses import dataclass, field
from typing import Any

from proxies.baselines import conditions_of
from proxies.records import Outcome, TimeJob, TimingSettings
from proxies.reference_network import REFERENCE

BASELINE = "the baseline"
"""What a timing's `method` says its scale is from when it is a calibrated one."""


@dataclass(slots=True)
class RunScale:
    """Reference times by the conditions they hold under, as the run's own ledger has them.

    Baselines may be replaced between runs, but within one a step time in milliseconds is comparable only if
    nothing moves its scale. So a later job is sent the first one's, on whatever node it runs and after any
    restart, and another run's timing is reused only if it has the same.
    """

    reference_ms: dict[str, float] = field(default_factory=dict)

    def learn(self, outcome: Outcome) -> None:
        """Take the scale of a timing, where its conditions have none yet."""
        conditions, method = _conditions(outcome), outcome.details.get("method")
        if conditions is not None and method and method.get("reference_ms_from") == BASELINE:
            self.reference_ms.setdefault(_key(conditions), float(method["reference_ms"]))

    def applied_to(self, job: TimeJob) -> TimeJob:
        """The job with the run's scale; as it is where the run has none yet."""
        known = self.reference_ms.get(_key(conditions_of(job.hardware_fingerprint, job.settings)))
        return job if known is None else job.model_copy(update={"reference_ms": known})

    def fits(self, outcome: Outcome) -> bool:
        """Whether a timing is on this run's scale, or may set it. Trainings have none."""
        if outcome.kind != "time":
            return True
        conditions, method = _conditions(outcome), outcome.details.get("method")
        known = self.reference_ms.get(_key(conditions)) if conditions is not None else None
        return known is None or bool(method and method.get("reference_ms") == known)


def _conditions(outcome: Outcome) -> dict[str, Any] | None:
    """What the scale of a timing holds for; None where the outcome does not say (failures, trainings)."""
    details = outcome.details
    if outcome.kind != "time" or not {"hardware_fingerprint", "settings", "method"} <= details.keys():
        return None
    if (details["method"].get("reference") or {}).get("digest") != REFERENCE.digest:
        return None
    return conditions_of(details["hardware_fingerprint"], TimingSettings.model_validate(details["settings"]))


def _key(conditions: dict[str, Any]) -> str:
    return json.dumps(conditions, sort_keys=True)
