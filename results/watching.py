"""A run as it goes on: what there is to see at one moment, again and again until the search ends."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from results.candidate import FAILED, CandidateResult
from results.directory import LEDGER_NAME
from results.run import Run, load_run
from results.state import RunState, run_state
from results.timeline import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run and its state at one moment; `now` is in seconds since 1970.

    `summary` and `moments` are the run's; `last` is who was evaluated, the latest first.
    """

    run: Run = field(repr=False)
    state: RunState
    now: float
    summary: Mapping[str, Any] = field(repr=False)
    moments: tuple[Moment, ...] = field(repr=False)
    last: tuple[CandidateResult, ...] = field(repr=False)

    @property
    def evaluated(self) -> int:
        """Candidates whose evaluation has ended, as the summary counts them."""
        return int(self.summary["evaluated"])

    @property
    def target(self) -> int | None:
        """Candidates that were asked for; None where the configuration does not say."""
        target = (self.run.config.get("config") or {}).get("candidates")
        return target if isinstance(target, int) and target > 0 else None

    @property
    def failures(self) -> dict[str, int]:
        """How many candidates broke, by status, the most frequent first."""
        return dict(Counter(each.status for each in self.last if each.status in FAILED).most_common())

    @property
    def quiet_seconds(self) -> float | None:
        """Time since the last result; None before the first one."""
        if not self.last or self.last[0].finished_at is None:
            return None
        return max(0.0, self.now - self.last[0].finished_at)

    @property
    def eta_seconds(self) -> float | None:
        """Time that the rest would take at the pace so far; None where there is no telling, or no rest."""
        evaluated, target = self.evaluated, self.target
        if target is None or not evaluated or evaluated >= target or not self.state.may_change:
            return None
        return (target - evaluated) * self.run.wall_seconds / evaluated


def snapshots(
    path: Path, *, wait: Callable[[], None], clock: Callable[[], float] = time.time
) -> Iterator[Snapshot]:
    """What there is to see of the run in directory `path`, after each `wait`, and last when the search ended.

    The ledger is read again only when it was written to. The last snapshot holds everything: the state is
    looked at before the ledger.

    Raises:
        RunError: the directory is no run, or is one no longer.
        LedgerError: its ledger is damaged.
    """
    latest: Snapshot | None = None
    seen: tuple[tuple[int, int], ...] | None = None
    while True:
        state = run_state(path)
        written = _written(path)
        if latest is None or written != seen:
            latest, seen = _look(load_run(path), state, clock()), written
        latest = replace(latest, state=state, now=clock())
        yield latest
        if not state.may_change:
            return
        wait()


def _look(run: Run, state: RunState, now: float) -> Snapshot:
    """What is worked out once for every change of the ledger."""
    ended = (each for each in run.candidates() if each.is_measured or each.status in FAILED)
    last = sorted(ended, key=lambda each: (-(each.finished_at or 0.0), -each.id))
    return Snapshot(
        run=run, state=state, now=now, summary=run.summary(), moments=run.moments(), last=tuple(last)
    )


def _written(path: Path) -> tuple[tuple[int, int], ...]:
    """What changes with every write: size and time of the ledger and of its write-ahead log."""
    marks = []
    for name in (LEDGER_NAME, f"{LEDGER_NAME}-wal"):
        try:
            status = (path / name).stat()
        except FileNotFoundError:
            marks.append((0, 0))
        else:
            marks.append((status.st_size, status.st_mtime_ns))
    return tuple(marks)
