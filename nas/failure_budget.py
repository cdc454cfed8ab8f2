"""When a search has seen enough failures to stop: too many, or nothing but one and the same."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from nas.errors import StoppedEarlyError
from proxies.records import Outcome

FAILED = frozenset({"error", "oom", "timeout", "diverged"})
"""Statuses of what broke. What was turned away (infeasible, stopped) did not."""

SAME_REASON = 5
"""So many first candidates that fail for one reason are not the candidates' fault."""

_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(slots=True)
class FailureBudget:
    """Counts candidates that broke. `max_failed` None: any number may.

    `max_failed` is over the whole run. That the first candidates all fail for one reason is asked of what
    this session has evaluated, not of what an earlier one did: whoever resumes has put the reason right.
    """

    max_failed: int | None = None
    failed: int = 0
    _first: set[tuple[str, str]] = field(default_factory=set)
    _new: int = 0
    _has_measured: bool = False

    def settle(self, outcomes: Sequence[Outcome], *, is_new: bool) -> None:
        """A candidate has ended with these outcomes; `is_new`: in this session.

        Raises:
            StoppedEarlyError: that was one failure too many; says what of.
        """
        broken = next((outcome for outcome in outcomes if outcome.status in FAILED), None)
        if broken is None:
            self._has_measured = self._has_measured or is_new
            return
        self.failed += 1
        reason = broken.reason or "no reason given"
        if self.max_failed is not None and is_new and self.failed > self.max_failed:
            raise StoppedEarlyError(
                f"{self.failed} candidates failed, more than --max-failed {self.max_failed}; "
                f"the last: {broken.status}: {reason}"
            )
        if is_new and not self._has_measured:
            self._new += 1
            self._first.add((broken.status, _NUMBER.sub("#", reason)))
            if self._new >= SAME_REASON and len(self._first) == 1:
                raise StoppedEarlyError(
                    f"the first {self._new} candidates failed for one reason ({broken.status}: {reason}); "
                    "put it right, then resume with --retry-failed"
                )
