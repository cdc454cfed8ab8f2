"""The generated JSON Schemas: current, true of what is shipped, false of what is commonly got wrong."""

import copy
import json

import jsonschema
import pytest
from hypothesis import given, settings
from random_spaces import space_documents

from search_spaces import json_schema
from search_spaces.document import architecture_names, load_architecture, read_yaml
from search_spaces.shipped import ARCHITECTURES
from search_spaces.space_document import space_file, space_names


def validator(name):
    schema = json.loads((json_schema.FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


SPACE, ARCHITECTURE = validator("space"), validator("architecture")


def test_the_files_are_current():
    """If this fails: python -m search_spaces.json_schema"""
    written = {path.name: path.read_text() for path in json_schema.FOLDER.glob("*.json")}
    assert written == {
        name: json_schema.schema_text(schema) for name, schema in json_schema.schemas().items()
    }


def test_the_command_writes_them(monkeypatch, tmp_path):
    monkeypatch.setattr(json_schema, "FOLDER", tmp_path)
    json_schema.main()
    assert {path.name for path in tmp_path.iterdir()} == {"space.schema.json", "architecture.schema.json"}


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_are_valid(name):
    SPACE.validate(read_yaml(space_file(name)))


@pytest.mark.parametrize("name", architecture_names())
def test_shipped_architectures_are_valid(name):
    ARCHITECTURE.validate(read_yaml(ARCHITECTURES / f"{name}.yaml"))
    ARCHITECTURE.validate(load_architecture(name).to_document() | {"measurements": [], "provenance": {}})


@given(space_documents())
@settings(max_examples=40)
def test_what_the_reader_takes_is_valid(document):
    SPACE.validate(document)


WHOLE = {
    "schema": "nas.space/1",
    "name": "x",
    "stem": {"width": {"one_of": [8, 16]}},
    "stages": [
        {"depth": {"int": [1, 3]}, "width": 8, "block": {"use": "b"}},
        {
            "stride": 2,
            "runs": [{"depth": 1, "width": {"ref": "w.a"}, "block": {"op": "mbconv", "expand": 1}}],
        },
    ],
    "head": {"width": 8},
    "rules": [{"forbid": {"block.op": "mbconv"}, "stages": [1]}],
    "limits": {"params": {"max": 3e6, "resolution": 64}},
}
MISTAKES = [
    (("schema",), "nas.space/2"),
    (("name",), {"one_of": ["a", "b"]}),
    (("name",), "a/b"),
    (("stem", "widht"), 8),
    (("stem", "width"), {"one_of": []}),
    (("stem", "width"), {"one_of": [8], "int": [1, 2]}),
    (("stem", "width"), {"one_of": [8], "default": 8}),
    (("stem", "width"), {"int": [8]}),
    (("stem", "width"), {"one_of": ["8"]}),
    (("stem", "width"), 0),
    (("stem", "kernel"), 4),
    (("stem", "act"), {"int": [1, 2]}),
    (("stem", "act"), "swish"),
    (("stages",), []),
    (("stages", 0, "stride"), {"one_of": [1, 2]}),
    (("stages", 0, "stride"), 3),
    (("stages", 0, "block"), {"op": {"one_of": ["mbconv"]}, "expand": 1}),
    (("stages", 0, "block"), {"op": "mbcnv", "expand": 1}),
    (("stages", 0, "block"), {"op": "mbconv"}),
    (("stages", 0, "block"), {"op": "mbconv", "expand": 1, "se": 0.25}),
    (("stages", 0, "block"), {"op": "mbconv", "expand": 1, "se": {"ratio": 2}}),
    (("stages", 0, "block"), {"op": "mbconv", "expand": 1, "kernal": 3}),
    (("stages", 0, "block"), {"one_of": [{"op": "mbconv", "expand": 1}, {"op": "mbconv"}]}),
    (("stages", 0, "runs"), []),
    (("stages", 1, "depth"), 1),
    (("choices",), {"a.b": {"one_of": [1, 2]}}),
    (("choices",), {"a": 3}),
    (("rules", 0, "stages"), [True]),
    (("rules", 0), {"monotone": "block.op"}),
    (("rules", 0), {"increasing": "block.opp"}),
    (("limits", "params"), {"resolution": 3}),
    (("limits", "flops"), {"max": 3}),
    (("recipe",), {"dropout": {"one_of": [0.1, 0.2]}}),
    (("seeds",), "efficientnetv2-b0"),
]


def test_the_document_with_mistakes_below_is_valid():
    SPACE.validate(WHOLE)


@pytest.mark.parametrize(("place", "value"), MISTAKES, ids=map(str, range(len(MISTAKES))))
def test_common_mistakes_are_refused(place, value):
    document = copy.deepcopy(WHOLE)
    node = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    assert not SPACE.is_valid(document)


def test_an_architecture_holds_no_choices():
    document = load_architecture("efficientnet-b0").to_document()
    document["stem"]["width"] = {"one_of": [8, 16]}
    assert not ARCHITECTURE.is_valid(document)
