"""Which command a line asks for, and when all of them must be there to answer."""

import pytest

from cli.main import COMMANDS, _asked_for, make_app


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("search --space tiny", "search"),
        ("--debug search --help", "search"),
        ("space list", "space"),
        ("show runs/search", "show"),
        ("", None),
        ("--help", None),
        ("--help search", None),
        ("--version", None),
        ("serach", None),
        ("--debug", None),
    ],
)
def test_the_command_that_a_line_asks_for(line, command):
    assert _asked_for(line.split()) == command


def test_one_command_is_made_without_the_others():
    only = make_app(plain=True, only="doctor")
    assert [each.name for each in only.registered_commands] == ["doctor"]
    assert only.registered_groups == []
    group = make_app(plain=True, only="arch")
    assert group.registered_commands == []
    assert [each.name for each in group.registered_groups] == ["arch"]


def test_all_are_made_where_none_is_named():
    app = make_app(plain=True)
    found = {each.name for each in (*app.registered_commands, *app.registered_groups)}
    assert found == set(COMMANDS)
