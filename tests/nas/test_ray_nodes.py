"""A Ray cluster of several nodes, on one machine: what a search survives, and what it says when it cannot."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import killed_search
import pytest
from on_nodes import OnlyHere, TellNode

from cli.errors import ExitCode
from nas.executors.protocol import ExecutorError
from nas.executors.ray_settings import needs_of, packed
from proxies.hardware import declared_hardware
from proxies.records import Outcome, TrainJob
from proxies.worker import WorkerSettings
from results.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.thorough, pytest.mark.xdist_group("ray")]

ROOT = Path(__file__).parents[2]
CANDIDATES = 12
SMALL = {"object_store_memory": 80 * 2**20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    path = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "nas"), str(ROOT)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, **SMALL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **SMALL)
        yield cluster
    finally:
        cluster.shutdown()


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The real command, in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def search_of(address: str, proxy: str) -> list[str]:
    options = ["--space", "tiny", "--hardware", "cpu", "--batch", "2", "--resolution", "16", "--no-reuse"]
    place = ["--workers", "2", "--candidates", "6", "--out", "run", "--ray-address", address]
    return ["search", *options, *place, "--proxy", proxy]


def start(run: Path, executor: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, killed_search.__file__, str(run), executor, str(CANDIDATES)],
        env={**os.environ, "NAS_TEST_WORK_SECONDS": "0.3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when_some_are_done(search: subprocess.Popen[str], cluster: Any, node: Any) -> str:
    """What the search says after a node was killed under it."""
    assert search.stdout is not None
    for line in search.stdout:
        if line.strip() == "3":
            break
    cluster.remove_node(node, allow_graceful=False)
    return search.communicate(timeout=240)[0]


def recorded(run: Path) -> set[str]:
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.integrity_check() == ()
        assert ledger.duplicates() == ()
        return {outcome.key for outcome in ledger.outcomes() if outcome.status == "ok"}


def noted(run: Path) -> list[str]:
    return (run / "notes").read_text().split()


def test_a_node_that_dies_costs_the_search_nothing(cluster: Any, tmp_path: Path) -> None:
    (node, *_) = cluster.worker_nodes
    with start(tmp_path, f"ray:{cluster.address}") as search:
        said = kill_when_some_are_done(search, cluster, node)
    assert search.returncode == 0, said
    assert said.endswith("finished\n")
    with Ledger.open(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        assert len(ledger.candidates()) == CANDIDATES
        assert {outcome.status for outcome in ledger.outcomes()} == {"ok"}
    assert recorded(tmp_path) == set(noted(tmp_path))
    repeated = len(noted(tmp_path)) - len(set(noted(tmp_path)))
    assert repeated <= 1, "only what the dead node held ran again"


def test_a_head_that_dies_is_said_and_the_run_goes_on_elsewhere(cluster: Any, tmp_path: Path) -> None:
    with start(tmp_path, f"ray:{cluster.address}") as search:
        said = kill_when_some_are_done(search, cluster, cluster.head_node)
    assert search.returncode == 1, said
    assert "ExecutorError: the Ray cluster is gone" in said
    assert "resume to go on" in said
    before = recorded(tmp_path)
    assert before
    with start(tmp_path, "local") as resumed:
        said = resumed.communicate(timeout=120)[0]
    assert resumed.returncode == 0, said
    assert before <= recorded(tmp_path) == set(noted(tmp_path))
    again = [key for key in noted(tmp_path) if key in before]
    assert len(again) == len(set(again)), "what was on record did not run again"


PROXY = """
schema: nas.task/1
name: moment
data: {source: digits}
resolution: 8
recipe: {steps: 6, batch_size: 16, optimizer: sgd, learning_rate: 0.05}
"""


def test_the_command_ends_with_5_when_the_head_dies_and_is_resumed(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").write_text(PROXY)
    path = tmp_path / "run" / "ledger.sqlite"
    with command(tmp_path, *search_of(cluster.address, "proxy.yaml")) as search:
        while search.poll() is None and not (path.exists() and recorded(tmp_path / "run")):
            time.sleep(0.2)  # until the command has recorded something
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        said = search.communicate(timeout=240)[1]
    assert search.returncode == ExitCode.STOPPED_EARLY, said
    assert "Traceback" not in said
    assert re.search(r"the Ray cluster is gone .*; go on with: nas resume", said.splitlines()[-1]), said
    before = recorded(tmp_path / "run")
    with command(tmp_path, "resume", "run", "--executor", "local") as resumed:
        said = resumed.communicate(timeout=240)[1]
    assert resumed.returncode == 0, said
    assert before <= recorded(tmp_path / "run")


def test_a_node_without_the_data_is_named_before_anything_is_trained(cluster: Any, tmp_path: Path) -> None:
    payload, main = packed(WorkerSettings(task=OnlyHere(os.getpid()), preload=()))  # type: ignore[arg-type]
    import ray

    from nas.executors.ray_cluster import join_cluster, require_able_nodes

    join_cluster(cluster.address, [])
    try:
        require_able_nodes({"CPU": 1.0}, payload, main, data=None)
        with pytest.raises(ExecutorError, match=r"the node [\d.]+ cannot train: no data in process \d+"):
            require_able_nodes({"CPU": 1.0}, payload, main, data="here")
    finally:
        ray.shutdown()


@pytest.mark.parametrize("is_labelled", [True, False])
def test_jobs_go_only_to_nodes_with_the_accelerator(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_labelled: bool
) -> None:
    """Nodes that claim accelerators; trials that ask for no label, the control, go to others, too."""
    from nas.executors import ray_tune

    able = cluster.add_node(num_cpus=1, resources={"accelerator_type:A100": 1.0}, **SMALL)
    cluster.add_node(num_cpus=1, resources={"accelerator_type:T4": 1.0}, **SMALL)
    needs = needs_of(WorkerSettings(hardware=declared_hardware("a100-80g")), workers=1, is_local=False)
    assert needs["accelerator_type:A100"] > 0
    kept = {"CPU", "accelerator_type:A100"} if is_labelled else {"CPU"}  # nobody looks for a GPU here
    asked = {name: amount for name, amount in needs.items() if name in kept}
    monkeypatch.setattr(ray_tune, "needs_of", lambda *_, **__: asked)
    workers = 1 if is_labelled else 4  # one for every processor that there is
    settings = WorkerSettings(runner=TellNode(tmp_path, workers), preload=())
    jobs = [TrainJob(digest=f"{n:064x}", architecture={}, task_fingerprint="none", seed=0) for n in range(4)]
    with closing(
        ray_tune.RayTuneExecutor(settings, workers=workers, ray_address=cluster.address)
    ) as executor:
        for job in jobs:
            executor.submit(job)
        outcomes: list[Outcome] = []
        while len(outcomes) < len(jobs):
            outcomes += [event for event in executor.wait(120.0) if isinstance(event, Outcome)]
    assert [outcome.reason for outcome in outcomes if outcome.status != "ok"] == []
    nodes = {outcome.details["node"] for outcome in outcomes}
    assert able.all_processes["raylet"][0].process.pid in nodes
    assert len(nodes) == workers
