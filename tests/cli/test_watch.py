import io
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from nas_program import assert_one_problem, environment, run_here, start_program
from recorded_run import CONFIG, make_run
from rich.console import Console

from cli.watch import picture
from results.directory import RunDirectory
from results.watching import snapshots


def finished_run(path):
    run = make_run(path)
    with RunDirectory.open(run, root=path.parent) as directory:
        directory.log("started")
        directory.log("finished")
    return run


def drawn(path, *, height=40, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=False, emoji=False)
    console.print(picture(next(snapshots(path, wait=lambda: None)), height=height))
    return console.file.getvalue()


def test_a_finished_run_is_shown_once(tmp_path, capsys):
    ended = run_here(capsys, "watch", finished_run(tmp_path / "run"))
    assert ended.code == 0
    first, *rest = ended.out.splitlines()
    assert first.startswith("5/5 finished, front 3, hypervolume ")
    assert first.endswith("1 failed")
    assert rest[-1].startswith("run: ")


def test_an_interrupted_run_ends_with_a_way_on(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    ended = run_here(capsys, "watch", run)
    assert ended.code == 5
    assert f"go on with: nas resume {run}" in ended.err
    assert run_here(capsys, "watch", run, "--once").code == 0


def test_json_is_one_document(tmp_path, capsys):
    ended = run_here(capsys, "watch", make_run(tmp_path / "run"), "--once", "--json")
    found = ended.json
    assert (found["evaluated"], found["failed"], found["phase"]) == (5, 1, "interrupted")
    assert found["failures"] == {"oom": 1}
    assert (found["target"], found["eta_seconds"]) == (5, None)
    assert [member["id"] for member in found["front"]] == [4, 2, 1]


def test_once_does_not_wait_for_a_search_that_goes_on(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    with RunDirectory.open(run, root=tmp_path):
        ended = run_here(capsys, "watch", run, "--once")
    assert (ended.code, "running" in ended.out) == (0, True)


def test_a_search_of_another_process_is_watched_to_its_end(tmp_path):
    """The search waits until it was seen; the watcher ends when it does."""
    code = (
        "import sys; from pathlib import Path; from results.directory import RunDirectory\n"
        "path = Path(sys.argv[1])\n"
        "with RunDirectory.open(path, root=path.parent) as directory:\n"
        "    directory.log('started'); print('going', flush=True); sys.stdin.readline()\n"
        "    directory.log('finished')\n"
    )
    run = make_run(tmp_path / "run")
    search = subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdin=-1, stdout=-1, text=True, env=environment()
    )
    try:
        assert search.stdout.readline() == "going\n"
        watcher = start_program("watch", run, "--interval", "0.05", cwd=tmp_path)
        line = watcher.stdout.readline()
        assert line.startswith(f"5/5 running (process {search.pid} on ")
        assert watcher.poll() is None
        search.communicate("end\n", timeout=60)
        out, err = watcher.communicate(timeout=60)
        assert (watcher.returncode, err) == (0, "")
        assert out.startswith("5/5 finished")
    finally:
        search.kill()


def test_ctrl_c_leaves_the_watcher_and_the_search_alone(tmp_path):
    run = make_run(tmp_path / "run")
    with RunDirectory.open(run, root=tmp_path):
        watcher = start_program("watch", run, "--interval", "0.05", cwd=tmp_path)
        assert "running" in watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        _, err = watcher.communicate(timeout=60)
        assert (watcher.returncode, err) == (130, "interrupted\n")


@pytest.mark.parametrize("interval", ["0", "soon", "-1s"])
def test_an_interval_that_is_none_is_refused(tmp_path, capsys, interval):
    ended = run_here(capsys, "watch", make_run(tmp_path / "run"), f"--interval={interval}")
    assert_one_problem(ended, 2, "is not a duration")


def test_a_run_that_is_not_there_is_one_line(tmp_path, capsys):
    assert_one_problem(run_here(capsys, "watch", tmp_path / "none"), 1, "no run")


def test_the_picture_has_progress_front_and_latest_results(tmp_path):
    text = drawn(make_run(tmp_path / "run"))
    assert "5/5" in text
    assert "failed: 1 oom" in text
    assert re.search("hypervolume [▁-█]{31}█", text)
    assert "40.00 [39.20, 40.80]" in text
    assert "#5  oom" in text
    assert "#4  ok  accuracy 0.8000  step 40.00 ms" in text


def test_the_picture_keeps_to_the_height_of_the_terminal(tmp_path):
    run = make_run(tmp_path / "run")
    for height in (20, 24, 40):
        assert len(drawn(run, height=height).splitlines()) <= height


def test_hostile_text_cannot_steer_the_terminal(tmp_path):
    run = make_run(tmp_path / "run[bold]")
    text = drawn(run)
    assert "\x1b" not in text
    assert "out of memory \\x1b[31m" in text
    assert "run[bold]" in text


def test_a_run_that_has_only_begun_is_drawn(tmp_path):
    with RunDirectory.create(tmp_path / "run", hint="x", config=CONFIG, root=tmp_path) as begun:
        text = drawn(begun.path)
    assert "nothing is measured yet" in text
    assert "no result yet" in text


def test_the_drawing_moves_in_a_terminal_and_its_last_frame_stays(tmp_path):
    run = finished_run(tmp_path / "run")
    leader, follower = pty.openpty()
    env = environment(TERM="xterm-256color", COLUMNS="100", LINES="40")
    watcher = start_program("watch", run, cwd=tmp_path, env=env, stdout=follower)
    os.close(follower)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            read = os.read(leader, 65536)
        except OSError:
            break
        shown += read
    os.close(leader)
    _, err = watcher.communicate(timeout=60)
    assert (watcher.returncode, err) == (0, "")
    assert b"\x1b[" in shown
    assert b"40.00 [39.20, 40.80]" in shown
