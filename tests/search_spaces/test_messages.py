"""How values and mistakes are put into words: labels that read back, and one sentence for each mistake."""

from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from search_spaces.messages import explain_error, label, option_labels, suggest
from search_spaces.nodes import from_python

LAW = settings(deadline=None, max_examples=60)
WORDS = st.from_regex(r"[a-z]{2,6}", fullmatch=True).filter(
    lambda text: text not in ("no", "yes", "on", "off")
)
PLAIN = st.none() | st.booleans() | st.integers(-999, 999) | WORDS
VALUES = (
    PLAIN
    | st.lists(PLAIN, max_size=3)
    | st.dictionaries(WORDS.filter(lambda k: k != "op"), PLAIN, max_size=2)
)


def reads_as(text):
    return yaml.safe_load(text)


@LAW
@given(VALUES)
def test_a_short_label_is_the_value_as_yaml(value):
    text = label(from_python(value))
    assert len(text) <= 40
    if not text.endswith("..."):
        assert reads_as(text) == value


@LAW
@given(st.lists(VALUES, min_size=1, max_size=6))
def test_labels_of_options_are_one_each(values):
    labels = option_labels(tuple(from_python(value) for value in values))
    assert len(labels) == len(values)
    plain = [label(from_python(value)) for value in values]
    for found, alone in zip(labels, plain, strict=True):
        assert found == alone if plain.count(alone) == 1 else found.startswith(f"{alone}#")
    assert len(set(labels)) == len(labels)


def test_a_block_is_labelled_by_its_op_and_what_is_long_is_cut():
    blocks = [{"op": "mbconv", "expand": 4}, {"op": "mbconv", "expand": 6}, {"op": "ghost"}]
    assert option_labels(tuple(from_python(block) for block in blocks)) == ("mbconv#1", "mbconv#2", "ghost")
    assert label(from_python("x" * 100)) == "x" * 37 + "..."
    assert label(from_python(0.250)) == "0.25"
    assert [label(from_python(value)) for value in (True, False, None)] == ["true", "false", "null"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("kernal", ", did you mean 'kernel'?"), ("widht", ", did you mean 'width'?"), ("zzz", "")],
)
def test_a_name_that_is_near_is_suggested(name, hint):
    assert suggest(name, ["kernel", "width", "expand"]) == hint


def said(kind, value):
    """What is said of a value that is not of this kind."""
    with pytest.raises(ValidationError) as failed:
        TypeAdapter(kind).validate_python(value, strict=True)
    return explain_error(failed.value.errors(), from_python(value))


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (int, "3", "expected an integer, got '3'; write 3"),
        (int, "010", "expected an integer, got '010'; write 10"),
        (int, 3.5, "expected an integer, got '3.5'"),
        (int, "three", "expected an integer, got 'three'"),
        (float, "wide", "expected a number, got 'wide'"),
        (str, 5, "expected a string, got '5'; quote it"),
        (Literal["silu", "relu"], "sliu", "'sliu' is not one of silu, relu, did you mean 'silu'?"),
        (Literal["none"], "some", "'some' is not none"),
        (Annotated[int, Field(ge=1)], 0, "0 is below 1"),
        (Annotated[int, Field(gt=0)], 0, "0 is not above 0"),
        (Annotated[int, Field(le=7)], 9, "9 is above 7"),
        (Annotated[float, Field(lt=1.0)], 1.0, "1.0 is not below 1.0"),
        (Annotated[str, Field(pattern="^[a-z]+$")], "a b", "'a b' is not a name; use letters, digits and"),
    ],
)
def test_every_mistake_is_one_sentence_with_the_remedy(kind, value, sentence):
    found = said(kind, value)
    assert found.startswith(sentence)
    assert len(found.splitlines()) == 1


def test_a_hostile_value_does_not_flood_the_message():
    assert len(said(int, "9" * 500 + "x")) < 100
