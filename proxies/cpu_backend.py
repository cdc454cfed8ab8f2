"""Timing on the CPU."""

import contextlib
import ctypes
import gc
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from proxies.backend import Observation, Pace, PeakMemory, Step
from proxies.records import TimingSettings

PROC = Path("/proc")

# malloc.h of glibc: option -> value. Nothing is mapped apart (blocks above 32 MiB always would be, and are
# unmapped when freed), and nothing is trimmed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
KEEP_FREED_MEMORY = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
# Where glibc's own adaptive rule ends up in a process that uses large blocks.
RETURN_FREED_MEMORY = {M_MMAP_MAX: 65_536, M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 64 * 2**20}


class CpuBackend:
    """Steps run on the CPU.

    With one thread they are timed by the CPU time of the process: the wall time it would take alone. On a
    machine under load it is the steadier clock by far (one network's step, wall against CPU time, with 0, 1,
    2 and 4 busy neighbours on two cores: 210, 319, 623, 937 ms against 144, 156, 200, 182 ms). With several
    threads only the wall clock tells how long a step takes.

    Freed memory is kept while timing. Left to itself, glibc returns some of it after each step and fetches
    it again in the next, depending on what ran before: up to 160,000 page faults a step were seen, which made
    one network's steps take 574 or 880 ms and moved another's ratio between 0.99 and 1.27. Kept, there are
    none.
    """

    def __init__(self, *, proc: Path = PROC) -> None:
        self._proc = proc
        self._threads = 1
        self._keeps_memory = False
        self._baseline_bytes: int | None = None
        self._memory_problem = "the peak was not reset"

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def pace(self) -> Pace:
        """Blocks of 30 ms: short against the bursts of other work, which then meet both sides of a pair.

        With busy neighbours one network's CPU time rose by 39 % (see above) while ratios held; so a reference
        within 50 % of its baseline, at a tolerance of 10 %, is no cause to refuse anything.
        """
        return Pace(block_ms=30.0, most_steps=3, lead_in_steps=0, warm_up_steps=4, drift_per_tolerance=5.0)

    @property
    def counts_waiting(self) -> bool:
        """Only on the wall clock."""
        return self._threads > 1

    @contextmanager
    def prepared(self, settings: TimingSettings) -> Iterator[None]:
        """Set the number of threads and keep freed memory; afterwards as before, the memory given back."""
        threads = torch.get_num_threads()
        torch.set_num_threads(settings.threads)
        self._threads = settings.threads
        self._keeps_memory = _set_malloc(KEEP_FREED_MEMORY)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            _set_malloc(RETURN_FREED_MEMORY)
            _return_freed_memory()

    def now(self) -> float:
        """`time.perf_counter`, which no change of the date moves."""
        return time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def time_steps(self, step: Step, count: int) -> list[float]:
        """Milliseconds of each step: CPU time with one thread, else wall time."""
        clock = time.perf_counter if self.counts_waiting else time.process_time
        times = []
        for _ in range(count):
            start = clock()
            step()
            times.append((clock() - start) * 1e3)
        return times

    def reset_peak_memory(self) -> None:
        """Give freed memory back to the system and restart the kernel's high-water mark."""
        gc.collect()
        _return_freed_memory()  # else the network would use it unseen
        try:
            (self._proc / "self/clear_refs").write_text("5")
            self._baseline_bytes = self._status_bytes("VmRSS")
        except (OSError, ValueError) as error:
            self._baseline_bytes, self._memory_problem = None, f"no high-water mark from the kernel ({error})"

    def peak_memory(self) -> PeakMemory:
        """Growth of the peak resident set since the reset: weights, optimizer, activations, scratch."""
        if self._baseline_bytes is None:
            return PeakMemory(peak_bytes=None, method=self._memory_problem)
        growth = self._status_bytes("VmHWM") - self._baseline_bytes
        return PeakMemory(peak_bytes=max(growth, 0), method="growth of the peak resident set (VmHWM - VmRSS)")

    def observe(self) -> Observation:
        """CPU time of this thread, preemptions of this process, pressure on the machine."""
        pressure = self._pressure()
        return Observation(
            wall_seconds=time.perf_counter(),
            cpu_seconds=time.thread_time(),
            involuntary_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
            cpu_pressure_seconds=pressure.get("total", 0.0) / 1e6 if pressure else None,
            cpu_pressure_avg10=pressure.get("avg10"),
        )

    def describe(self) -> dict[str, Any]:
        """Versions and what the CPU build of torch may use."""
        return {
            "torch": torch.__version__,
            "clock": "wall time" if self.counts_waiting else "CPU time of the process",
            "keeps_freed_memory": self._keeps_memory,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        }

    def _status_bytes(self, field: str) -> int:
        for line in (self._proc / "self/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == field:
                return int(value.split()[0]) * 1024
        raise ValueError(f"/proc/self/status has no {field}")

    def _pressure(self) -> dict[str, float]:
        """The `some` line of /proc/pressure/cpu: percentages, `total` in microseconds; empty: not offered."""
        try:
            line = (self._proc / "pressure/cpu").read_text().splitlines()[0]
            return {key: float(value) for key, _, value in (part.partition("=") for part in line.split()[1:])}
        except (OSError, ValueError, IndexError):
            return {}


def _set_malloc(options: Mapping[int, int]) -> bool:
    """Whether the C library is glibc (or takes its options) and all of them are set."""
    try:
        library = ctypes.CDLL(None)
        was_set = [bool(library.mallopt(option, value)) for option, value in options.items()]
    except (OSError, AttributeError):
        return False
    return all(was_set)


def _return_freed_memory() -> None:
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
