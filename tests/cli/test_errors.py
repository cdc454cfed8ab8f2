"""Every error of the system, as an exit code and lines."""

import pytest
import typer
from pydantic import ValidationError

from cli.errors import ExitCode, exit_code, problem_lines, report
from nas.errors import ConfigError, NothingMeasuredError, StoppedEarlyError
from nas.executors.protocol import ExecutorError
from proxies.data.protocol import DataError
from proxies.hardware import HardwareNotFoundError, UnknownHardwareError
from proxies.records import TimingSettings
from proxies.spool import SpoolError
from results.errors import LedgerError, LedgerWriteError, RunError, RunLockedError, RunWriteError
from search_spaces.limits import InfeasibleError
from search_spaces.nodes import DocumentError, Mark, Problem


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (typer.BadParameter("x"), 2),
        (DocumentError([Problem(Mark("f.yaml", 1, 2), "p", "wrong")]), 2),
        (ConfigError("x"), 2),
        (UnknownHardwareError("x"), 2),
        (ValueError("x"), 2),
        (InfeasibleError("x"), 3),
        (HardwareNotFoundError("x"), 4),
        (DataError("x"), 4),
        (StoppedEarlyError("x"), 5),
        (LedgerWriteError("x"), 5),
        (SpoolError("x"), 5),
        (RunWriteError("x"), 5),
        (LedgerError("x"), 1),
        (RunError("x"), 1),
        (RunLockedError("x"), 1),
        (ExecutorError("x"), 1),
        (NothingMeasuredError("x"), 1),
        (FileNotFoundError(2, "No such file or directory", "f"), 1),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "bad"), 1),
        (MemoryError(), 1),
        (KeyError("x"), 1),
    ],
)
def test_codes(error, code):
    assert exit_code(error) == code


def test_codes_are_those_that_are_documented():
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILURE": 1,
        "USAGE": 2,
        "INFEASIBLE": 3,
        "UNAVAILABLE": 4,
        "STOPPED_EARLY": 5,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (RunError("no run 'x'; give one"), ["error: no run 'x'; give one"]),
        (ConfigError("a: wrong\nb: wrong"), ["error: a: wrong", "error: b: wrong"]),
        (
            DocumentError(
                [Problem(Mark("f.yaml", 3, 1), "b", "no"), Problem(Mark("f.yaml", 2, 9), "a", "no")]
            ),
            ["f.yaml:2:9: a: no", "f.yaml:3:1: b: no"],
        ),
        (OSError(28, "No space left on device"), ["error: No space left on device"]),
        (PermissionError(13, "Permission denied", "/x"), ["error: /x: Permission denied"]),
        (
            ModuleNotFoundError("No module named 'ray'", name="ray"),
            ["error: the package 'ray' is needed for this and is not installed"],
        ),
        (MemoryError(), ["error: out of memory"]),
        (
            KeyError("a\nb"),
            ["error: internal error, please report it (KeyError: 'a\\nb'); nas --debug ... shows where"],
        ),
        (
            RuntimeError("a\n  b"),
            ["error: internal error, please report it (RuntimeError: a b); nas --debug ... shows where"],
        ),
    ],
)
def test_lines(error, lines):
    assert problem_lines(error) == lines


def test_a_value_that_a_specification_refuses_is_a_line_a_field():
    with pytest.raises(ValidationError) as caught:
        TimingSettings(resolution=0, batch_size=1, precision="fp8")
    assert exit_code(caught.value) == 2
    assert problem_lines(caught.value) == [
        "error: resolution: input should be greater than or equal to 1, got 0",
        "error: precision: input should be 'fp32', 'tf32', 'bf16' or 'fp16', got 'fp8'",
    ]


def test_a_message_cannot_steer_the_terminal(capsys):
    report(RunError("\x1b]0;title\x07"))
    assert capsys.readouterr().err == "error: \\x1b]0;title\\x07\n"
