"""The fastest sound way of running one network: layout, precision, compilation, fused optimizer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxies.hardware import HardwareProfile
from proxies.records import Outcome, Precision, TimingSettings

AXES = ("memory_format", "precision", "compile", "fused_optimizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One way of running: its timing, and why it was not taken (None: it was)."""

    settings: TimingSettings
    outcome: Outcome
    why_not: str | None = None

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            **{axis: getattr(self.settings, axis) for axis in AXES},
            "status": self.outcome.status,
            **{name: self.outcome.metrics.get(name) for name in ("step_ms", "step_ms_low", "step_ms_high")},
            "why_not": self.why_not,
        }


def tune(
    default: TimingSettings,
    *,
    profile: HardwareProfile,
    fixed: frozenset[str],
    time: Callable[[Sequence[TimingSettings]], Sequence[Outcome]],
    check: Callable[[TimingSettings], str | None],
) -> tuple[Outcome, tuple[Tried, ...]]:
    """Time the sensible ways of running and keep the fastest that is sound; all that were tried, in order.

    Layouts are tried with every precision, since one decides on the other; then compilation; then the fused
    optimizer. A later way takes the place of an earlier one only where it was accepted, `check` finds no
    problem, and its interval lies below the other's: what may be noise changes nothing. `fixed` names what
    the user has set.
    """
    best = Tried(settings=default, outcome=time([default])[0], why_not=check(default))
    tried = [best]
    for round_of in (_layouts_and_precisions, _compilations, _fused_optimizer):
        ways = [
            way for way in round_of(best.settings, profile, fixed) if way not in [t.settings for t in tried]
        ]
        for settings, outcome in zip(ways, time(ways) if ways else (), strict=True):
            why_not = _why_not(outcome, best) or check(settings)
            found = Tried(settings=settings, outcome=outcome, why_not=why_not)
            tried.append(found)
            best = found if why_not is None else best
    told = [
        each
        if each is best or each.why_not is not None
        else Tried(settings=each.settings, outcome=each.outcome, why_not="another is faster")
        for each in tried
    ]
    return best.outcome, tuple(told)


def _why_not(outcome: Outcome, best: Tried) -> str | None:
    """Why a timing does not replace the best one so far, soundness apart."""
    if outcome.status != "ok":
        return f"{outcome.status}: {outcome.reason}"
    if best.why_not is not None or "step_ms_low" not in best.outcome.metrics:
        return None
    if outcome.metrics["step_ms_high"] >= best.outcome.metrics["step_ms_low"]:
        return "not faster beyond doubt"
    return None


def _layouts_and_precisions(
    base: TimingSettings, profile: HardwareProfile, fixed: frozenset[str]
) -> Iterator[TimingSettings]:
    layouts = (base.memory_format,) if "memory_format" in fixed else ("channels_last", "contiguous")
    precisions = (base.precision,) if "precision" in fixed else _precisions(profile, base)
    for precision in precisions:
        for layout in layouts:
            yield base.model_copy(update={"memory_format": layout, "precision": precision})


def _precisions(profile: HardwareProfile, base: TimingSettings) -> tuple[Precision, ...]:
    """Those that the device has units for; fp32 only where nothing takes its place.

    fp16 is left out of captured steps, whose loss scaler would look at every step.
    """
    if profile.kind == "cpu":
        return ("fp32", "bf16")
    rates = profile.peak_flops.model_dump()
    names: tuple[Precision, ...] = ("bf16", "fp16", "tf32")
    known = tuple(name for name in names if rates[name] and not (name == "fp16" and _is_captured(base)))
    return known or ("fp32",)


def _is_captured(settings: TimingSettings) -> bool:
    return settings.compile == "cuda-graph"


def _compilations(
    base: TimingSettings, profile: HardwareProfile, fixed: frozenset[str]
) -> Iterator[TimingSettings]:
    """On a CPU none: there compiling takes minutes a network and gains 5 to 8 % of a step."""
    if "compile" in fixed or profile.kind == "cpu":
        return
    yield base.model_copy(update={"compile": "none"})
    yield base.model_copy(update={"compile": "default"})
    if profile.kind == "cuda" and base.precision != "fp16":
        yield base.model_copy(update={"compile": "cuda-graph"})


def _fused_optimizer(
    base: TimingSettings, profile: HardwareProfile, fixed: frozenset[str]
) -> Iterator[TimingSettings]:
    if "fused_optimizer" not in fixed:
        yield base.model_copy(update={"fused_optimizer": not base.fused_optimizer})
