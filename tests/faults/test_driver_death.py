"""However a search ends, nothing of it stays behind: no process, no temporary file."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from processes import mark, marked
from zoo import ZooRunner, job_named

from nas.executors.local import LocalExecutor
from nas.executors.protocol import ExecutorError
from proxies.worker import WorkerSettings

__all__ = ["mark"]  # a fixture

FOLDER = Path(__file__).parent
GONE_SECONDS = 10.0


@pytest.mark.parametrize(
    ("when_busy", "number"),
    [
        ("wait", signal.SIGKILL),
        ("wait", signal.SIGTERM),
        ("wait", signal.SIGINT),
        ("return", None),
        ("raise", None),
    ],
)
def test_nothing_outlives_the_driver(
    when_busy: str, number: signal.Signals | None, mark: str, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])])
    with subprocess.Popen(
        [sys.executable, str(FOLDER / "driver.py"), when_busy],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"busy\n"
        processes = marked(mark)
        assert len(processes) >= 2 + 2 + 1 if number is not None else True
        if number is not None:
            os.kill(driver.pid, number)
        driver.wait(GONE_SECONDS)
        _, living = psutil.wait_procs(processes, timeout=GONE_SECONDS)
    assert living == []
    assert marked(mark) == []
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("nas-device-locks")] == []


@pytest.mark.parametrize(("which", "exit_code"), [("handle", -9), ("guard", 137)])
def test_losing_the_guard_is_an_error_of_the_executor_and_leaves_no_worker(
    which: str, exit_code: int, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    executor = LocalExecutor(WorkerSettings(runner=ZooRunner(), preload=()), workers=2)
    executor.submit(job_named("good"))
    executor.submit(job_named("leave_a_daemon_and_hang" if which == "handle" else "hang"))
    assert len(executor.wait(30.0)) == 1
    (handle,) = (p for p in psutil.Process().children() if p in marked(mark))
    (guard,) = handle.children()
    victim = handle if which == "handle" else guard
    victim.kill()
    with pytest.raises(
        ExecutorError, match=rf"the guard of the worker processes ended \(exit code {exit_code}\)"
    ):
        executor.wait(30.0)
    executor.close()
    _, living = psutil.wait_procs(marked(mark), timeout=GONE_SECONDS)
    assert living == []
    assert list(tmp_path.iterdir()) == []
