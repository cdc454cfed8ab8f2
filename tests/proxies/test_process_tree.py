"""Finding and ending a process with all it has started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from proxies.process_tree import (
    address_space_bytes,
    children,
    descendants,
    kill_tree,
    oom_kills,
    proportional_bytes,
    resident_bytes,
)

TREE = """
import os, sys, time
for depth in range(2):
    os.fork()
print(os.getpid(), flush=True)
time.sleep(60)
"""
FORKING = """
import os, time
print("go", flush=True)
for _ in range(200):
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(0.001)
time.sleep(60)
"""


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[bytes]]:
    """A process with three below it: two children, one of which has a child."""
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        yield process
        kill_tree(process.pid)


def test_descendants_agree_with_an_independent_scan(tree: subprocess.Popen[bytes]) -> None:
    scanned = {process.pid for process in psutil.Process(tree.pid).children(recursive=True)}
    assert len(scanned) == 3
    assert set(descendants(tree.pid)) == scanned
    assert len(children(tree.pid)) == 2


def test_children_are_found_without_the_kernels_list(
    tree: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set(children(tree.pid))
    monkeypatch.setattr("proxies.process_tree.os.scandir", _no_such_file)
    assert set(children(tree.pid)) == found


def _no_such_file(path: str) -> None:
    raise FileNotFoundError(path)


def test_nothing_is_left_of_a_killed_tree(tree: subprocess.Popen[bytes]) -> None:
    below = [psutil.Process(pid) for pid in descendants(tree.pid)]
    kill_tree(tree.pid)
    assert tree.wait(10) == -signal.SIGKILL
    assert psutil.wait_procs(below, timeout=10)[1] == []


def test_a_tree_that_keeps_forking_is_caught() -> None:
    with subprocess.Popen([sys.executable, "-c", FORKING], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        kill_tree(process.pid)
        process.wait(10)
    left = [p for p in psutil.process_iter() if _has_argument(p, FORKING)]
    assert left == []


def _has_argument(process: psutil.Process, argument: str) -> bool:
    try:
        return argument in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_the_gone_are_nobody() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert children(gone.pid) == []
    assert resident_bytes(gone.pid) == 0
    kill_tree(gone.pid)


def test_memory_agrees_with_an_independent_reading() -> None:
    memory = psutil.Process().memory_full_info()
    assert resident_bytes(os.getpid()) == pytest.approx(memory.rss, rel=0.05)
    assert address_space_bytes(os.getpid()) == pytest.approx(memory.vms, rel=0.05)
    assert proportional_bytes([os.getpid()]) == pytest.approx(memory.pss, rel=0.05)


def test_the_kernel_counts_its_kills() -> None:
    assert (oom_kills() or 0) >= 0
