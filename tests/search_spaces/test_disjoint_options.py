"""Options of a choice are disjoint: refused exactly when some value can come from two of them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_spaces import blocks, depths, every_value, scalar_choice

from search_spaces.choice import Choice, int_range, one_of, ref, use
from search_spaces.document import DocumentError
from search_spaces.space_document import space
from search_spaces.tree import Budget, Const, Pick, Record, TooManyComparisonsError, first_overlap

DEFAULTS = {"kernel": 3, "se": "none", "act": "silu"}
random_blocks = blocks({"act": [], "width": []}, may_use=False)


def values_of(node):
    """Every value of a node without references, defaults filled."""
    found = set()
    for value, _ in every_value(node, {}, {}):
        if isinstance(value, dict):
            filled = {**DEFAULTS, **value}
            if isinstance(filled["se"], dict):
                filled["se"] = tuple(sorted({"from": "input", **filled["se"]}.items()))
            value = tuple(sorted(filled.items()))
        found.add(value)
    return found


def is_refused(**run):
    document = {
        "name": "x",
        "stem": {"width": 8},
        "head": {"width": 8},
        "stages": [{"depth": 1, "width": 8, "block": {"op": "mbconv", "expand": 1}, **run}],
    }
    try:
        space(document)
    except DocumentError as error:
        assert "options must differ whatever is chosen inside them" in str(error)  # noqa: PT017
        return True
    return False


@given(random_blocks, random_blocks)
@settings(max_examples=60)
@example({"op": "mbconv", "expand": 1}, {"op": "mbconv", "expand": 1, "kernel": 3, "se": "none"})
@example({"op": "mbconv", "expand": 1}, {"op": "fused_mbconv", "expand": 1})
@example(
    {"op": "mbconv", "expand": 1, "se": {"ratio": 0.25}},
    {"op": "mbconv", "expand": 1, "se": {"ratio": 0.25, "from": {"one_of": ["expanded", "input"]}}},
)
def test_blocks(first, second):
    assert is_refused(block={"one_of": [first, second]}) == bool(values_of(first) & values_of(second))


@given(st.lists(st.one_of(scalar_choice([4, 8, 12, 16]), depths(3), depths(9)), min_size=2, max_size=4))
@settings(max_examples=60)
def test_numbers(options):
    sets = [values_of(option) for option in options]
    assert is_refused(width={"one_of": options}) == (len(set().union(*sets)) < sum(map(len, sets)))


def test_the_first_pair_is_named_earlier_option_first():
    trees = [Const(1), Pick(0, (Const(2), Const(3))), None, Const(3), Const(1)]
    assert first_overlap(trees, Budget(100)) == (1, 3)
    assert first_overlap(trees[:3], Budget(100)) is None


def test_comparing_stops_where_the_budget_ends():
    records = [Record(dict, None, (("a", Pick(0, (Const(2 * n), Const(2 * n + 1)))),)) for n in range(30)]
    assert first_overlap(records, Budget(10_000)) is None
    with pytest.raises(TooManyComparisonsError):
        first_overlap(records, Budget(100))


def test_choice_objects_write_the_same_mappings():
    assert one_of(1, {"a": 2}).to_document() == {"one_of": [1, {"a": 2}]}
    assert int_range(1, 4).to_document() == {"int": [1, 4]}
    assert int_range(1, 5, 2).to_document() == {"int": [1, 5, 2]}
    assert ref("w.s1").to_document() == {"ref": "w.s1"}
    assert use("block").to_document() == {"use": "block"}
    assert isinstance(one_of(1), Choice)
