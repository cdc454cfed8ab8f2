"""Text on its way out: whole, on one line, and harmless to a terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import Column, is_plain, printable, write_line, write_lines_to, write_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@given(st.text())
def test_no_control_character_comes_through(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


def test_ordinary_text_is_left_alone():
    assert printable("naïve [red]×[/red] 3") == "naïve [red]×[/red] 3"
    assert printable("a\x1b[2Jb\nc") == "a\\x1b[2Jb c"


def test_only_a_terminal_without_no_color_is_not_plain(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not is_plain(Terminal())
    assert is_plain(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert is_plain(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert is_plain(Terminal())


COLUMNS = [Column("name"), Column("count", is_number=True)]


def test_plain_tables_are_aligned_and_whole(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    write_table(COLUMNS, [("a" * 300, 1), ("b\x1b", "1,000")])
    first, second, third = stream.getvalue().splitlines()
    assert first.split() == ["name", "count"]
    assert second == "a" * 300 + "      1"
    assert third.split() == ["b\\x1b", "1,000"]


def test_a_table_in_a_terminal_does_not_read_markup(monkeypatch):
    stream = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", stream)
    write_table(COLUMNS, [("[bold]x[/bold] :smile:", 1)])
    assert "[bold]x[/bold] :smile:" in stream.getvalue()


def test_an_encoding_that_lacks_a_character_is_no_reason_to_fail(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer, encoding="ascii", write_through=True))
    write_line("naïve ×")
    assert buffer.getvalue() == b"na\\xefve \\xd7\n"


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [Closed(), io.StringIO()])
def test_notes_to_nobody_are_dropped(stream):
    if not isinstance(stream, Closed):
        stream.close()
    write_lines_to(stream, ["lost"])
