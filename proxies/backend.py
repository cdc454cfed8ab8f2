"""The seam between the method of timing and the device: what a device must offer to be timed on.

The method (`proxies.timing`) sees only this Protocol, so tests drive it with a fake device and a fake clock
through throttling, foreign processes, drift, noise and exhausted memory.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from proxies.records import TimingSettings

Step = Callable[[], object]
"""One training step, queued on the device; it need not have finished when it returns."""

MIN_CPU_SHARE = 0.95
"""Below this share of its wall time on a CPU, a timing process was not alone: named as the likely cause when
an interval is too wide. It refuses nothing by itself, since the ratios bear it."""
LOST_CPU_SHARE = 0.5
"""Where steps are timed by the wall clock, a measurement below this share is refused: the process waited more
than it ran, and what a pair compares is the waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How steps are grouped on a device: blocks of about `block_ms`, between one and `most_steps` steps.

    `lead_in_steps` at the start of each block are run and not counted: on a GPU the queue is empty then.
    `warm_up_steps` is the fewest steps before anything counts. `drift_per_tolerance` is how many tolerances
    the reference's own time may be from its baseline: 5 % at the 3 % of a GPU.
    """

    block_ms: float
    most_steps: int
    lead_in_steps: int
    warm_up_steps: int
    drift_per_tolerance: float = 5 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """The most memory a network's training step needed at once, or why that is not known."""

    peak_bytes: int | None
    method: str
    """How it was measured; where it was not, why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The state of device and machine at one moment. None: not known on this device."""

    wall_seconds: float
    cpu_seconds: float | None = None
    """CPU time of this thread, where the steps run on the CPU."""
    involuntary_switches: int | None = None
    cpu_pressure_seconds: float | None = None
    """Running total of time in which some task of the machine waited for a CPU (/proc/pressure/cpu)."""
    cpu_pressure_avg10: float | None = None
    foreign_processes: tuple[str, ...] = ()
    throttle_reasons: tuple[str, ...] = ()
    clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None


class Backend(Protocol):
    """One device as the method of timing sees it."""

    @property
    def device(self) -> torch.device:
        """Where networks and data are put."""

    @property
    def pace(self) -> Pace:
        """How to group steps here."""

    @property
    def counts_waiting(self) -> bool:
        """Whether the time in which the process waits for a CPU lengthens its steps."""

    def prepared(self, settings: TimingSettings) -> AbstractContextManager[None]:
        """Threads, precision and autotuning as the settings say; as before on leaving."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def wait(self, seconds: float) -> None:
        """Let that much time pass."""

    def time_steps(self, step: Step, count: int) -> list[float]:
        """Run `step` `count` times; the milliseconds each took, all work on the device finished."""

    def reset_peak_memory(self) -> None:
        """Start watching the peak from what is in use now."""

    def peak_memory(self) -> PeakMemory:
        """The peak since the last reset, beyond what was in use then."""

    def observe(self) -> Observation:
        """The state of device and machine now."""

    def describe(self) -> dict[str, Any]:
        """Device, software versions and switches that bear on a step time, as plain JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What happened around a measurement, between two observations."""

    cpu_share: float | None
    cpu_pressure: float | None
    involuntary_switches: int | None
    before: Observation
    after: Observation

    def complaints(self, *, counts_waiting: bool) -> list[str]:
        """Why a measurement taken meanwhile cannot be trusted, as clauses."""
        found = []
        foreign = sorted({*self.before.foreign_processes, *self.after.foreign_processes})
        if foreign:
            found.append(f"another process computes on the device ({', '.join(foreign)})")
        throttled = sorted({*self.before.throttle_reasons, *self.after.throttle_reasons})
        if throttled:
            found.append(f"the device was slowed down ({', '.join(throttled)})")
        if counts_waiting and self.cpu_share is not None and self.cpu_share < LOST_CPU_SHARE:
            found.append(f"the process had a CPU for only {self.cpu_share:.0%} of the time")
        return found

    def explanation(self) -> str | None:
        """What may have made the times scatter, as a clause; None when nothing is known to have."""
        if self.cpu_share is not None and self.cpu_share < MIN_CPU_SHARE:
            return f"other work had the CPU for {1 - self.cpu_share:.0%} of the time"
        return None

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def conditions(before: Observation, after: Observation) -> Conditions:
    """What the difference of two observations says."""
    wall = after.wall_seconds - before.wall_seconds
    cpu = _difference(after.cpu_seconds, before.cpu_seconds)
    pressure = _difference(after.cpu_pressure_seconds, before.cpu_pressure_seconds)
    switches = _difference(after.involuntary_switches, before.involuntary_switches)
    return Conditions(
        cpu_share=cpu / wall if wall > 0 and cpu is not None else None,
        cpu_pressure=pressure / wall if wall > 0 and pressure is not None else None,
        involuntary_switches=int(switches) if switches is not None else None,
        before=before,
        after=after,
    )


def _difference(after: float | None, before: float | None) -> float | None:
    return after - before if after is not None and before is not None else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value
