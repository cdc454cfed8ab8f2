"""A search that never ends: run as a script, it prints "busy" when both workers are, then waits."""

import contextlib
import sys
from pathlib import Path

import psutil
from zoo import ZooRunner, job_named

from nas.executors.local import LocalExecutor
from proxies.worker import WorkerSettings

NUM_PROCESSES = 2 + 3 + 2
"""The guard and its handle; two workers and a spare; the two daemons."""


def main() -> None:
    """argv[1]: what to do when busy: wait, return or raise."""
    executor = LocalExecutor(WorkerSettings(runner=ZooRunner(), preload=()), workers=2)
    for seed in range(2):
        executor.submit(job_named("leave_a_daemon_and_hang", seed))
    while num_below() < NUM_PROCESSES:
        executor.wait(0.02)
    print("busy", flush=True)
    if sys.argv[1] == "wait":
        executor.wait()
    if sys.argv[1] == "raise":
        raise RuntimeError("the driver's own mistake")


def num_below() -> int:
    """Processes below this one, but for Python's own tracker; those that end meanwhile do not count."""
    count = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            count += "resource_tracker" not in " ".join(process.cmdline())
    return count


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
