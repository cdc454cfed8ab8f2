"""What belongs where in a document: types taken from the specifications, for reading and JSON Schema."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from search_spaces.architecture import Head, Input, Norm, Recipe, Stem
from search_spaces.blocks.protocol import Block
from search_spaces.registry import BLOCKS
from search_spaces.spec import Depth, Name, Padding, Resolution, Stride, Width

MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar checked by pydantic, strictly."""

    name: str
    adapter: TypeAdapter[Any]


@dataclass(frozen=True, slots=True)
class FieldType:
    """One key of a record; without a default it must be given."""

    type: "Type"
    default: Any = MISSING


@dataclass(frozen=True, slots=True)
class RecordType:
    """A mapping with known keys; `tag` is the value of its op, where it has one."""

    name: str
    make: Callable[[Mapping[str, Any]], Any]
    fields: Mapping[str, FieldType]
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Tagged:
    """One of several kinds of mapping, by its `op`."""

    name: str
    example: str
    specs: Callable[[], Mapping[str, type[BaseModel]]]

    def variants(self) -> Mapping[str, RecordType]:
        """The record of each op; plug-ins included once they are loaded."""
        return {op: record_type(spec, op) for op, spec in sorted(self.specs().items())}


@dataclass(frozen=True, slots=True)
class LeafOrRecord:
    """`none` or another word, or a mapping."""

    leaf: Leaf
    record: RecordType | Tagged


Type = Leaf | RecordType | LeafOrRecord | Tagged


class RunValue(NamedTuple):
    """A run as a document states it: `depth` may be 0."""

    depth: int
    width: int
    block: Block


def _make_run(fields: Mapping[str, Any]) -> RunValue:
    return RunValue(**fields)


def _make_fixed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return dict(fields)


@cache
def leaf(name: str, annotation: Any) -> Leaf:
    """The leaf type of an annotation."""
    return Leaf(name, TypeAdapter(annotation))


@cache
def record_type(spec: type[BaseModel], tag: str | None = None) -> RecordType:
    """The record type of a specification; its `op` is the tag, not a field."""
    fields = {}
    for name, info in spec.model_fields.items():
        if name == "op":
            continue
        default = MISSING if info.is_required() else info.default
        fields[info.alias or name] = FieldType(_field_type(name, info), default)
    if tag is None:
        return RecordType(spec.__name__, spec.model_validate, fields)
    return RecordType(tag, spec.model_validate, fields, tag)


def _field_type(name: str, info: FieldInfo) -> Type:
    annotation: Any = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return record_type(annotation)
    members = get_args(annotation)
    specs = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
    if specs:
        rest = tuple(member for member in members if member not in specs)
        union: Any = rest[0]
        for member in rest[1:]:
            union = union | member
        if "op" in specs[0].model_fields:
            return LeafOrRecord(leaf(name, union), _kinds(name, tuple(specs)))
        return LeafOrRecord(leaf(name, union), record_type(specs[0]))
    if info.metadata:
        annotation = Annotated[(annotation, *info.metadata)]
    return leaf(name, annotation)


@cache
def _kinds(name: str, specs: tuple[type[BaseModel], ...]) -> Tagged:
    by_op = {str(spec.model_fields["op"].default): spec for spec in specs}
    return Tagged(name, f"{{op: {min(by_op)}, ...}}", lambda: by_op)


NAME = leaf("name", Name)
RESOLUTION = leaf("resolution", Resolution)
STRIDE = leaf("stride", Stride)
WIDTH = leaf("width", Width)
BLOCK = Tagged(
    "block",
    "{op: mbconv, kernel: 3, expand: 4}",
    lambda: {op: kind.spec for op, kind in BLOCKS.items()},
)
RUN = RecordType(
    "run",
    _make_run,
    {
        "depth": FieldType(leaf("depth", Depth)),
        "width": FieldType(WIDTH),
        "block": FieldType(BLOCK),
    },
)
FIXED = RecordType(
    "architecture",
    _make_fixed,
    {
        "input": FieldType(record_type(Input), Input()),
        "stem": FieldType(record_type(Stem)),
        "head": FieldType(record_type(Head)),
        "padding": FieldType(leaf("padding", Padding), "symmetric"),
        "norm": FieldType(record_type(Norm), Norm()),
    },
)
RECIPE = record_type(Recipe)
