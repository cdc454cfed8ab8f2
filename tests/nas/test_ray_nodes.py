"""A Ray cluster of several nodes, on one machine: what a search survives, and what it says when it cannot."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import killed_search
import pytest

from results.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.thorough, pytest.mark.xdist_group("ray")]

ROOT = Path(__file__).parents[2]
CANDIDATES = 12
SMALL = {"object_store_memory": 80 * 2**20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    path = [str(ROOT / "tests" / "faults"), str(ROOT)]
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
