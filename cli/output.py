"""Where text goes: the result to stdout, everything else to stderr. Plain unless a terminal reads it."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers stand to the right."""

    title: str
    is_number: bool = False


def is_plain(stream: TextIO) -> bool:
    """Whether to write no colour and nothing that moves: no terminal, a dumb one, or NO_COLOR is set."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()


def printable(text: object) -> str:
    """One line that cannot steer a terminal: control characters are shown as escapes, newlines as spaces."""
    line = " ".join(str(text).splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def write_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def write_line(text: object = "") -> None:
    """One line of the result."""
    sys.stdout.write(_encodable(printable(text), sys.stdout) + "\n")


def note(text: object) -> None:
    """One line beside the result, on stderr. Nobody reading it any more is no reason to stop."""
    write_lines_to(sys.stderr, [printable(text)])


def write_lines_to(stream: TextIO, lines: Iterable[str]) -> None:
    """Lines on a stream whose reader may have gone."""
    try:
        stream.writelines(_encodable(line, stream) + "\n" for line in lines)
        stream.flush()
    except (OSError, ValueError):  # closed at the other end, or here
        return


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout: drawn for a terminal, else aligned columns, whole, two spaces apart."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if is_plain(sys.stdout):
        for line in _aligned(columns, cells):
            sys.stdout.write(_encodable(line, sys.stdout) + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify = "right" if column.is_number else "left"
        table.add_column(Text(column.title), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout, highlight=False, markup=False, emoji=False).print(table)


def _aligned(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> Iterable[str]:
    titles = [column.title for column in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for row in (titles, *cells):
        yield "  ".join(
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()


def _encodable(text: str, stream: TextIO) -> str:
    """The text with what the stream's encoding lacks as escapes, so that a C locale is no reason to fail."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
