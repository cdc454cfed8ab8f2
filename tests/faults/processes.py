"""Finding the processes that a test has started, wherever they have gone."""

import os
import uuid
from collections.abc import Iterator

import psutil
import pytest

VARIABLE = "NAS_TEST_MARK"


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A value that every process started meanwhile carries in its environment, through forks and sessions."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(VARIABLE, value)
    yield value
    for process in marked(value):
        process.kill()


def marked(value: str) -> list[psutil.Process]:
    """The living processes that carry the mark, but for Python's own tracker of shared memory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.environ().get(VARIABLE) != value:
                continue
            if "resource_tracker" in " ".join(process.cmdline()):
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
