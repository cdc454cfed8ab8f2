"""The program `nas`: the commands put together, and one place where everything that goes wrong ends.

Nothing here or at the top of a command's file imports more than typer, and only the command that is asked for
is loaded, so that help and completion are quick.
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
from importlib import import_module
from types import FrameType
from typing import Annotated

import typer
from typer.main import get_command

from cli.errors import ExitCode, report
from cli.output import is_plain, note

DISTRIBUTION = "training-aware-nas"

COMMANDS = {
    "search": ("cli.search:search", "Search"),
    "resume": ("cli.runs:resume", "Search"),
    "watch": ("cli.watch:watch", "Search"),
    "list": ("cli.runs:list_runs", "Results"),
    "show": ("cli.runs:show", "Results"),
    "pareto": ("cli.runs:pareto", "Results"),
    "compare": ("cli.compare:compare", "Results"),
    "confirm": ("cli.confirm:confirm", "Results"),
    "export": ("cli.export:export", "Results"),
    "verify": ("cli.verify:verify", "Results"),
    "report": ("cli.report:report", "Results"),
    "scale": ("cli.scale:scale", "Networks and hardware"),
    "train": ("cli.train:train", "Networks and hardware"),
    "measure": ("cli.measure:measure", "Networks and hardware"),
    "bench": ("cli.bench:bench", "Networks and hardware"),
    "doctor": ("cli.doctor:doctor", "Networks and hardware"),
    "space": ("cli.space:app", "Networks and hardware"),
    "arch": ("cli.arch:app", "Networks and hardware"),
    "hardware": ("cli.hardware:app", "Networks and hardware"),
}
"""Name -> where it is (a function, or a group of commands), and the panel of the help that shows it."""

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


def make_app(*, plain: bool, only: str | None = None) -> typer.Typer:
    """The program with all commands, or with one. `plain`: help without boxes and colour, for pipes, which is
    also twice as quick.
    """
    app = typer.Typer(
        help=SUMMARY,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None if plain else "rich",
    )
    app.callback(help=SUMMARY)(_options)
    for name, (place, panel) in COMMANDS.items():
        if only in (None, name):
            module, _, attribute = place.partition(":")
            command = getattr(import_module(module), attribute)
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(command)
    return app


def _asked_for(arguments: Sequence[str]) -> str | None:
    """The command that the arguments name; None where help, completion or a complaint needs them all."""
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    return first if first in COMMANDS and "--help" not in arguments[: arguments.index(first)] else None


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
        command = get_command(make_app(plain=is_plain(sys.stdout), only=_asked_for(arguments)))
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
