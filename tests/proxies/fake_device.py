"""A device for tests of the timing method: a clock that only steps move, and states to order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from proxies.backend import Observation, Pace, PeakMemory


class FakeStep:
    """A step whose n-th run takes `ms(n, now)` milliseconds, times noise of relative size `noise`."""

    def __init__(
        self, ms: Callable[[int, float], float] | float, *, noise: float = 0.0, seed: int = 0
    ) -> None:
        self._ms = ms if callable(ms) else lambda n, now: ms
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        self.runs = 0

    def next_ms(self, now: float) -> float:
        self.runs += 1
        return float(self._ms(self.runs, now) * np.exp(self._noise * self._rng.standard_normal()))

    def __call__(self) -> None:
        pass


class FakeBackend:
    """Implements `proxies.backend.Backend`. A real step is run once; each run of it takes `real_step_ms`."""

    def __init__(
        self,
        *,
        pace: Pace | None = None,
        states: list[dict[str, Any]] | None = None,
        counts_waiting: bool = False,
        real_step_ms: float = 10.0,
        slowdown: Callable[[float], float] = lambda now: 1.0,
        waiting: float = 0.0,
    ) -> None:
        self._pace = pace or Pace(block_ms=30.0, most_steps=3, lead_in_steps=0, warm_up_steps=4)
        self._states: Iterator[dict[str, Any]] = iter(states or [])
        self._counts_waiting = counts_waiting
        self._real_step_ms = real_step_ms
        self._slowdown = slowdown
        self._waiting = waiting  # seconds that pass unseen by the step clock, for each second it sees
        self.seconds = 1000.0
        self.order: list[object] = []
        self.pauses: list[float] = []
        self._is_prepared = False
        self.fail: Callable[[object], None] = lambda step: None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def pace(self) -> Pace:
        return self._pace

    @property
    def counts_waiting(self) -> bool:
        return self._counts_waiting

    @contextmanager
    def prepared(self, settings):
        self._is_prepared = True
        yield
        self._is_prepared = False

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds

    def time_steps(self, step, count: int) -> list[float]:
        if step not in self.order:
            step()
        self.order.append(step)
        times = []
        for _ in range(count):
            self.fail(step)
            base = step.next_ms(self.seconds) if isinstance(step, FakeStep) else self._real_step_ms
            ms = base * self._slowdown(self.seconds)
            self.seconds += ms / 1e3 * (1.0 + self._waiting)
            times.append(ms)
        return times

    def reset_peak_memory(self) -> None:
        pass

    def peak_memory(self) -> PeakMemory:
        return PeakMemory(peak_bytes=123, method="fake")

    def observe(self) -> Observation:
        return Observation(wall_seconds=self.seconds, **next(self._states, {}))

    def describe(self) -> dict[str, Any]:
        return {"clock": "fake", "prepared": self._is_prepared}
