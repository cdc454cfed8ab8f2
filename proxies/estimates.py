"""Step times of hardware that is not here: estimated from its profile, never measured. Loads no torch.

An estimate shares no name with a measurement: its quantity is `estimated_step_ms`, in the ledger, in frames
and in files alike, so a front over `step_ms` cannot take one in, and nobody reads one for the other.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from proxies.hardware import ALIASES, HardwareProfile, UnknownHardwareError, load_profiles
from proxies.records import RECORD_SCHEMA, Outcome, TimingSettings
from proxies.roofline import Anchor, Mode, Rates, roofline_seconds
from search_spaces.architecture import Architecture
from search_spaces.workload import network_operations

ELEMENT_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A training step time that nobody measured, with the range that the profile's anchors had.

    No `Outcome` of a timing and no number: what is wanted of it is asked for by a name that says estimated.
    """

    estimated_step_ms: float
    estimated_step_ms_low: float
    estimated_step_ms_high: float
    estimated_images_per_second: float
    profile: str
    basis: str
    settings: TimingSettings

    def metrics(self) -> dict[str, float]:
        """The numbers by name."""
        return {
            "estimated_step_ms": self.estimated_step_ms,
            "estimated_step_ms_low": self.estimated_step_ms_low,
            "estimated_step_ms_high": self.estimated_step_ms_high,
            "estimated_images_per_second": self.estimated_images_per_second,
        }


def estimate_step(arch: Architecture, profile: HardwareProfile, settings: TimingSettings) -> Estimate:
    """The training step time of `arch` by the profile's roofline. Layout and compile mode are not modelled.

    Raises:
        ValueError: the profile does not state the rates that this precision needs.
    """
    seconds = raw_seconds(
        arch,
        profile,
        resolution=settings.resolution,
        batch_size=settings.batch_size,
        precision=settings.precision,
        num_classes=settings.num_classes,
    )
    roofline = profile.roofline
    step_ms = 1e3 * seconds * roofline.scale
    return Estimate(
        estimated_step_ms=step_ms,
        estimated_step_ms_low=step_ms / roofline.factor,
        estimated_step_ms_high=step_ms * roofline.factor,
        estimated_images_per_second=settings.batch_size / step_ms * 1e3,
        profile=profile.name,
        basis=basis(profile),
        settings=settings,
    )


def raw_seconds(
    arch: Architecture,
    profile: HardwareProfile,
    *,
    resolution: int,
    batch_size: int,
    precision: str,
    num_classes: int = 1000,
    mode: Mode = "training",
) -> float:
    """Seconds of one batch by the roofline, before the profile's scale; raises as `estimate_step`."""
    return roofline_seconds(
        network_operations(arch, resolution, num_classes),
        rates(profile, precision),
        profile.roofline,
        batch_size=batch_size,
        mode=mode,
    )


def rates(profile: HardwareProfile, precision: str) -> Rates:
    """The profile's peak rates in one precision.

    Raises:
        ValueError: it states none, so nothing can be estimated.
    """
    flops = profile.peak_flops.model_dump()
    if profile.bandwidth_bytes_per_second is None or flops[precision] is None:
        known = ", ".join(name for name, value in flops.items() if value is not None)
        remedy = f"choose --precision {known}" if known else "name hardware whose profile states its rates"
        raise ValueError(
            f"hardware {profile.name!r} states no {precision} rate to estimate from; {remedy}, or measure"
        )
    return Rates(
        flops=flops[precision],
        bytes_per_second=profile.bandwidth_bytes_per_second,
        element_bytes=ELEMENT_BYTES[precision],
    )


def anchor_ratio(profile: HardwareProfile, anchor: Anchor) -> float:
    """Published time of an anchor over its estimate before the scale."""
    from search_spaces.document import load_architecture

    published = anchor.batch_size / anchor.images_per_second
    return published / raw_seconds(
        load_architecture(anchor.architecture),
        profile,
        resolution=anchor.resolution,
        batch_size=anchor.batch_size,
        precision=anchor.precision,
    )


def basis(profile: HardwareProfile) -> str:
    """What an estimate for this profile stands on, as a phrase."""
    roofline = profile.roofline
    if not roofline.is_calibrated:
        return f"roofline of stated peak rates, uncalibrated, times {roofline.scale:g}"
    count = len(roofline.anchors)
    return f"roofline of stated peak rates, times {roofline.scale:g} by {count} speeds of {roofline.source}"


def profile_to_estimate(name_or_path: str) -> tuple[HardwareProfile, str | None]:
    """The profile whose speed is to be estimated, and what the user should know about the choice.

    Of an alias's profiles it is the first with anchors.

    Raises:
        UnknownHardwareError: no such profile, or `auto`: what is here is measured, not estimated.
        DocumentError, ValueError: as `proxies.hardware.load_profiles`.
    """
    if name_or_path == "auto":
        raise UnknownHardwareError("--estimate needs the name of hardware, such as --hardware a100")
    profiles = load_profiles(name_or_path)
    chosen = next((each for each in profiles if each.roofline.is_calibrated), profiles[0])
    if name_or_path not in ALIASES:
        return chosen, None
    others = " or ".join(each.name for each in profiles)
    return chosen, f"{name_or_path} is {others}; estimated for {chosen.name}"


def estimate_outcome(arch: Architecture, profile: HardwareProfile, settings: TimingSettings) -> Outcome:
    """An estimate as the ledger keeps it: of its own kind, under a key of its own.

    Raises:
        ValueError: as `estimate_step`.
    """
    found = estimate_step(arch, profile, settings)
    return Outcome(
        key=_key(arch.digest, estimate_fingerprint(profile), settings.model_dump()),
        kind="estimate",
        digest=arch.digest,
        status="ok",
        metrics=found.metrics(),
        details={
            "estimated": True,
            "basis": found.basis,
            "settings": settings.model_dump(),
            "hardware": describe_estimated(profile),
        },
    )


def describe_estimated(profile: HardwareProfile) -> dict[str, Any]:
    """The hardware of an estimate, in the place of a measurement's device."""
    return {
        "estimated": True,
        "profile": profile.name,
        "kind": profile.kind,
        "device": f"{profile.description or profile.name} (estimated, not measured)",
        "basis": basis(profile),
    }


def estimate_fingerprint(profile: HardwareProfile) -> str:
    """sha256 of all that an estimate depends on beside architecture and settings."""
    return _key(
        profile.name,
        profile.peak_flops.model_dump(),
        profile.bandwidth_bytes_per_second,
        profile.roofline.model_dump(),
    )


def _key(*parts: Any) -> str:
    text = json.dumps(["estimate", RECORD_SCHEMA, *parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
