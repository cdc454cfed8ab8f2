"""How values and mistakes are put into words."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from search_spaces.nodes import Fields, Node, Scalar, shorten
from search_spaces.schema import RecordType, Tagged


def option_labels(options: tuple[Node, ...]) -> tuple[str, ...]:
    """Short unique names for options: the op of a block, else the value as flow YAML."""
    labels = [label(option) for option in options]
    counts = Counter(labels)
    return tuple(
        label if counts[label] == 1 else f"{label}#{index + 1}" for index, label in enumerate(labels)
    )


def label(node: Node) -> str:
    """The value as flow YAML. It comes from the value, not from the text: `0.250` is `0.25`."""
    if isinstance(node, Scalar):
        if node.value is None:
            return "null"
        return shorten(str(node.value).lower() if isinstance(node.value, bool) else str(node.value))
    if isinstance(node, Fields):
        op = node.get("op")
        if isinstance(op, Scalar):
            return shorten(str(op.value))
        return shorten("{" + ", ".join(f"{key}: {label(value)}" for key, value in node.fields) + "}")
    return shorten("[" + ", ".join(label(item) for item in node.items) + "]")


def suggest(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?`-style remedy, or nothing when no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _integer_hint(text: str) -> str:
    """What to write instead, where an integer was meant: a quoted `3`, `010`, `3.0`."""
    meant = re.fullmatch(r"0*([0-9]{1,18})(\.0*)?", text, re.ASCII)
    return f"; write {meant.group(1)}" if meant else ""


def explain_error(
    details: Sequence[ErrorDetails], node: Scalar, also: RecordType | Tagged | None = None
) -> str:
    """One sentence for what pydantic found wrong with a scalar, where a mapping `also` would have done."""
    first = next((detail for detail in details if detail["type"] == "literal_error"), details[0])
    context: dict[str, Any] = first.get("ctx") or {}
    shown = repr(shorten(node.text)) if node.text else "nothing"
    match first["type"]:
        case "int_type" | "int_from_float":
            return f"expected an integer, got {shown}{_integer_hint(node.text)}"
        case "float_type":
            return f"expected a number, got {shown}"
        case "string_type":
            return f"expected a string, got {shown}; quote it"
        case "string_pattern_mismatch":  # names are the only ones with a pattern
            return f"{shown} is not a name; use letters, digits and . _ + -, a letter or digit first"
        case "literal_error":
            expected = [
                part.strip(" '") for part in str(context["expected"]).replace(" or ", ", ").split(",")
            ]
            near = suggest(node.text, expected)
            if isinstance(also, Tagged):
                expected.append(also.example)
            elif also is not None:
                expected.append("{" + ", ".join(f"{key}: ..." for key in also.fields) + "}")
            return f"{shown} is not {'one of ' if len(expected) > 1 else ''}{', '.join(expected)}{near}"
        case "greater_than_equal":
            return f"{shorten(node.text)} is below {context['ge']}"
        case "greater_than":
            return f"{shorten(node.text)} is not above {context['gt']}"
        case "less_than_equal":
            return f"{shorten(node.text)} is above {context['le']}"
        case "less_than":
            return f"{shorten(node.text)} is not below {context['lt']}"
        case "value_error":
            return str(context["error"])
        case _:
            return f"{shown}: {first['msg']}"
