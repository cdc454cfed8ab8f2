"""Every exit code by the real command, and what each way out leaves behind: a whole run, and nothing else."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from processes import mark, marked

from cli.errors import ExitCode
from results.filesystem import DirectoryLock
from results.ledger import Ledger

__all__ = ["mark"]  # a fixture

ROOT = Path(__file__).parents[2]
GONE_SECONDS = 10.0
PROXY = """
schema: nas.task/1
name: moment
data: {source: digits}
resolution: 8
recipe: {steps: 6, batch_size: 16, optimizer: sgd, learning_rate: 0.05}
"""
SEARCH = ["search", "--space", "tiny", "--proxy", "proxy.yaml", "--hardware", "cpu", "--executor", "local"]
SEARCH += ["--candidates", "9", "--batch", "2", "--resolution", "16", "--out", "run", "--no-reuse"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user works; `tmp` in it is where temporary files go."""
    (tmp_path / "proxy.yaml").write_text(PROXY)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_candidates(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until the search has filed a candidate, whose job it submits next."""
    path = folder / "run" / "ledger.sqlite"
    deadline = time.monotonic() + 60.0
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no candidate was filed"
        if path.exists():
            with Ledger.open(path, read_only=True) as ledger:
                if ledger.candidates():
                    return
        time.sleep(0.05)


def assert_clean(folder: Path, mark: str) -> None:
    """No process, no temporary file, no lock is left of a command that has ended."""
    _, living = psutil.wait_procs(marked(mark), timeout=GONE_SECONDS)
    assert living == []
    left = [path.name for path in (folder / "tmp").iterdir()]
    assert [name for name in left if not name.startswith(("nas-device-locks", "torchinductor"))] == []
    assert [path.name for path in folder.rglob(".*.tmp")] == []
    if (folder / "run").exists():
        DirectoryLock(folder / "run" / "lock").release()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["space", "list"], ExitCode.OK, ""),
        (["show", "no-such-run"], ExitCode.FAILURE, "no run 'no-such-run'"),
        (["space", "validate", "proxy.yaml"], ExitCode.USAGE, "proxy.yaml:"),
        ([*SEARCH, "--candidates", "none"], ExitCode.USAGE, "--candidates"),
        ([*SEARCH, "--limit", "params<=1"], ExitCode.INFEASIBLE, "nearest: params"),
        (["search", "--hardware", "a100"], ExitCode.UNAVAILABLE, "not on this machine"),
        ([*SEARCH, "--data", "folder:/no/such/data"], ExitCode.UNAVAILABLE, "/no/such/data"),
        (
            [*SEARCH, "--candidate-timeout", "0.001s", "--max-failed", "1"],
            ExitCode.STOPPED_EARLY,
            "go on with: nas resume",
        ),
    ],
)
def test_each_exit_code(arguments: list[str], code: ExitCode, says: str, folder: Path, mark: str) -> None:
    with start(folder, arguments) as process:
        _, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    assert says in err
    assert "Traceback" not in err
    assert_clean(folder, mark)


def test_an_open_cluster_and_a_dead_one_are_refused_before_anything_is_made(
    folder: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    on_ray = [*SEARCH, "--executor", "ray"]
    with start(folder, [*on_ray, "--ray-address", address]) as dead:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        with start(folder, on_ray) as is_open:
            said = is_open.communicate(timeout=100)[1]
        dead_said = dead.communicate(timeout=100)[1]
    assert is_open.returncode == dead.returncode == ExitCode.FAILURE
    assert "lets anyone who can reach this machine run code as you" in said.splitlines()[-1]
    assert f"no Ray cluster answers at {address}" in dead_said.splitlines()[-1]
    assert not (folder / "run").exists()
    assert_clean(folder, mark)


@pytest.mark.parametrize(
    ("signals", "code", "says"),
    [
        ([signal.SIGINT], ExitCode.INTERRUPTED, "interrupted"),
        ([signal.SIGINT, signal.SIGINT], ExitCode.INTERRUPTED, "interrupted"),
        ([signal.SIGTERM], ExitCode.TERMINATED, "terminated"),
    ],
    ids=["once", "twice", "terminate"],
)
def test_a_search_that_is_told_to_end(
    signals: list[signal.Signals], code: ExitCode, says: str, folder: Path, mark: str
) -> None:
    with start(folder, SEARCH) as process:
        assert process.stderr is not None
        wait_for_candidates(folder, process)
        assert process.stderr.readline().startswith("0/9 ")
        os.killpg(process.pid, signals[0])  # as a terminal does
        heard = ""
        if signals[0] == signal.SIGINT:
            heard = process.stderr.readline()
            assert "what runs may finish, Ctrl-C again stops at once" in heard
        for number in signals[1:]:
            os.killpg(process.pid, number)
        heard += process.communicate(timeout=100)[1]
    assert process.returncode == code, heard
    assert "go on with: nas resume" in heard
    assert heard.endswith(f"{says}\n")
    assert "Traceback" not in heard
    assert_clean(folder, mark)
    with Ledger.open(folder / "run" / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.candidates()
        finished = len(ledger.outcomes())
    if signals == [signal.SIGINT]:
        assert 1 <= finished <= 2, "what ran on two workers was let finish, and nothing more was started"
    else:
        assert finished == 0, "only the first Ctrl-C waits"


def test_a_second_search_in_a_directory_names_the_first(folder: Path, mark: str) -> None:
    with start(folder, SEARCH) as first:
        wait_for_candidates(folder, first)
        with start(folder, ["resume", "run"]) as second:
            err = second.communicate(timeout=60)[1]
        first.kill()
    assert second.returncode == ExitCode.FAILURE, err
    assert f"process {first.pid} on " in err
    assert json.loads((folder / "run" / "lock").read_text())["pid"] == first.pid
    assert_clean(folder, mark)
