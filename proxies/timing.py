"""The step time of one network: measured beside a fixed reference, judged, retried, or called unstable.

The result is the median of paired ratios with its 95 % interval; in milliseconds it is that ratio times the
reference's own time. How the pairs are taken is in `interleaving`, how they are judged in `step_statistics`,
what a device must offer in `backend`.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from proxies.backend import Backend, PeakMemory
from proxies.interleaving import (
    Attempt,
    BlockPlan,
    WarmUp,
    interleave,
    plan_blocks,
    warm_up,
)
from proxies.records import TimingSettings
from proxies.reference_network import REFERENCE
from proxies.timed_step import TimedStep, described, make_step
from search_spaces.network import build

NOT_OF_ONNX = PeakMemory(peak_bytes=None, method="not measured: the export would count too")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """A measured step time: every attempt, and the best of them as the result."""

    settings: TimingSettings
    attempts: tuple[Attempt, ...]
    plan: BlockPlan
    candidate_warm_up: WarmUp
    reference_warm_up: WarmUp
    peak_memory: PeakMemory
    baseline_ms: float | None
    """The calibrated time of the reference, which sets the scale; None: not known."""
    software: dict[str, Any]
    """Versions and switches in force while measuring."""
    baseline_problem: str | None = None
    """Why what was seen of the reference could not be kept, as a clause."""

    @property
    def best(self) -> Attempt:
        """The accepted attempt, else the one with the narrowest interval."""
        return min(self.attempts, key=lambda attempt: (len(attempt.reasons) > 0, attempt.verdict.half_width))

    @property
    def reason(self) -> str | None:
        """Why the result is provisional; None: it is accepted."""
        if not self.best.reasons:
            return None
        why = self.best.conditions.explanation()
        tried = f"not accepted in {len(self.attempts)} attempt{'s' if len(self.attempts) > 1 else ''}"
        return f"{tried}: {'; '.join([*self.best.reasons, *([why] if why else [])])}"

    @property
    def reference_ms(self) -> float:
        """The reference's calibrated time where a baseline was given, else its median in this measurement."""
        return self.best.verdict.reference_ms if self.baseline_ms is None else self.baseline_ms

    @property
    def step_ms(self) -> float:
        """Milliseconds of one training step: the ratio times `reference_ms`."""
        return self.best.verdict.ratio * self.reference_ms

    @property
    def step_ms_low(self) -> float:
        """Lower end of the 95 % interval; the scale `reference_ms` is taken as exact."""
        return self.best.verdict.ratio_low * self.reference_ms

    @property
    def step_ms_high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.best.verdict.ratio_high * self.reference_ms

    def method(self) -> dict[str, Any]:
        """How the number came about, as plain JSON."""
        return {
            "reference": {"name": REFERENCE.name, "digest": REFERENCE.digest},
            "reference_ms": self.reference_ms,
            "reference_ms_from": "this measurement" if self.baseline_ms is None else "the baseline",
            "baseline_problem": self.baseline_problem,
            "raw_step_ms": self.best.verdict.candidate_ms,
            "step": described(self.settings),
            "block_steps": {"candidate": self.plan.candidate, "reference": self.plan.reference},
            "warm_up": {
                "candidate": asdict(self.candidate_warm_up),
                "reference": asdict(self.reference_warm_up),
            },
            "attempts": [
                {
                    **asdict(attempt.verdict),
                    "reasons": list(attempt.reasons),
                    "reference_drift": attempt.drift,
                    "conditions": attempt.conditions.document(),
                }
                for attempt in self.attempts
            ],
            "blocks": self._blocks(),
            "peak_memory_method": self.peak_memory.method,
        }

    def _blocks(self) -> dict[str, list[float]] | None:
        """The times that the result rests on, to five digits: what a reader needs to judge it anew."""
        if self.best.series is None:
            return None
        return {
            name: [float(f"{ms:.5g}") for ms in times] for name, times in asdict(self.best.series).items()
        }


def measure_step(
    network: Callable[[], nn.Module],
    settings: TimingSettings,
    *,
    backend: Backend,
    rng: np.random.Generator,
    channels: int = 3,
    reference_baseline_ms: float | None = None,
) -> StepTiming:
    """Measure the training step time of the network that `network()` builds, in this process, now.

    The budget counts from the second step on: initialisation and compilation are reported apart. The caller
    holds the device's lock.

    Raises:
        StepTooSlowError: fewer than three pairs fit into the budget.
        Diverged: the loss of a step is not finite.
        MemoryError, torch.OutOfMemoryError, RuntimeError: the network does not fit (`is_out_of_memory`).
    """
    with backend.prepared(settings), _garbage_collection_off():
        reference = _reference_step(settings, backend)
        backend.reset_peak_memory()
        candidate = make_step(network(), settings, device=backend.device, channels=channels)
        first_ms = backend.time_steps(candidate, 1)[0]
        candidate.check_finite()
        deadline = backend.now() + settings.budget_seconds
        candidate_warm_up = warm_up(candidate, first_ms, settings.budget_seconds, backend)
        peak_memory = NOT_OF_ONNX if settings.work == "onnx-inference" else backend.peak_memory()
        reference_warm_up = warm_up(
            reference, backend.time_steps(reference, 1)[0], settings.budget_seconds, backend
        )
        plan = plan_blocks(candidate_warm_up.last_ms, reference_warm_up.last_ms, backend)
        attempts = interleave(
            candidate,
            reference,
            plan,
            backend=backend,
            rng=rng,
            tolerance=settings.tolerance,
            deadline=deadline,
            baseline_ms=reference_baseline_ms,
        )
        candidate.check_finite()
        software = backend.describe()
    return StepTiming(
        settings=settings,
        attempts=attempts,
        plan=plan,
        candidate_warm_up=candidate_warm_up,
        reference_warm_up=reference_warm_up,
        peak_memory=peak_memory,
        baseline_ms=reference_baseline_ms,
        software=software,
    )


def _reference_step(settings: TimingSettings, backend: Backend) -> TimedStep:
    """The reference network's step, run once."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            step = make_step(build(REFERENCE, settings.num_classes), settings, device=backend.device)
        backend.time_steps(step, 1)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise MemoryError(
                "the reference network itself does not fit; lower --batch or --resolution"
            ) from error
        raise
    return step


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the host or on a device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
