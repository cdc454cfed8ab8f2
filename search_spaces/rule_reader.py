"""The `rules` section of a space: from nodes to automata, every value checked by the field it speaks of."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from search_spaces.document import StageTrees
from search_spaces.messages import explain_error, suggest
from search_spaces.nodes import Fields, Items, Node, Scalar, shorten
from search_spaces.reader import Reader
from search_spaces.registry import BLOCKS
from search_spaces.rules import MAPPING, Forbid, Increasing, Monotone, Rule
from search_spaces.schema import RUN, Leaf, LeafOrRecord, RecordType, Tagged
from search_spaces.tree import constants_at

MAX_RULES = 100


def read_rules(reader: Reader, node: Fields, stages: Sequence[StageTrees]) -> list[Rule]:
    """Every rule of a space; problems are reported."""
    found = node.get("rules")
    if found is None:
        return []
    if not isinstance(found, Items) or len(found.items) > MAX_RULES:
        reader.report(found.mark, "rules", f"expected a list of at most {MAX_RULES} rules")
        return []
    rules = [_rule(reader, rule, f"rules[{index}]", stages) for index, rule in enumerate(found.items)]
    return [rule for rule in rules if rule is not None]


def _rule(reader: Reader, node: Node, path: str, stages: Sequence[StageTrees]) -> Rule | None:
    keys = [key for key, _ in node.fields] if isinstance(node, Fields) else []
    kind = next((key for key in keys if key in _KINDS), None)
    if not isinstance(node, Fields) or kind is None:
        near = suggest(keys[0], _KINDS) if keys else ""
        reader.report(node.mark, path, f"expected a rule{near}; known: {', '.join(_KINDS)}")
        return None
    before = len(reader.problems)
    known, make = _KINDS[kind]
    reader.unknown_keys(node, known, path)
    rule = make(reader, node, path, stages)
    return rule if len(reader.problems) == before else None


def _monotone(reader: Reader, node: Fields, path: str, stages: Sequence[StageTrees]) -> Rule | None:
    field = _field(reader, node, "monotone", path)
    order = _values(reader, node, "order", path, field)
    free = _values(reader, node, "free", path, field) if node.get("free") is not None else ()
    if field is None or order is None or free is None:
        return None
    listed = [*order, *free]
    repeated = next((value for index, value in enumerate(listed) if value in listed[:index]), None)
    if repeated is not None:
        reader.report(node.mark, path, f"{repeated} is listed twice; a value has one place in order or free")
    unlisted = [value for value in _occurring(stages, field) if value not in listed]
    if unlisted:
        shown = ", ".join(map(str, unlisted[:10]))
        reader.report(node.mark, path, f"{field} can be {shown}, which neither order nor free lists")
    return Monotone(path=field, order=order, free=free)


def _increasing(reader: Reader, node: Fields, path: str, stages: Sequence[StageTrees]) -> Rule | None:
    field = _field(reader, node, "increasing", path)
    strict = node.get("strict")
    if strict is not None and (not isinstance(strict, Scalar) or not isinstance(strict.value, bool)):
        reader.report(strict.mark, f"{path}.strict", "expected true or false")
    if field is None:
        return None
    if not _is_number(field):
        numbers = ", ".join(name for name in sorted(known_fields()) if _is_number(name))
        message = f"{field} is not a number; numbers: {numbers}"
        reader.report(node.key_marks["increasing"], f"{path}.increasing", message)
    return Increasing(path=field, strict=isinstance(strict, Scalar) and strict.value is True)


def _forbid(reader: Reader, node: Fields, path: str, stages: Sequence[StageTrees]) -> Rule | None:
    values = node.get("forbid")
    if not isinstance(values, Fields) or not values.fields:
        mark = values.mark if values is not None else node.mark
        reader.report(mark, f"{path}.forbid", "expected values by field of a run, such as {block.kernel: 5}")
        return None
    where = _stage_indices(reader, node, path, len(stages))
    pairs = []
    for name, value in values.fields:
        place = f"{path}.forbid.{shorten(name)}"
        if name not in known_fields():
            _report_field(reader, Scalar(name, name, values.key_marks[name]), f"{path}.forbid")
            continue
        checked = _value(reader, value, place, name)
        if checked is None:
            continue
        inside = [stage for index, stage in enumerate(stages) if where is None or index in where]
        occurring = _occurring(inside, name)
        if occurring and checked[0] not in occurring:
            shown = ", ".join(map(str, occurring[:10]))
            reader.report(
                value.mark, place, f"{checked[0]} never occurs, so nothing is forbidden; found: {shown}"
            )
        pairs.append((name, checked[0]))
    return Forbid(values=tuple(pairs), stages=where)


_Make = Callable[[Reader, Fields, str, Sequence[StageTrees]], Rule | None]
_KINDS: dict[str, tuple[tuple[str, ...], _Make]] = {
    "monotone": (("monotone", "order", "free"), _monotone),
    "increasing": (("increasing", "strict"), _increasing),
    "forbid": (("forbid", "stages"), _forbid),
}


def _stage_indices(reader: Reader, node: Fields, path: str, count: int) -> frozenset[int] | None:
    found = node.get("stages")
    if found is None:
        return None
    items = found.items if isinstance(found, Items) else ()
    indices = [item.value for item in items if isinstance(item, Scalar) and type(item.value) is int]
    if not items or len(indices) != len(items) or any(not 0 <= index < count for index in indices):
        reader.report(
            found.mark, f"{path}.stages", f"expected a list of stages, counted from 0 to {count - 1}"
        )
    return frozenset(indices)


# --- fields of a run, their types and their values ------------------------------------------------------


def known_fields() -> dict[str, list[Leaf]]:
    """Every path into a run that a rule may speak of, with the types of the scalars found there."""
    fields: dict[str, list[Leaf]] = {}

    def visit(type_: RecordType, prefix: str) -> None:
        for key, field in type_.fields.items():
            path = f"{prefix}.{key}".lstrip(".")
            leaves = fields.setdefault(path, [])
            if isinstance(field.type, Tagged):
                fields[f"{path}.op"] = fields.pop(path)
                for variant in field.type.variants().values():
                    visit(variant, path)
            elif isinstance(field.type, LeafOrRecord):
                leaves.append(field.type.leaf)
                kinds = field.type.record
                for record in kinds.variants().values() if isinstance(kinds, Tagged) else (kinds,):
                    visit(record, path)
            elif isinstance(field.type, Leaf):
                leaves.append(field.type)
            else:
                fields.pop(path)  # a mapping is nothing to compare with
                visit(field.type, path)

    visit(RUN, "")
    return fields


def _is_number(field: str) -> bool:
    types = {leaf.adapter.json_schema().get("type") for leaf in known_fields()[field]}
    return bool(types) and types <= {"integer", "number"}


def _field(reader: Reader, node: Fields, key: str, path: str) -> str | None:
    found = node.get(key)
    if isinstance(found, Scalar) and found.value in known_fields():
        return str(found.value)
    if found is not None:
        _report_field(reader, found, f"{path}.{key}")
    return None


def _report_field(reader: Reader, node: Node, path: str) -> None:
    known = sorted(known_fields())
    shown = shorten(node.text) if isinstance(node, Scalar) else "this"
    message = f"{shown!r} is not a field of a run{suggest(shown, known)}; known: {', '.join(known)}"
    reader.report(node.mark, path, message)


def _values(reader: Reader, node: Fields, key: str, path: str, field: str | None) -> tuple[Any, ...] | None:
    """The checked values of a list; None when there is a problem."""
    found = node.get(key)
    if not isinstance(found, Items) or not found.items:
        mark = found.mark if found is not None else node.mark
        reader.report(mark, f"{path}.{key}", f"{key} needs a list of values")
        return None
    if field is None:
        return None
    checked = [_value(reader, item, f"{path}.{key}", field) for item in found.items]
    return tuple(value[0] for value in checked if value is not None) if None not in checked else None


def _value(reader: Reader, node: Node, path: str, field: str) -> tuple[Any] | None:
    """A scalar as the field's own type has it, wrapped; None when it is not one."""
    if not isinstance(node, Scalar):
        reader.report(node.mark, path, "expected a single value")
        return None
    if field == "block.op":
        if node.value in BLOCKS:
            return (node.value,)
        shown = shorten(node.text)
        message = f"no op is named {shown!r}{suggest(shown, BLOCKS)}; known: {', '.join(sorted(BLOCKS))}"
        reader.report(node.mark, path, message)
        return None
    problems = []
    for leaf in known_fields()[field]:
        try:
            return (leaf.adapter.validate_python(node.value, strict=True),)
        except ValidationError as error:
            problems.append(explain_error(error.errors(include_url=False), node))
    reader.report(node.mark, path, problems[0])
    return None


def _occurring(stages: Iterable[StageTrees], field: str) -> list[Any]:
    """The values under `field` that present runs can have; empty where a stage could not be read."""
    values: dict[Any, None] = {}
    for stage in stages:
        if not stage.runs:
            return []
        for run in stage.runs:
            found = (MAPPING if value is ... else value for value in constants_at(run.tree, field.split(".")))
            values.update((value, None) for value in found if not (field == "depth" and value == 0))
    return list(values)
