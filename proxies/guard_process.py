"""The guard's process, from start to end.

It is started once a search, loads torch, and serves as the place that workers are forked from: a fork
server, but one that is its workers' parent and knows what they do. When the search goes away, however it
goes, the guard sees that, ends every process below it and removes the temporary folder.
"""

import gc
import importlib
import json
import os
import shutil
import signal
import socket
import time
import traceback
from typing import Any

from proxies.channel import Channel
from proxies.forking import ForkError
from proxies.guard import Guard, GuardError, GuardPlan
from proxies.process_tree import adopt_orphans
from proxies.spool import SpoolError
from proxies.user_cache import cache_folder
from proxies.worker import WorkerSettings


def guard_main(plan: GuardPlan, end: socket.socket) -> None:
    """The guard's process, from start to end: what was started becomes its handle, and forks the guard.

    Whoever ends the search's process may end its children with it, by a signal that cannot be caught (Ray
    does). That hits the handle; the guard sees it, and still has the time to clear up.
    """
    _detach()
    handle = os.getpid()
    guard = os.fork()
    if guard != 0:
        end.close()
        _, status = os.waitpid(guard, 0)
        exit_code = os.waitstatus_to_exitcode(status)
        os._exit(exit_code if exit_code >= 0 else 128 - exit_code)
    try:
        _guard(plan, Channel(end), handle)
    finally:
        os._exit(0)  # taking torch apart would keep the search waiting for a second


def _guard(plan: GuardPlan, search: Channel, handle: int) -> None:
    signal.signal(signal.SIGTERM, _exit)
    adopt_orphans()
    parents: list[int] = []
    guard = Guard(plan, search=search, parents=parents, clock=time.monotonic)
    try:
        parents += [os.pidfd_open(plan.search_pid), os.pidfd_open(handle)]
        if os.getppid() == handle:
            _preload(plan.settings)
            guard.run()
    except (GuardError, SpoolError, ForkError) as error:
        search.send("broken", json.dumps(str(error)))
    except Exception:  # noqa: BLE001 -- nobody else can tell the search
        search.send("broken", json.dumps(f"the guard of the workers failed: {traceback.format_exc()}"))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        guard.shut_down()
        shutil.rmtree(plan.folder, ignore_errors=True)


def _detach() -> None:
    """Leave the terminal's process group, and speak to nobody but the search."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # held back while this was started
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _exit(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _preload(settings: WorkerSettings) -> None:
    """Load what every worker will need, so that workers share it."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(settings.threads))  # numpy's own pool starts when it is imported
    os.environ.setdefault(
        "TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor")
    )  # outlives a worker's TMPDIR
    for module in settings.preload:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise GuardError(f"{module} cannot be loaded in the worker processes: {error}") from error
    gc.collect()
    gc.freeze()  # or the collector of each worker would copy the pages it shares with the guard
