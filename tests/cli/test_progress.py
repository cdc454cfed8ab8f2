"""What a running search shows."""

import io

import pytest

from cli.progress import PlainProgress, describe, showing_progress
from nas.progress import ProgressEvent


def event(evaluated, *, total=4, failed=1, hypervolume=0.125, eta_seconds=200.0):
    return ProgressEvent(
        evaluated=evaluated,
        total=total,
        failed=failed,
        front_size=2,
        hypervolume=hypervolume,
        elapsed_seconds=10.0,
        eta_seconds=eta_seconds,
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (event(1), "front 2, hypervolume 0.125, 1 failed, 3 min 20 s left"),
        (event(1, hypervolume=None, eta_seconds=None), "front 2, 1 failed"),
        (event(4), "front 2, hypervolume 0.125, 1 failed"),
    ],
)
def test_an_event_is_described(shown, expected):
    assert describe(shown) == expected


def test_plain_lines_come_once_a_second_and_at_the_end():
    times = iter([0.0, 0.5, 1.2, 1.3])
    stream = io.StringIO()
    progress = PlainProgress(stream, clock=lambda: next(times))
    for evaluated in (1, 2, 3, 4):
        progress.update(event(evaluated))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["1/4", "3/4", "4/4"]


def test_a_search_goes_on_when_nobody_reads_its_progress():
    stream = io.StringIO()
    with showing_progress(stream) as progress:
        stream.close()
        progress.update(event(1))


def test_a_terminal_gets_one_moving_line(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True
    with showing_progress(stream) as progress:
        progress.update(event(1))
        progress.update(event(4))
    shown = stream.getvalue()
    assert "4/4" in shown
    assert "hypervolume 0.125" in shown
    assert shown.count("\n") == 1, "only the end of the line"


def test_a_terminal_keeps_no_line_of_a_search_that_never_began(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True
    with showing_progress(stream):
        assert "starting" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K"), "the line is erased"
