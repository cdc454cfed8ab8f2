"""What is settled before Ray starts: environment, privacy, a temporary folder, whether a cluster is there."""

import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.executors.protocol import ExecutorError

PROBE_SECONDS = 3.0
SHARED_TEMPORARY_FOLDER = Path("/tmp")  # noqa: S108 -- only a private folder is made in it
"""Not `tempfile`'s choice: a Unix socket's path below it has at most 107 bytes, and must be ASCII."""

TOKEN = Path("~/.ray/auth_token")
"""Where Ray keeps the secret that lets one use a cluster."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_INIT": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""Tune writes nothing but a last snapshot, because resuming is the ledger's work, and prints nothing."""

LOCAL_ENVIRONMENT = {"RAY_memory_monitor_refresh_ms": "0"}
"""Ray's own memory monitor ends a whole search where ours ends one job."""

_FOLDER = re.compile(r"nas-ray-(?P<pid>\d+)-.*")


def refuse_open_cluster(*, insecure: bool) -> None:
    """A Ray cluster without authentication lets any user of the network run code as this one.

    Raises:
        ExecutorError: the environment turns authentication off, and the user has not said that is meant.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled" and not insecure:
        raise ExecutorError(
            "RAY_AUTH_MODE=disabled lets anyone who can reach this machine run code as you; "
            "unset it; a search also has --executor local, and --insecure if that is meant"
        )


def require_reachable(address: str) -> None:
    """See that something listens at `address` ("host:port"), since Ray itself would wait for minutes.

    Takes `PROBE_SECONDS` at most, names that are looked up included.

    Raises:
        ExecutorError: nothing does, or it is not an address.
    """
    if address == "auto":
        return
    if "://" in address:
        raise ExecutorError(
            f"{address}: a Ray client cannot host a search; run it on a node of the cluster "
            "with --ray-address auto or HOST:PORT (the port of `ray start --head`, 6379)"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ExecutorError(f"{address!r} is not a Ray address; use HOST:PORT, for example 10.0.0.1:6379")
    problem = _why_unreachable(host.strip("[]"), int(port))
    if problem is not None:
        raise ExecutorError(
            f"no Ray cluster answers at {address} ({problem}); start one with `ray start --head`, "
            "or leave --ray-address out to use this machine alone"
        )


def _why_unreachable(host: str, port: int) -> str | None:
    """Why no connection comes about; None: one does.

    In a thread, since the system may look a name up for longer than any limit of a socket.
    """
    problems: list[str | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), PROBE_SECONDS).close()
            problems.append(None)
        except (OSError, UnicodeError) as error:
            problems.append(str(error))

    thread = threading.Thread(target=connect, name="nas-ray-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return problems[0] if problems else f"no answer within {PROBE_SECONDS:g} s"


def authentication() -> dict[str, str]:
    """What makes Ray show its token to a cluster: by itself it does so only to one on this machine."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return {"RAY_AUTH_MODE": "token"} if has_token or TOKEN.expanduser().exists() else {}


@contextlib.contextmanager
def environment(variables: Mapping[str, str], *, without: tuple[str, ...] = ()) -> Iterator[None]:
    """These environment variables while it lasts, and none of those `without`; then as it was."""
    before = {name: os.environ.get(name) for name in (*variables, *without)}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Files made meanwhile, Ray's token among them, are readable to this user alone."""
    with contextlib.suppress(OSError):
        TOKEN.expanduser().chmod(0o600)
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which `ray.init` would replace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_folder() -> Path:
    """A private folder for Ray's sessions, which Ray leaves open to all; those of dead searches go."""
    for path in SHARED_TEMPORARY_FOLDER.glob("nas-ray-*"):
        match = _FOLDER.fullmatch(path.name)
        if match is not None and not Path(f"/proc/{match['pid']}").exists():
            shutil.rmtree(path, ignore_errors=True)  # another user's cannot be removed, and need not be
    return Path(tempfile.mkdtemp(prefix=f"nas-ray-{os.getpid()}-", dir=SHARED_TEMPORARY_FOLDER))
