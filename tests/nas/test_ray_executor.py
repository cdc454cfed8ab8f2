"""The Ray executor on a cluster of its own: the zoo, privacy, silence, and workers that are killed.

What it has in common with other executors is in tests/conformance/test_executors.py.
"""

import builtins
import importlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from zoo import LIMITS, ZooRunner, check_zoo, job_named, run_all, zoo_jobs

from nas.executors.protocol import ExecutorError
from proxies.detection import Device
from proxies.hardware import Defaults, HardwareProfile, Match, MemoryRange, ResolvedHardware
from proxies.records import Outcome
from proxies.spool import Spool
from proxies.worker import WorkerSettings

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


@dataclass
class Cluster:
    executor: Any
    spool: Spool
    printed: Path
    sigterm: Any


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An executor that was opened with a dead RAY_ADDRESS in the environment and its output recorded."""
    from nas.executors.ray_tune import RayTuneExecutor

    folder = tmp_path_factory.mktemp("ray")
    spool = Spool(directory=folder / "spool")
    settings = WorkerSettings(runner=ZooRunner(), preload=(), spool=spool.directory, **LIMITS)
    with pytest.MonkeyPatch.context() as patch, (folder / "printed").open("w") as printed:
        patch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
        sigterm = signal.getsignal(signal.SIGTERM)
        kept = [os.dup(descriptor) for descriptor in (1, 2)]
        for descriptor in (1, 2):
            os.dup2(printed.fileno(), descriptor)
        try:
            executor = RayTuneExecutor(settings, workers=2)
            yield Cluster(executor, spool, folder / "printed", sigterm)
            executor.close()
        finally:
            for descriptor, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
    assert (folder / "printed").read_text() == ""
    assert not list(Path("/tmp").glob(f"nas-ray-{os.getpid()}-*"))
    assert not {process.name() for process in psutil.Process().children(recursive=True)} & {
        "raylet",
        "gcs_server",
    }


def next_outcome(executor: Any) -> Outcome:
    while True:
        for event in executor.wait(240.0):
            if isinstance(event, Outcome):
                return event


def test_each_bad_candidate_costs_itself_alone(cluster: Cluster) -> None:
    outcomes = run_all(cluster.executor, zoo_jobs())
    check_zoo(outcomes)
    assert {outcome.key: [outcome] for outcome in cluster.spool.read_all()} == outcomes


def test_a_killed_ray_worker_costs_no_job(cluster: Cluster) -> None:
    cluster.executor.submit(job_named("hang", 1))
    victim = _ray_worker_with_a_busy_guard()
    victim.kill()
    outcome = next_outcome(cluster.executor)
    assert (outcome.key, outcome.status) == (job_named("hang", 1).key, "timeout")
    cluster.executor.submit(job_named("good", 1000))
    assert next_outcome(cluster.executor).status == "ok"


def _ray_worker_with_a_busy_guard() -> psutil.Process:
    """The Ray worker whose guard has a worker with a job: one that has been forked and sleeps in `hang`."""
    while True:
        for process in psutil.Process().children(recursive=True):
            try:
                if not process.name().startswith("ray::"):
                    continue
                for below in process.children(recursive=True):
                    wchan = Path(f"/proc/{below.pid}/wchan").read_text()
                    if "nanosleep" in wchan:
                        return process
            except (psutil.Error, OSError):
                continue


def test_the_session_is_private_and_there_is_no_dashboard(cluster: Cluster) -> None:
    (folder,) = Path("/tmp").glob(f"nas-ray-{os.getpid()}-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((Path.home() / ".ray" / "auth_token").stat().st_mode) == 0o600
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 8265), 3.0)


CLIENT = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
print("connected")
"""


def test_only_who_has_the_token_is_let_in(cluster: Cluster) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    variables = {
        "the token": {"RAY_AUTH_MODE": "token"},
        "another token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        "no token": {"RAY_AUTH_MODE": "disabled"},
    }
    clients = {
        name: subprocess.Popen(
            [sys.executable, "-c", CLIENT, address],
            env={**os.environ, "RAY_ADDRESS": "", **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name, changes in variables.items()
    }
    said = {name: client.communicate(timeout=120)[0] for name, client in clients.items()}
    assert {name: client.returncode == 0 for name, client in clients.items()} == {
        "the token": True,
        "another token": False,
        "no token": False,
    }
    assert {name: "connected" in text for name, text in said.items()} == {
        name: client.returncode == 0 for name, client in clients.items()
    }


def test_the_terminal_stays_clean_and_signals_are_the_callers(cluster: Cluster) -> None:
    assert cluster.printed.read_text() == ""
    assert signal.getsignal(signal.SIGTERM) is cluster.sigterm


def test_hardware_that_the_cluster_lacks_is_refused_with_what_it_has(cluster: Cluster) -> None:
    from nas.executors.ray_tune import RayTuneExecutor

    gpu = Device(kind="cuda", index=0, name="test")
    profile = HardwareProfile(
        name="test",
        kind="cuda",
        match=Match(name="test", memory_gib=MemoryRange(low=0.0, high=1.0)),
        ray_accelerator_type="A100",
        defaults=Defaults(batch_size=1),
    )
    hardware = ResolvedHardware(profile=profile, devices=(gpu,), torch_version=None)
    with pytest.raises(ExecutorError, match=r"has no GPU and no accelerator_type:A100 \(it has CPU 2\)"):
        RayTuneExecutor(WorkerSettings(hardware=hardware, runner=ZooRunner()), workers=1)
    cluster.executor.submit(job_named("good", 1001))
    assert next_outcome(cluster.executor).status == "ok"


def test_a_dead_address_is_refused_within_seconds() -> None:
    from nas.executors.ray_tune import RayTuneExecutor

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ExecutorError, match=f"no Ray cluster answers at {address}"):
        RayTuneExecutor(WorkerSettings(runner=ZooRunner()), ray_address=address)


def test_another_cluster_than_the_connected_one_is_refused(cluster: Cluster) -> None:
    from nas.executors.ray_tune import RayTuneExecutor

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ExecutorError, match=rf"is connected to the Ray cluster at .*, not {address}"):
            RayTuneExecutor(WorkerSettings(runner=ZooRunner()), ray_address=address)


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "ray" or name.startswith("ray."):
            raise ModuleNotFoundError("No module named 'ray'")
        return real(name, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "nas.executors.ray_tune", raising=False)
    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(ExecutorError, match=r'pip install "ray\[tune\]"\); --executor local works without'):
        importlib.import_module("nas.executors.ray_tune")


def test_settings_that_cannot_travel_are_refused_at_once() -> None:
    from nas.executors.ray_tune import RayTuneExecutor

    with pytest.raises(ExecutorError, match="cannot be sent to worker processes"):
        RayTuneExecutor(WorkerSettings(task=lambda: None))  # type: ignore[arg-type]
