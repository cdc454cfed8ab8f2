"""What Linux can say and do about a process and everything it has started.

A process tree is followed through `/proc`. A worker adopts the orphans of what it starts (it is a
subreaper), so even a grandchild that forked twice and left the session stays in the tree, and one that
outlives its worker falls to the guard.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MAX_FREEZE_PASSES = 100


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int) -> list[int]:
    """Direct children of a process, zombies included; empty when it is gone."""
    found: list[int] = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            found += map(int, Path(task.path, "children").read_text().split())
    except FileNotFoundError:
        return found or _children_by_scan(pid)
    except (ProcessLookupError, PermissionError):
        return found
    return found


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents before their children."""
    found = children(pid)
    for process in found:
        found += children(process)
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and all below it. Each is stopped first, so that none forks while it is hunted."""
    frozen: dict[int, None] = {}
    for _ in range(_MAX_FREEZE_PASSES):
        fresh = [process for process in (pid, *descendants(pid)) if process not in frozen]
        if not fresh:
            break
        for process in fresh:
            _signal(process, signal.SIGSTOP)
            frozen[process] = None
    for process in frozen:
        _signal(process, signal.SIGKILL)


def resident_bytes(pid: int) -> int:
    """Memory that a process holds, shared pages included; 0 when it is gone."""
    return _statm(pid, 1)


def address_space_bytes(pid: int) -> int:
    """Virtual memory of a process: what RLIMIT_AS counts; 0 when it is gone."""
    return _statm(pid, 0)


def proportional_bytes(pids: Iterable[int]) -> int:
    """Memory that processes hold, each shared page divided among its holders. Milliseconds a process."""
    return sum(_proportional_bytes(pid) for pid in pids)


def oom_kills() -> int | None:
    """Processes that the kernel's out-of-memory killer has ended since boot; None where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def prefer_to_be_killed() -> None:
    """Ask the out-of-memory killer to take this process before its guard and the search."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _prctl(option: int, argument: int) -> None:
    prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _statm(pid: int, field: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[field]) * _PAGE_BYTES
    return 0


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _children_by_scan(pid: int) -> list[int]:
    """For kernels built without /proc/*/task/*/children."""
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children()]
    return []
