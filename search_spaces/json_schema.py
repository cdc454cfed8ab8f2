"""JSON Schemas of the two kinds of document, for editors and for other tools.

    python -m search_spaces.json_schema        # rewrites search_spaces/schema/*.json

They are derived from the same types as the reader. Every field has one definition: the concrete value, or,
in a space, a choice of such values. What a schema cannot say (that options differ, that names exist) is left
to the reader.
"""

import json
from pathlib import Path
from typing import Any

from search_spaces.architecture import ARCHITECTURE_SCHEMA
from search_spaces.choice import CHOICE_KEYS
from search_spaces.document import IGNORED_KEYS
from search_spaces.limits import COST_NAMES
from search_spaces.rule_reader import MAX_RULES, known_fields
from search_spaces.schema import (
    FIXED,
    MISSING,
    NAME,
    RECIPE,
    RESOLUTION,
    RUN,
    STRIDE,
    WIDTH,
    Leaf,
    LeafOrRecord,
    RecordType,
    Tagged,
    Type,
)
from search_spaces.space_document import MAX_SEEDS, SPACE_SCHEMA

FOLDER = Path(__file__).parent / "schema"
DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """The schemas by file name."""
    return {
        "architecture.schema.json": _Generator(allows_choices=False).architecture(),
        "space.schema.json": _Generator(allows_choices=True).space(),
    }


def schema_text(schema: Schema) -> str:
    """The bytes of a schema file."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


class _Generator:
    """Writes one schema; definitions are collected as fields are met."""

    def __init__(self, *, allows_choices: bool) -> None:
        self.allows_choices = allows_choices
        self.definitions: Schema = {}

    def architecture(self) -> Schema:
        """The schema of an architecture document."""
        return self._document(ARCHITECTURE_SCHEMA, dict.fromkeys(IGNORED_KEYS, True), required=())

    def space(self) -> Schema:
        """The schema of a space document."""
        extra: Schema = {
            "choices": {"type": "object", "propertyNames": _NAMES, "additionalProperties": _CHOICE},
            "menus": {"type": "object", "propertyNames": _NAMES},
            "rules": {"type": "array", "items": _rule_schema(), "maxItems": MAX_RULES},
            "limits": _limits_schema(),
            "seeds": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_SEEDS},
        }
        return self._document(SPACE_SCHEMA, extra, required=("name",))

    def _document(self, schema: str, extra: Schema, required: tuple[str, ...]) -> Schema:
        fixed = self._properties(FIXED, "")
        properties = {
            "schema": {"const": schema},
            "name": _leaf_schema(NAME),
            "notes": {"type": "string"},
            **fixed,
            "stages": {"type": "array", "minItems": 1, "items": self._stage()},
            "recipe": _recipe_schema(),
            **extra,
        }
        return {
            "$schema": DRAFT,
            "$defs": self.definitions,
            "type": "object",
            "properties": properties,
            "required": ["schema", *required, "stem", "stages", "head"],
            "additionalProperties": False,
        }

    def _stage(self) -> Schema:
        one_run = self._properties(RUN, "run")
        runs = {"type": "array", "minItems": 1, "items": self._field(RUN, "run")}
        return {
            "type": "object",
            "properties": {"stride": _leaf_schema(STRIDE), "runs": runs, **one_run},
            "additionalProperties": False,
            "if": {"required": ["runs"]},
            "then": {"properties": dict.fromkeys(RUN.fields, False)},
            "else": {"required": list(RUN.fields)},
        }

    def record(self, type_: RecordType, path: str) -> Schema:
        """The schema of a mapping."""
        properties = self._properties(type_, path)
        if type_.tag is not None:
            properties = {"op": {"const": type_.tag}, **properties}
        required = [key for key, field in type_.fields.items() if field.default is MISSING]
        return {
            "type": "object",
            "properties": properties,
            "required": (["op"] if type_.tag is not None else []) + required,
            "additionalProperties": False,
        }

    def _properties(self, type_: RecordType, path: str) -> Schema:
        return {
            key: self._field(field.type, f"{path}.{key}".lstrip(".")) for key, field in type_.fields.items()
        }

    def _field(self, type_: Type, path: str) -> Schema:
        """The one definition of a field: its concrete value or a choice."""
        if path not in self.definitions:
            self.definitions[path] = {}  # the name is taken while its options are written
            self.definitions[path] = self._with_choices(self._concrete(type_, path), path)
        return {"$ref": f"#/$defs/{path}"}

    def _with_choices(self, concrete: Schema, path: str) -> Schema:
        if not self.allows_choices:
            return concrete
        options = {"type": "array", "minItems": 1, "items": {"$ref": f"#/$defs/{path}"}}
        choices: Schema = {"one_of": options, "ref": {"type": "string"}, "use": {"type": "string"}}
        if _takes_integers(concrete):
            choices["int"] = _INT_RANGE
        # A mapping with one of the choice keys is read as a choice, so that errors speak of the choice.
        return {
            "if": {"type": "object", "anyOf": [{"required": [key]} for key in CHOICE_KEYS]},
            "then": {"properties": choices, "additionalProperties": False, "maxProperties": 1},
            "else": concrete,
        }

    def _concrete(self, type_: Type, path: str) -> Schema:
        if isinstance(type_, Leaf):
            return _leaf_schema(type_)
        if isinstance(type_, LeafOrRecord):
            return {
                "if": {"type": "object"},
                "then": self._concrete(type_.record, path),
                "else": _leaf_schema(type_.leaf),
            }
        if isinstance(type_, Tagged):
            variants = type_.variants()
            return {
                "type": "object",
                "properties": {"op": {"enum": sorted(variants)}},
                "required": ["op"],
                "allOf": [
                    {
                        "if": {"properties": {"op": {"const": op}}, "required": ["op"]},
                        "then": self.record(variant, f"{path}:{op}"),
                    }
                    for op, variant in variants.items()
                ],
            }
        return self.record(type_, path)


_NAMES = {"pattern": "^[^.:]+$"}
_INT_RANGE = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}
_CHOICE = {
    "type": "object",
    "properties": {
        "one_of": {"type": "array", "minItems": 1},
        "int": _INT_RANGE,
        "ref": {"type": "string"},
        "use": {"type": "string"},
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def _leaf_schema(type_: Leaf) -> Schema:
    return type_.adapter.json_schema()


def _takes_integers(concrete: Schema) -> bool:
    return concrete.get("type") in {"integer", "number"}


def _recipe_schema() -> Schema:
    properties = {
        key: _leaf_schema(field.type) for key, field in RECIPE.fields.items() if isinstance(field.type, Leaf)
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _rule_schema() -> Schema:
    fields = {"enum": sorted(known_fields())}
    values = {"type": "array", "minItems": 1}
    forms: list[Schema] = [
        {"monotone": fields, "order": values, "free": values},
        {"increasing": fields, "strict": {"type": "boolean"}},
        {
            "forbid": {"type": "object", "propertyNames": fields, "minProperties": 1},
            "stages": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        },
    ]
    required = [["monotone", "order"], ["increasing"], ["forbid"]]
    return {
        "oneOf": [
            {"type": "object", "properties": form, "required": keys, "additionalProperties": False}
            for form, keys in zip(forms, required, strict=True)
        ]
    }


def _limits_schema() -> Schema:
    bound = {"type": "number", "exclusiveMinimum": 0}
    limit = {
        "type": "object",
        "properties": {
            "min": bound,
            "max": bound,
            "resolution": _leaf_schema(RESOLUTION),
            "num_classes": _leaf_schema(WIDTH),
        },
        "anyOf": [{"required": ["min"]}, {"required": ["max"]}],
        "additionalProperties": False,
    }
    return {"type": "object", "properties": dict.fromkeys(COST_NAMES, limit), "additionalProperties": False}


def main() -> None:
    """Rewrite the schema files."""
    for name, schema in schemas().items():
        (FOLDER / name).write_text(schema_text(schema), encoding="utf-8")


if __name__ == "__main__":
    main()
