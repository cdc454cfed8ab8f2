"""Hardware profiles, which one is here, and what a step time is filed under. Loads no torch."""

import difflib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from proxies.detection import GIB, Device, DeviceKind, Machine, find_machine, installed_version
from proxies.records import CompileMode, MemoryFormat, Precision, TimedWork, TimingSettings
from proxies.roofline import Roofline
from search_spaces.architecture import Architecture
from search_spaces.spec import Name, Resolution, Spec

T = TypeVar("T")

PROFILE_FOLDER = Path(__file__).with_name("hardware")
ALIASES = {"a100": ("a100-40g", "a100-80g")}
"""Names that mean any of several profiles; the device decides which."""
AUTO = "auto"
DEFAULT_RESOLUTION = 224


class HardwareNotFoundError(LookupError):
    """The hardware that was asked for is not on this machine; one sentence with what is and what to do."""


class UnknownHardwareError(ValueError):
    """No profile has this name."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error
    return pattern


class MemoryRange(Spec):
    """Device memory in GiB, both ends included. Cards report a little less than their label says."""

    low: Annotated[float, Field(ge=0.0)]
    high: PositiveFloat


class Match(Spec):
    """How a device is recognised: its driver's name for it, and its memory."""

    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_compiles)]
    memory_gib: MemoryRange


class PeakFlops(Spec):
    """Dense peak rates in FLOP/s (a multiply-add is two); None where the device lacks the format."""

    fp32: PositiveFloat | None = None
    tf32: PositiveFloat | None = None
    fp16: PositiveFloat | None = None
    bf16: PositiveFloat | None = None


class Defaults(Spec):
    """Timing settings where nothing else is said.

    Networks are timed at the resolution they are trained at; `max_resolution` bounds it on devices that
    would take too long there.
    """

    batch_size: PositiveInt
    max_resolution: Resolution | None = None
    precision: Precision = "fp32"
    memory_format: MemoryFormat = "channels_last"
    compile: CompileMode = "none"
    autotune: bool = True
    threads: PositiveInt = 1
    tolerance: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.03
    budget_seconds: PositiveFloat = 60.0


class HardwareProfile(Spec):
    """One kind of device: how to recognise it, what it can do, how it is timed."""

    schema_version: Literal["nas.hardware/1"] = Field(default="nas.hardware/1", alias="schema")
    name: Name
    description: Annotated[str, Field(max_length=200)] = ""
    kind: DeviceKind
    match: Match | None = None
    ray_accelerator_type: Name | None = None
    peak_flops: PeakFlops = PeakFlops()
    bandwidth_bytes_per_second: PositiveFloat | None = None
    memory_bytes: PositiveInt | None = None
    roofline: Roofline = Roofline()
    """What estimates stand on where the device is not here; see `proxies.estimates`."""
    defaults: Defaults

    @model_validator(mode="after")
    def _recognisable(self) -> Self:
        if self.kind == "cpu" and self.match is not None:
            raise ValueError("a CPU has nothing to match; leave match out")
        if self.kind != "cpu" and self.match is None:
            raise ValueError(f"kind {self.kind} needs match: {{name, memory_gib}} to recognise the device")
        return self

    def recognises(self, device: Device) -> bool:
        """Whether `device` is one of these."""
        if device.kind != self.kind:
            return False
        if self.match is None:
            return True
        if device.memory_bytes is None or not re.search(self.match.name, device.name):
            return False
        return self.match.memory_gib.low <= device.memory_bytes / GIB <= self.match.memory_gib.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedHardware:
    """A profile and the devices of this machine that are it: all of one name, memory and driver."""

    profile: HardwareProfile
    devices: tuple[Device, ...]
    torch_version: str | None
    notes: tuple[str, ...] = ()
    """What the user should know about the choice, as sentences."""

    @property
    def device(self) -> Device:
        """The first device; the others are equal to it but for their index."""
        return self.devices[0]

    def describe(self) -> dict[str, Any]:
        """The provenance of a measurement, as plain JSON."""
        return {
            "profile": self.profile.name,
            "kind": self.profile.kind,
            "device": self.device.name,
            "memory_bytes": self.device.memory_bytes,
            "driver": self.device.driver,
            "torch": self.torch_version,
            "devices": [{"index": device.index, "uuid": device.uuid} for device in self.devices],
        }


def profile_names() -> list[str]:
    """The shipped profiles, in alphabetical order."""
    return sorted(path.stem for path in PROFILE_FOLDER.glob("*.yaml"))


def load_profiles(name_or_path: str | Path) -> tuple[HardwareProfile, ...]:
    """The profiles that a name means (several for an alias such as `a100`), or the one in a file.

    Raises:
        UnknownHardwareError: no profile has this name; the nearest names are given.
        DocumentError: the file cannot be read as a profile.
        ValueError: a user's file takes a shipped profile's name for another device.
    """
    if _is_path(name_or_path):
        return (_load_file(Path(name_or_path)),)
    name = str(name_or_path)
    known = profile_names()
    if name not in known and name not in ALIASES:
        near = difflib.get_close_matches(name, [*known, *ALIASES, AUTO], n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join([AUTO, *known])}"
        raise UnknownHardwareError(f"hardware {name!r} is unknown; {hint}")
    return tuple(_read_profile(PROFILE_FOLDER / f"{each}.yaml") for each in ALIASES.get(name, (name,)))


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """The one profile that a name or a file means.

    Raises:
        UnknownHardwareError: as `load_profiles`, or the name is an alias of several profiles.
        DocumentError: the file cannot be read as a profile.
    """
    profiles = load_profiles(name_or_path)
    if len(profiles) > 1:
        names = " or ".join(profile.name for profile in profiles)
        raise UnknownHardwareError(f"hardware {str(name_or_path)!r} means {names}, as found; name one")
    return profiles[0]


def _is_path(name_or_path: str | Path) -> bool:
    """Whether the user means a file rather than a name."""
    if isinstance(name_or_path, Path):
        return True
    return "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))


def _read_profile(path: Path) -> HardwareProfile:
    from search_spaces.document import read_spec  # deferred: names alone need no YAML reader

    return read_spec(path, HardwareProfile)


def _load_file(path: Path) -> HardwareProfile:
    profile = _read_profile(path)
    if profile.name in ALIASES or profile.name == AUTO:
        raise ValueError(f"{path}: name: {profile.name!r} is reserved; choose another name")
    if profile.name in profile_names():
        shipped = load_profile(profile.name)
        if (profile.kind, profile.match) != (shipped.kind, shipped.match):
            raise ValueError(
                f"{path}: name: {profile.name!r} is a shipped profile that recognises other devices; "
                "choose another name, so that no time is filed under the wrong device"
            )
    return profile


def resolve_hardware(
    name_or_path: str | Path = AUTO, *, find: Callable[[], Machine] = find_machine
) -> ResolvedHardware:
    """The devices of this machine that the user means.

    `auto` takes the first accelerator that a shipped profile recognises and the installed torch can drive,
    else the CPU. `find` looks at the machine.

    Raises:
        HardwareNotFoundError: the named hardware is not here.
        UnknownHardwareError, DocumentError, ValueError: as `load_profiles`.
    """
    if str(name_or_path) == AUTO:
        return _take_what_is_there(find())
    profiles = load_profiles(name_or_path)
    machine = find()
    for profile in profiles:
        if profile.kind == "cpu":
            return _resolved(profile, machine, machine.cpu)
        for device in machine.accelerators:
            if device.defect is None and profile.recognises(device):
                return _resolved(profile, machine, device)
    raise HardwareNotFoundError(_refusal(str(name_or_path), profiles, machine))


def declared_hardware(name_or_path: str | Path) -> ResolvedHardware:
    """A profile's device as the profile declares it, for a cluster whose devices this machine cannot see.

    The nodes check that they have it before they measure anything.

    Raises:
        UnknownHardwareError: as `load_profile`, or `auto`, which only a machine that has devices can answer.
        DocumentError, ValueError: as `load_profiles`.
    """
    if str(name_or_path) == AUTO:
        raise UnknownHardwareError("hardware 'auto' means nothing on a cluster; name what its nodes have")
    profile = load_profile(name_or_path)
    device = Device(
        kind=profile.kind,
        index=0,
        name=profile.description or profile.name,
        memory_bytes=profile.memory_bytes,
        driver="of the cluster",
    )
    return ResolvedHardware(profile=profile, devices=(device,), torch_version=installed_version("torch"))


def _take_what_is_there(machine: Machine) -> ResolvedHardware:
    notes = []
    for device in machine.accelerators:
        profile = _shipped_profile_of(device)
        if profile is not None and device.defect is None:
            return _resolved(profile, machine, device)
        why = device.defect or "no profile recognises it; write one and name its file with --hardware"
        notes.append(f"{device} was passed over: {why}.")
    return _resolved(load_profile("cpu"), machine, machine.cpu, tuple(notes))


def _shipped_profile_of(device: Device) -> HardwareProfile | None:
    profiles = (load_profile(name) for name in profile_names())
    return next((profile for profile in profiles if profile.recognises(device)), None)


def _resolved(
    profile: HardwareProfile, machine: Machine, first: Device, notes: tuple[str, ...] = ()
) -> ResolvedHardware:
    def kind(device: Device) -> tuple[Any, ...]:
        return (device.kind, device.name, device.memory_bytes, device.driver, device.defect)

    equal = tuple(device for device in machine.accelerators if kind(device) == kind(first))
    return ResolvedHardware(
        profile=profile, devices=equal or (first,), torch_version=machine.torch_version, notes=notes
    )


def _refusal(asked: str, profiles: tuple[HardwareProfile, ...], machine: Machine) -> str:
    """One line: what was asked, what was found, what to do."""
    for device in machine.accelerators:
        if any(profile.recognises(device) for profile in profiles):
            return f"hardware {asked!r} is here, but {device}: {device.defect}; use --hardware cpu"
    usable = (device for device in machine.accelerators if device.defect is None)
    named = {profile.name for device in usable if (profile := _shipped_profile_of(device))}
    here = f"--hardware {' or '.join(sorted(named))}, " if named else ""
    return (
        f"hardware {asked!r} is not on this machine: found {machine}; use {here}--hardware auto "
        "(what is here), --hardware cpu, or --ray-address for a cluster that has it"
    )


def hardware_fingerprint(resolved: ResolvedHardware, *, threads: int) -> str:
    """sha256 of all that a step time depends on beside architecture and settings: device and software.

    Two equal devices have one fingerprint. `threads` counts on a CPU only, where it is part of the device.
    """
    device = resolved.device
    material = {
        "profile": resolved.profile.name,
        "kind": device.kind,
        "device": device.name,
        "memory_bytes": device.memory_bytes,
        "driver": device.driver,
        "torch": resolved.torch_version,
        "threads": threads if device.kind == "cpu" else None,
    }
    canonical = json.dumps(material, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def timing_settings(
    profile: HardwareProfile,
    arch: Architecture,
    *,
    num_classes: int = 1000,
    resolution: int | None = None,
    batch_size: int | None = None,
    precision: Precision | None = None,
    memory_format: MemoryFormat | None = None,
    compile: CompileMode | None = None,  # noqa: A002 -- the setting's name
    autotune: bool | None = None,
    threads: int | None = None,
    tolerance: float | None = None,
    budget_seconds: float | None = None,
    work: TimedWork = "training",
    fused_optimizer: bool = False,
) -> TimingSettings:
    """How `arch` is timed on `profile`. What is not given is the profile's default.

    The resolution is the one given, else the architecture's training resolution (224 where it has none), or
    for inference its evaluation resolution, but no more than the profile's maximum.

    Raises:
        ValueError: a precision or a way of running that this kind of device is not timed in, or a value out
            of range.
    """
    defaults = profile.defaults
    trained_at = arch.recipe.train_resolution or DEFAULT_RESOLUTION
    run_at = trained_at if work == "training" else arch.recipe.eval_resolution or trained_at
    chosen: Precision = _first(precision, defaults.precision)
    if profile.kind == "cpu" and chosen in {"tf32", "fp16"}:
        raise ValueError(f"precision {chosen} is not timed on {profile.name!r}, a CPU; use fp32 or bf16")
    run_as: CompileMode = _first(compile, defaults.compile)
    if run_as == "cuda-graph" and profile.kind != "cuda":
        raise ValueError(
            f"compile cuda-graph is not timed on {profile.name!r}; only CUDA devices have graphs"
        )
    if run_as == "cuda-graph" and chosen == "fp16":
        raise ValueError(
            "compile cuda-graph is not timed in fp16, whose loss scaler looks at every step; use bf16"
        )
    if work == "onnx-inference" and (profile.kind != "cpu" or chosen != "fp32"):
        raise ValueError(
            f"ONNX Runtime is timed on the CPU in fp32, not on {profile.name!r} in {chosen}; "
            "use --hardware cpu --precision fp32"
        )
    return TimingSettings(
        work=work,
        fused_optimizer=fused_optimizer and work == "training",
        resolution=_first(resolution, min(run_at, defaults.max_resolution or run_at)),
        batch_size=_first(batch_size, defaults.batch_size),
        num_classes=num_classes,
        precision=chosen,
        memory_format=_first(memory_format, defaults.memory_format),
        compile=run_as,
        autotune=_first(autotune, defaults.autotune),
        threads=_first(threads, defaults.threads),
        tolerance=_first(tolerance, defaults.tolerance),
        budget_seconds=_first(budget_seconds, defaults.budget_seconds),
    )


def _first(*values: T | None) -> T:
    """The first value that is given; a zero is given."""
    return next(value for value in values if value is not None)
