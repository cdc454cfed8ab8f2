"""How a command ends: its exit code, and one line on stderr for each problem.

  0  ok
  1  failure
  2  usage, or an invalid document
  3  nothing feasible
  4  hardware or data is not available
  5  stopped early; `nas resume` goes on
130  Ctrl-C
143  SIGTERM
"""

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

import typer

from cli.output import printable, write_lines_to

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

OWN_PACKAGES = ("search_spaces", "proxies", "results", "nas", "cli")


class ExitCode(IntEnum):
    """What scripts may rely on."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    INFEASIBLE = 3
    UNAVAILABLE = 4
    STOPPED_EARLY = 5
    INTERRUPTED = 130
    TERMINATED = 143


def exit_code(error: Exception) -> ExitCode:
    """The exit code of an error that reached the command line."""
    if isinstance(error, typer.TyperException):
        return ExitCode.USAGE
    for kinds, code in _codes():
        if isinstance(error, kinds):
            return code
    return ExitCode.FAILURE


def _codes() -> tuple[tuple[tuple[type[Exception], ...], ExitCode], ...]:
    """Errors and their codes, the special before the general. Imported only when there is an error."""
    from nas.errors import NothingFeasibleError, StoppedEarlyError
    from proxies.data.protocol import DataError
    from proxies.hardware import HardwareNotFoundError
    from proxies.spool import SpoolError
    from results.errors import LedgerWriteError, RunWriteError
    from search_spaces.limits import InfeasibleError

    return (
        ((InfeasibleError, NothingFeasibleError), ExitCode.INFEASIBLE),
        ((HardwareNotFoundError, DataError), ExitCode.UNAVAILABLE),
        ((StoppedEarlyError, LedgerWriteError, RunWriteError, SpoolError), ExitCode.STOPPED_EARLY),
        ((UnicodeError,), ExitCode.FAILURE),
        ((ValueError,), ExitCode.USAGE),
    )


def problem_lines(error: Exception) -> list[str]:
    """The text of an error, one line a problem; problems of a document begin with their place.

    A compiler's do so too, and editors jump there.
    """
    if isinstance(error, typer.TyperException):
        return [f"error: {_usage_sentence(error)}"]
    from search_spaces.nodes import DocumentError

    if isinstance(error, DocumentError):
        return str(error).splitlines()
    return [f"error: {line}" for line in _sentences(error)]


def _sentences(error: Exception) -> list[str]:
    from pydantic import ValidationError

    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return [f"{place}{error.strerror}"]
    if isinstance(error, ModuleNotFoundError) and not _is_own(error.name or ""):
        return [f"the package {error.name!r} is needed for this and is not installed"]
    if isinstance(error, MemoryError):
        return ["out of memory"]
    if isinstance(error, ValidationError):
        return [_field_sentence(detail) for detail in error.errors(include_url=False)]
    if _is_for_the_user(error):
        return str(error).splitlines() or [type(error).__name__]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return [f"internal error, please report it ({' '.join(what.split())}); nas --debug ... shows where"]


def _field_sentence(detail: "ErrorDetails") -> str:
    place, message = ".".join(map(str, detail["loc"])), detail["msg"]
    return f"{place}: {message[0].lower()}{message[1:]}, got {detail['input']!r}"


def _usage_sentence(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "nas"
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _is_for_the_user(error: Exception) -> bool:
    """Whether the text was written for the user: every error class of ours, and plain ValueError."""
    return isinstance(error, ValueError) or _is_own(type(error).__module__)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] in OWN_PACKAGES


def report(error: Exception) -> ExitCode:
    """Write the problems to stderr and return the exit code."""
    write_lines_to(sys.stderr, [printable(line) for line in problem_lines(error)])
    return exit_code(error)
