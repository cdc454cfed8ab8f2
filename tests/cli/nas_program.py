"""The command line, run within the test and as a program of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.main import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_here(capsys, *arguments) -> Ended:
    """The command within this process; quick."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Ended(code, captured.out, captured.err)


def environment(**changes):
    """A user's environment: nothing that changes what is written, or when."""
    unusual = ("NO_COLOR", "COLUMNS", "PYTHONUNBUFFERED", "PYTHONIOENCODING")
    found = {key: value for key, value in os.environ.items() if key not in unusual}
    return {**found, "PYTHONPATH": str(ROOT), **changes}


def start_program(*arguments, cwd, env=None, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=env or environment(), text=True, **{"stdout": -1, "stderr": -1, **options}
    )


def run_program(*arguments, cwd, env=None, **options) -> Ended:
    """The command as a program."""
    process = start_program(*arguments, cwd=cwd, env=env, **options)
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out, err)


def assert_one_problem(ended, code, *fragments):
    """One line on stderr that holds the fragments, nothing on stdout, no traceback."""
    assert (ended.code, ended.out) == (code, ""), ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err
    for fragment in fragments:
        assert fragment in ended.err, ended.err
