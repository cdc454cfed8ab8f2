"""What this machine has, found without torch: NVIDIA cards by NVML, others best effort, the CPU always."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

DeviceKind = Literal["cpu", "cuda", "rocm", "tpu"]

GIB = 1024**3
AMD_VENDOR, GOOGLE_VENDOR = "0x1002", "0x1ae0"
AMD_NAMES = {"0x74a1": "AMD Instinct MI300X", "0x74a9": "AMD Instinct MI300X HF"}
"""PCI device ids, as in Ray's `amd_gpu.py`. Not yet run."""
TPU_PCI_NAMES = {"0x005e": "Google TPU v4", "0x0063": "Google TPU v5e", "0x006f": "Google TPU v6e"}
"""PCI device ids, as in JAX's `hardware_utils.py`. Not yet run."""
TPU_TYPE_NAMES = {"v4": "Google TPU v4", "v5litepod": "Google TPU v5e", "v6e": "Google TPU v6e"}
TPU_MEMORY_BYTES = {"Google TPU v4": 32 * GIB, "Google TPU v5e": 16 * GIB, "Google TPU v6e": 32 * GIB}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device. `memory_bytes` and `driver` are None where they mean nothing (a CPU) or are unknown."""

    kind: DeviceKind
    index: int
    name: str
    memory_bytes: int | None = None
    driver: str | None = None
    uuid: str | None = None
    defect: str | None = None
    """Why the device cannot be used although it is here, as a clause; None when it can."""

    @property
    def lock_name(self) -> str:
        """What the device's lock is filed under: the same in every process that can see the device."""
        return self.uuid or (self.kind if self.kind == "cpu" else f"{self.kind}-{self.index}")

    def __str__(self) -> str:
        if self.memory_bytes is None:
            return self.name
        return f"{self.name} ({self.memory_bytes / GIB:.0f} GiB)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The accelerators in order of preference, the CPU, and the torch that would drive them."""

    accelerators: tuple[Device, ...]
    cpu: Device
    torch_version: str | None
    notes: tuple[str, ...] = ()
    """Why a kind of device could not be looked for, as clauses."""

    def __str__(self) -> str:
        if not self.accelerators:
            return ", ".join([*self.notes, f"only a CPU ({self.cpu.name})"])
        return ", ".join(
            f"{device}{f' [{device.defect}]' if device.defect else ''}" for device in self.accelerators
        )


def find_machine() -> Machine:
    """Look at this machine. Loads neither torch nor anything that starts a device context."""
    torch_version = installed_version("torch")
    nvidia, notes = _find_nvidia(torch_version, os.environ)
    others = [*find_amd(Path("/sys"), torch_version), *find_tpus(Path("/"), os.environ)]
    return Machine(
        accelerators=(*nvidia, *others),
        cpu=Device(kind="cpu", index=0, name=cpu_name(Path("/proc/cpuinfo"))),
        torch_version=torch_version,
        notes=notes,
    )


def installed_version(distribution: str) -> str | None:
    """The installed version of a distribution, read from its metadata without importing it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _find_nvidia(
    torch_version: str | None, environment: Mapping[str, str]
) -> tuple[list[Device], tuple[str, ...]]:
    try:
        import pynvml
    except ImportError:
        return [], ("NVIDIA cards were not looked for, because nvidia-ml-py is not installed",)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], (f"no NVIDIA GPU ({error})",)
    try:
        devices = nvidia_devices(pynvml, torch_version)
    except pynvml.NVMLError as error:
        return [], (f"the NVIDIA driver answered: {error}",)
    finally:
        pynvml.nvmlShutdown()
    visible = visible_devices(devices, environment.get("CUDA_VISIBLE_DEVICES"))
    if devices and not visible:
        return [], (f"CUDA_VISIBLE_DEVICES hides all {len(devices)} NVIDIA GPUs",)
    return visible, () if visible else ("no NVIDIA GPU",)


def nvidia_devices(nvml: Any, torch_version: str | None) -> list[Device]:
    """The NVIDIA cards in NVML's (PCI bus) order. `nvml` is the initialised pynvml module or a fake of it."""
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    unusable = _build_defect("cuda", torch_version)
    devices = []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        sliced = _is_sliced(nvml, handle)
        devices.append(
            Device(
                kind="cuda",
                index=index,
                name=_text(nvml.nvmlDeviceGetName(handle)),
                memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                driver=driver,
                uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
                defect="MIG is on, and a slice of a card is not the card" if sliced else unusable,
            )
        )
    return devices


def visible_devices(devices: list[Device], setting: str | None) -> list[Device]:
    """`devices` as CUDA would show them under a value of CUDA_VISIBLE_DEVICES: its choice, its order.

    As in CUDA, entries are numbers or prefixes of UUIDs, and the first invalid one ends the list. Numbers
    are taken in PCI bus order, which is CUDA's own where all cards are equal; before anything is timed the
    card is found again by its UUID.
    """
    if setting is None:
        return devices
    shown: list[Device] = []
    for entry in (part.strip() for part in setting.split(",")):
        found = [
            device
            for device in devices
            if entry and (str(device.index) == entry or (device.uuid or "").startswith(entry))
        ]
        if len(found) != 1 or found[0] in shown:
            break
        shown.append(found[0])
    return shown


def find_amd(sys: Path, torch_version: str | None) -> list[Device]:
    """AMD accelerators that the kernel driver (kfd) has taken. Best effort, not yet run on such a machine."""
    if not (sys / "class/kfd").exists():
        return []
    defect = _build_defect("rocm", torch_version)
    devices: list[Device] = []
    for card in sorted((sys / "class/drm").glob("card[0-9]*/device")):
        name = AMD_NAMES.get(_read(card / "device") or "")
        if _read(card / "vendor") == AMD_VENDOR and name is not None:
            memory = _read(card / "mem_info_vram_total")
            devices.append(
                Device(
                    kind="rocm",
                    index=len(devices),
                    name=name,
                    memory_bytes=int(memory) if memory and memory.isdigit() else None,
                    driver=_read(sys / "module/amdgpu/version"),
                    defect=defect,
                )
            )
    return devices


def find_tpus(root: Path, environment: Mapping[str, str]) -> list[Device]:
    """TPU chips, by PCI id or by the environment of a TPU VM. Best effort, not yet run on such a machine."""
    names = [
        TPU_PCI_NAMES[device]
        for folder in sorted((root / "sys/bus/pci/devices").glob("*"))
        if _read(folder / "vendor") == GOOGLE_VENDOR
        and (device := _read(folder / "device") or "") in TPU_PCI_NAMES
    ]
    if not names and (chips := sorted((root / "dev").glob("accel[0-9]*"))):
        generation = environment.get("TPU_ACCELERATOR_TYPE", "").partition("-")[0]
        if generation in TPU_TYPE_NAMES:
            names = [TPU_TYPE_NAMES[generation]] * len(chips)
    return [
        Device(
            kind="tpu",
            index=index,
            name=name,
            memory_bytes=TPU_MEMORY_BYTES[name],
            defect="this version does not time TPUs",
        )
        for index, name in enumerate(names)
    ]


def cpu_name(cpuinfo: Path) -> str:
    """The CPU's name with its model numbers, since virtual machines often hide the marketing name."""
    fields: dict[str, str] = {}
    for line in (_read(cpuinfo) or "").splitlines():
        key, separator, value = line.partition(":")
        if not separator:
            if fields:
                break  # the first processor's paragraph is over
            continue
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine() or "unknown CPU"
    keys = ("cpu family", "model", "stepping", "CPU implementer", "CPU part")
    numbers = [
        f"{key.removeprefix('CPU ').removeprefix('cpu ')} {fields[key]}" for key in keys if key in fields
    ]
    return f"{name}, {' '.join(numbers)}" if numbers else name


def _build_defect(kind: DeviceKind, torch_version: str | None) -> str | None:
    """Why the installed torch cannot drive this kind, judged by the local part of its version."""
    if torch_version is None:
        return "torch is not installed"
    build = torch_version.partition("+")[2]
    wrong = {"cuda": r"cpu|rocm|xpu", "rocm": r"cpu|cu\d|xpu|$"}[kind]
    return f"torch {torch_version} cannot drive it" if re.match(wrong, build) else None


def _is_sliced(nvml: Any, handle: Any) -> bool:
    """Whether the card is split by MIG; most cards do not support the question."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:
        return False


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
