import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from results.directory import RunDirectory
from results.errors import RunLockedError
from results.filesystem import DirectoryLock
from results.state import run_state

CONFIG = {"schema": "nas.run/1"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run"


def make(path, *events):
    with RunDirectory.create(path, hint="x", config=CONFIG, root=path.parent) as directory:
        for event in events:
            directory.log(event)


def test_while_a_search_holds_the_directory_it_is_running(path):
    with RunDirectory.create(path, hint="x", config=CONFIG, root=path.parent) as directory:
        directory.log("started")
        state = run_state(path)
        assert (state.phase, state.may_change) == ("running", True)
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(state)
    assert run_state(path).phase == "interrupted"


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ((), "interrupted"),
        (("started",), "interrupted"),
        (("started", "finished"), "finished"),
        (("started", "finished", "noted"), "finished"),
        (("started", "finished", "started"), "interrupted"),
    ],
)
def test_the_last_start_or_end_counts(path, events, phase):
    make(path, *events)
    state = run_state(path)
    assert (state.phase, state.may_change, str(state)) == (phase, False, phase)


def test_a_resumed_search_is_running_again_though_the_log_says_finished(path):
    make(path, "started", "finished")
    with RunDirectory.open(path, root=path.parent):
        assert run_state(path).phase == "running"


def test_a_search_that_was_killed_is_interrupted(path):
    make(path, "started")
    code = (
        "import os, sys; from pathlib import Path; from results.filesystem import DirectoryLock\n"
        "lock = DirectoryLock(Path(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path / "lock")], check=False, cwd=Path.cwd())
    assert (path / "lock").read_bytes()
    assert run_state(path).phase == "interrupted"


def test_a_copy_of_a_run_that_went_on_elsewhere_is_unknown(path):
    make(path, "started")
    (path / "lock").write_text(json.dumps({"pid": 4, "host": "elsewhere.invalid", "started": "then"}))
    state = run_state(path)
    assert (state.phase, state.may_change) == ("unknown", True)
    assert str(state) == "unknown (process 4 on elsewhere.invalid)"


def test_looking_takes_no_lock_and_writes_nothing(path):
    make(path, "started")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    run_state(path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    with DirectoryLock(path / "lock"):
        run_state(path)
        with pytest.raises(RunLockedError):
            DirectoryLock(path / "lock")


@pytest.mark.parametrize("damage", [b"\xff\x00{", b"[]\n", b'{"event"', b'{"time": 1}\n', b"7\n"])
def test_a_damaged_log_or_label_is_passed_over(path, damage):
    make(path, "started", "finished")
    with (path / "log.jsonl").open("ab") as file:
        file.write(damage)
    (path / "lock").write_bytes(damage)
    assert run_state(path).phase == "finished"


def test_a_directory_without_lock_and_log_is_interrupted(tmp_path):
    assert run_state(tmp_path).phase == "interrupted"
