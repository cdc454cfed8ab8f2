"""What `nas search` and `nas resume` share: a search with its progress shown, and every early end told."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import ExitCode
from cli.output import note, write_json

if TYPE_CHECKING:
    from nas.progress import Progress
    from results.run import Run


def require_executor(name: str) -> None:
    """Refuse Ray where it is not installed, before a run directory is made.

    Raises:
        ExecutorError: says what works without it.
    """
    from importlib.util import find_spec

    from nas.executors.protocol import ExecutorError

    if name == "ray" and find_spec("ray") is None:
        raise ExecutorError("Ray is not installed; use --executor local, or install ray[tune]")


def supervised(start: Callable[["Progress"], "Run"], *, as_json: bool, run: Path | None = None) -> None:
    """Run a search with its progress on stderr and its front on stdout.

    When it stops early, say how to go on. `run` is the run's directory where it is known beforehand.

    Raises:
        StoppedEarlyError: for everything that stops a run which `nas resume` can take up.
    """
    from cli.front import write_run
    from cli.progress import showing_progress
    from nas.api import TerminatedError
    from nas.errors import StoppedEarlyError
    from nas.executors.protocol import ExecutorError
    from proxies.spool import SpoolError
    from results.errors import LedgerWriteError, RunWriteError

    before = _latest()
    try:
        with showing_progress() as progress:
            finished = start(progress)
    except (KeyboardInterrupt, TerminatedError) as stop:
        started = run or _started_since(before)
        if started is not None:
            note(f"everything measured is kept; go on with: nas resume {started}")
        if isinstance(stop, TerminatedError):
            raise typer.Exit(ExitCode.TERMINATED) from None
        raise
    except (StoppedEarlyError, ExecutorError, LedgerWriteError, RunWriteError, SpoolError) as stop:
        started = run or _started_since(before)
        if started is None:
            raise
        raise StoppedEarlyError(f"{stop}; go on with: nas resume {started}") from stop
    if as_json:
        write_json(finished.summary())
    else:
        write_run(finished)


def _latest() -> Path | None:
    """Where runs/latest points; None when there is no such link."""
    from results.directory import LATEST, ROOT

    try:
        return (ROOT / LATEST).readlink()
    except OSError:
        return None


def _started_since(before: Path | None) -> Path | None:
    """The run that was started since runs/latest pointed to `before`; None when none was."""
    from results.directory import ROOT

    now = _latest()
    return None if now is None or now == before else ROOT / now
