"""Plain data as YAML: a person reads it, and our reader reads it back unchanged."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW

from results.text import dump_yaml
from search_spaces.document import read_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    [
        "1e5",
        "0x1f",
        "1_000",
        "yes",
        "no",
        "null",
        "~",
        "2026-11-28",
        "1:30",
        "- a",
        "a: b",
        "#",
        "*a",
        "&a",
        "",
    ]
)
NUMBERS = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@LAW
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_back(data):
    assert yaml.safe_load(dump_yaml(data, "test")) == data


@LAW
@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, min_size=1, max_size=4))
def test_our_own_strict_reader_reads_it_too(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("text") / "data.yaml"
    path.write_text(dump_yaml(data, "test"), encoding="utf-8")
    assert read_yaml(path) == data


def test_the_same_list_twice_is_written_twice_and_rows_stand_on_a_line_each():
    row = {"op": "mbconv", "kernel": 3}
    text = dump_yaml({"first": [row, row], "second": [row], "name": "1e5"}, "test")
    assert text.splitlines() == [
        "first:",
        "- {op: mbconv, kernel: 3}",
        "- {op: mbconv, kernel: 3}",
        "second:",
        "- {op: mbconv, kernel: 3}",
        'name: "1e5"',
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_is_not_plain_is_refused_with_its_place(value):
    with pytest.raises(ValueError, match=r"run.yaml: .*record finite numbers and plain JSON only"):
        dump_yaml({"a": [value]}, "run.yaml")
