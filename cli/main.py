"""The program `nas`: the commands put together, and one place where everything that goes wrong ends.

Nothing here or at the top of a command's file imports more than typer, so that help and completion are quick.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Annotated

import typer
from typer.main import get_command

from cli import arch, doctor, export, hardware, measure, runs, search, space
from cli.errors import ExitCode, report
from cli.output import is_plain, note

DISTRIBUTION = "training-aware-nas"

SUMMARY = "Search for networks that are accurate and train fast on your own accelerator."


@dataclass(slots=True)
class Invocation:
    """What holds for the whole command."""

    debug: bool = False
    is_terminated: bool = False


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"nas {version(DISTRIBUTION)}")
        raise typer.Exit


def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Take the options that every command has."""
    context.obj.debug = debug


def make_app(*, plain: bool) -> typer.Typer:
    """All commands. `plain`: help without boxes and colour, for pipes, which is also twice as quick."""
    app = typer.Typer(
        help=SUMMARY,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None if plain else "rich",
    )
    app.callback(help=SUMMARY)(_options)
    for command, panel in (
        (search.search, "Search"),
        (runs.resume, "Search"),
        (runs.list_runs, "Results"),
        (runs.show, "Results"),
        (runs.pareto, "Results"),
        (export.export, "Results"),
        (measure.measure, "Networks and hardware"),
        (doctor.doctor, "Networks and hardware"),
    ):
        app.command(command.__name__.partition("_")[0], rich_help_panel=panel)(command)
    for name, group in (("space", space.app), ("arch", arch.app), ("hardware", hardware.app)):
        app.add_typer(group, name=name, rich_help_panel="Networks and hardware")
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `cli.errors`. Never lets an exception out."""
    invocation = Invocation()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with _terminated_like_interrupted(invocation):
        try:
            code = _run(arguments, invocation)
            sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 -- the last place: every error becomes a line and a code
            code = _report(error, invocation)
    if code == ExitCode.INTERRUPTED and invocation.is_terminated:
        code = ExitCode.TERMINATED
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        note("interrupted" if code == ExitCode.INTERRUPTED else "terminated")
    return int(code)


def _run(arguments: list[str], invocation: Invocation) -> int:
    try:
        command = get_command(make_app(plain=is_plain(sys.stdout)))
        result = command.main(args=arguments, prog_name="nas", standalone_mode=False, obj=invocation)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as stop:
        # Typer's own end of a broken pipe, of completion, or of a library that exits.
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return result if isinstance(result, int) else ExitCode.OK


def _report(error: Exception, invocation: Invocation) -> int:
    if isinstance(error, BrokenPipeError) and _is_reader_gone():
        _discard_stdout()  # `nas ... | head` has what it wanted
        return ExitCode.OK
    if invocation.debug:
        traceback.print_exception(error)
    code = report(error)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return code
    _discard_stdout()  # what cannot be written now cannot be written at exit either
    return code


def _is_reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    try:
        poller = select.poll()
        poller.register(1, 0)
        return bool(poller.poll(0))
    except OSError:
        return False


def _discard_stdout() -> None:
    """Let the interpreter's last flush go nowhere, rather than complain."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.close(descriptor)


@contextlib.contextmanager
def _terminated_like_interrupted(invocation: Invocation) -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: in order, with everything put away."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        invocation.is_terminated = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
