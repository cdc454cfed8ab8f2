"""Timing on a GPU through torch.cuda: NVIDIA, and AMD under ROCm (there without NVML, not yet run)."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psutil
import torch

from proxies.backend import Observation, Pace, PeakMemory, Step
from proxies.detection import Device
from proxies.hardware import HardwareNotFoundError
from proxies.records import TimingSettings

THROTTLE_BITS = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""NVML clock-event reasons that disturb a step time. Idling, application clocks and the software power cap
are not among them: a card at its power limit is at work as it will be in training."""


class CudaBackend:
    """Steps are queued and timed by events; the device is found by its UUID, never by a guessed index."""

    def __init__(self, device: Device, *, nvml: Any | None = None) -> None:
        """Find `device` among torch's. `nvml` is the initialised pynvml module, None where there is none.

        Raises:
            HardwareNotFoundError: torch does not see the device.
        """
        self._device = torch.device("cuda", torch_ordinal(device))
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByUUID(device.uuid) if nvml is not None else None
        self._baseline_bytes = 0

    @property
    def device(self) -> torch.device:
        """The GPU under torch's own number."""
        return self._device

    @property
    def pace(self) -> Pace:
        """Blocks of 100 ms between two synchronisations, whose cost (10 to 50 us) is then nothing."""
        return Pace(block_ms=100.0, most_steps=10, lead_in_steps=1, warm_up_steps=12)

    @property
    def counts_waiting(self) -> bool:
        """No: the CPU only queues."""
        return False

    @contextmanager
    def prepared(self, settings: TimingSettings) -> Iterator[None]:
        """Convolutions autotuned, and TF32 in force, exactly when the settings say so."""
        threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
        fp32_switches = [torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv")]  # noqa: B009
        before = [switch.fp32_precision for switch in fp32_switches]
        fp32 = "tf32" if settings.precision == "tf32" else "ieee"
        torch.set_num_threads(settings.threads)
        torch.backends.cudnn.benchmark = settings.autotune
        for switch in fp32_switches:
            switch.fp32_precision = fp32
        try:
            with torch.cuda.device(self._device):
                yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.benchmark = benchmark
            for switch, precision in zip(fp32_switches, before, strict=True):
                switch.fp32_precision = precision

    def now(self) -> float:
        """`time.perf_counter`, which no change of the date moves."""
        return time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def time_steps(self, step: Step, count: int) -> list[float]:
        """Milliseconds between events around each step; one synchronisation at the end."""
        events = [
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(count + 1)
        ]
        torch.cuda.synchronize(self._device)
        events[0].record()
        for event in events[1:]:
            step()
            event.record()
        torch.cuda.synchronize(self._device)
        return [start.elapsed_time(end) for start, end in pairwise(events)]

    def reset_peak_memory(self) -> None:
        """Give cached blocks back, so that only what is really in use is counted."""
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._baseline_bytes = torch.cuda.memory_allocated(self._device)

    def peak_memory(self) -> PeakMemory:
        """The allocator's peak since the reset."""
        torch.cuda.synchronize(self._device)
        peak = torch.cuda.max_memory_allocated(self._device) - self._baseline_bytes
        return PeakMemory(peak_bytes=peak, method="torch.cuda.max_memory_allocated")

    def observe(self) -> Observation:
        """What NVML says about clocks, temperature, throttling and foreign processes; nothing without it."""
        if self._nvml is None:
            return Observation(wall_seconds=time.perf_counter())
        return observe_nvidia(self._nvml, self._handle, wall_seconds=time.perf_counter())

    def describe(self) -> dict[str, Any]:
        """Versions and the switches in force."""
        return {
            "torch": torch.__version__,
            "clock": "device events",
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "fp32_matmul": torch.backends.cuda.matmul.fp32_precision,
            "torch_device_name": torch.cuda.get_device_name(self._device),
        }


def torch_ordinal(device: Device) -> int:
    """The number under which torch knows `device`.

    Raises:
        HardwareNotFoundError: torch does not see it.
    """
    seen = []
    for ordinal in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(ordinal)
        seen.append(properties.name)
        if device.uuid is not None:
            if device.uuid.removeprefix("GPU-") == str(properties.uuid).removeprefix("GPU-"):
                return ordinal
        elif ordinal == device.index:
            return ordinal
    found = ", ".join(seen) or "none"
    raise HardwareNotFoundError(
        f"torch {torch.__version__} does not see {device} (devices it sees: {found}); "
        "check CUDA_VISIBLE_DEVICES and that torch's CUDA matches the driver"
    )


def observe_nvidia(nvml: Any, handle: Any, *, wall_seconds: float) -> Observation:
    """The state of an NVIDIA card. What a card does not report is None or empty."""

    def ask(query: Callable[[], Any]) -> Any:
        try:
            return query()
        except nvml.NVMLError:
            return None

    bits = ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)) or 0
    power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    pids = [process.pid for process in ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []]
    return Observation(
        wall_seconds=wall_seconds,
        foreign_processes=foreign_processes(pids, own=os.getpid(), family=family(os.getpid())),
        throttle_reasons=tuple(name for bit, name in THROTTLE_BITS.items() if bits & bit),
        clock_mhz=ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        temperature_c=ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        power_w=power / 1000 if power is not None else None,
    )


def foreign_processes(pids: list[int], *, own: int, family: frozenset[int]) -> tuple[str, ...]:
    """The processes on a card that are not ours, as "pid N".

    Processes of our family (same driver) hold the device's shared lock when they compute, so while we have it
    alone they idle. In a container NVML may report the numbers of another namespace: then our own is not
    among them, and a single unknown process is taken for ourselves.
    """
    others = [pid for pid in pids if pid != own and pid not in family]
    if own not in pids and len(others) == 1:
        return ()
    return tuple(f"pid {pid}" for pid in sorted(others))


def family(own: int) -> frozenset[int]:
    """The processes that share a parent with `own`, or descend from it; init is nobody's parent."""
    try:
        parent = psutil.Process(own).parent()
        if parent is None or parent.pid == 1:
            return frozenset()
        return frozenset({parent.pid, *(child.pid for child in parent.children(recursive=True))})
    except psutil.Error:
        return frozenset()
