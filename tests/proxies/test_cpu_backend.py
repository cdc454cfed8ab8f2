import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from proxies.cpu_backend import CpuBackend
from proxies.records import TimingSettings

MIB = 2**20
needs_glibc_linux = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/clear_refs").exists(),
    reason="needs glibc on Linux",
)


def settings(threads: int = 1) -> TimingSettings:
    return TimingSettings(resolution=8, batch_size=2, threads=threads)


def test_threads_are_set_and_set_back():
    before = torch.get_num_threads()
    with CpuBackend().prepared(settings(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_one_thread_is_timed_by_its_cpu_time_and_several_by_the_wall():
    """Waiting is not work: it counts only where the wall clock has to be used."""
    backend = CpuBackend()

    def wait() -> None:
        deadline = time.perf_counter() + 0.05
        while time.perf_counter() < deadline:
            time.sleep(0.01)  # gives the CPU away

    with backend.prepared(settings(threads=1)):
        assert not backend.counts_waiting
        assert backend.time_steps(wait, 1)[0] < 25.0
        assert backend.describe()["clock"] == "CPU time of the process"
    with backend.prepared(settings(threads=2)):
        assert backend.counts_waiting
        assert backend.time_steps(wait, 1)[0] >= 50.0
        assert backend.describe()["clock"] == "wall time"


def test_every_step_is_timed():
    runs = []
    with CpuBackend().prepared(settings()):
        assert len(CpuBackend().time_steps(lambda: runs.append(1), 5)) == 5
    assert len(runs) == 5


def use_at_once(mebibytes: int) -> None:
    pieces = [torch.ones(MIB // 4) for _ in range(mebibytes)]
    del pieces


@needs_glibc_linux
def test_the_peak_of_memory_is_what_was_used_at_once():
    """What was freed before the reset is not in the peak; using it again is."""
    backend = CpuBackend()
    with backend.prepared(settings()):
        use_at_once(192)
        backend.reset_peak_memory()
        use_at_once(64)
        peak = backend.peak_memory()
        assert peak.peak_bytes is not None, peak.method
        assert 60 * MIB <= peak.peak_bytes <= 90 * MIB
        backend.reset_peak_memory()
        assert (backend.peak_memory().peak_bytes or 0) < 30 * MIB


COUNT_FAULTS = """
import resource, torch
from proxies.cpu_backend import CpuBackend
from proxies.records import TimingSettings

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(40 * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with CpuBackend().prepared(TimingSettings(resolution=8, batch_size=2)):
    warming = [faults() for _ in range(12)]
    print(max(faults() for _ in range(4)))
print(faults())
"""


@needs_glibc_linux
def test_freed_memory_is_kept_while_timing():
    """What a step used before is not fetched from the system again: no page faults once it is warm.

    The first times a block may not fit where the last one was: an aligned block needs some bytes more than it
    leaves, and the small objects at its edges stay in caches of seven. After nine there has always been room.

    In a process of its own, since the heap of one that has run other tests is no longer known.
    """
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    while_timing, afterwards = map(int, done.stdout.split())
    assert while_timing < 500
    assert afterwards > 4_000  # negative control: 40 MiB are 10,240 pages


@needs_glibc_linux
def test_memory_freed_while_timing_is_given_back_afterwards():
    backend = CpuBackend()
    with backend.prepared(settings()):
        use_at_once(192)
        kept = backend._status_bytes("VmRSS")
    assert kept - backend._status_bytes("VmRSS") > 150 * MIB


def test_without_proc_the_unknown_is_none_with_a_reason(tmp_path):
    backend = CpuBackend(proc=tmp_path)
    assert backend.peak_memory().peak_bytes is None
    backend.reset_peak_memory()
    peak = backend.peak_memory()
    assert peak.peak_bytes is None
    assert "no high-water mark from the kernel" in peak.method
    seen = backend.observe()
    assert seen.cpu_pressure_seconds is None
    assert seen.cpu_pressure_avg10 is None


def test_pressure_is_read_in_seconds(tmp_path):
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text(
        "some avg10=12.50 avg60=3.00 avg300=1.00 total=2500000\nfull avg10=0.00 avg60=0.00 total=0\n"
    )
    seen = CpuBackend(proc=tmp_path).observe()
    assert (seen.cpu_pressure_seconds, seen.cpu_pressure_avg10) == (2.5, 12.5)
    assert seen.cpu_seconds is not None
    assert seen.involuntary_switches is not None
