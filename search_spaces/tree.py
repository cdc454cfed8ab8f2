"""Typed trees: a document whose every leaf is checked and whose choices are genes.

A gene is one integer of a genotype. A tree holds constants, choices by gene, and records; choices of
different places may read the same gene (a shared choice), each with its own typed options.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """One choice.

    `site` is unique (stages[3].block:mbconv.kernel); `column` is the place that options of different
    branches share (stages[3].block.kernel); `labels` name the options there.
    """

    site: str
    column: str
    labels: tuple[str, ...]
    shared: bool


@dataclass(frozen=True, slots=True)
class Const:
    """A checked value without choices."""

    value: Any


@dataclass(frozen=True, slots=True)
class Pick:
    """A choice by gene: option `genes[gene]` holds."""

    gene: int
    options: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Fields under their document keys, defaults filled, in the order of the schema.

    `make` builds the value from the fields; `tag` is the op or kind, where the schema has one.
    """

    make: Callable[[Mapping[str, Any]], Any]
    tag: str | None
    fields: tuple[tuple[str, "Tree"], ...]

    def get(self, key: str) -> "Tree":
        """The tree under `key`."""
        return next(tree for name, tree in self.fields if name == key)


Tree = Const | Pick | Record
Chooser = Callable[[int], int]
"""Which option a gene takes."""


def build(tree: Tree, choose: Chooser) -> Any:
    """The value that the chosen options make."""
    if isinstance(tree, Const):
        return tree.value
    if isinstance(tree, Pick):
        return build(tree.options[choose(tree.gene)], choose)
    return tree.make({key: build(subtree, choose) for key, subtree in tree.fields})


def genes_of(tree: Tree) -> Iterator[int]:
    """Every gene in the tree, repeated as often as it is read, first to last."""
    if isinstance(tree, Pick):
        yield tree.gene
        for option in tree.options:
            yield from genes_of(option)
    elif isinstance(tree, Record):
        for _, subtree in tree.fields:
            yield from genes_of(subtree)


def picks_of(tree: Tree) -> Iterator[Pick]:
    """Every choice in the tree."""
    if isinstance(tree, Pick):
        yield tree
        for option in tree.options:
            yield from picks_of(option)
    elif isinstance(tree, Record):
        for _, subtree in tree.fields:
            yield from picks_of(subtree)


def overlap(first: Tree, second: Tree) -> bool:
    """Whether some value can come from both trees. Shared choices are taken as free, to be on the safe side."""
    if isinstance(first, Pick):
        return any(overlap(option, second) for option in first.options)
    if isinstance(second, Pick):
        return any(overlap(first, option) for option in second.options)
    if isinstance(first, Const) and isinstance(second, Const):
        return bool(first.value == second.value)
    if isinstance(first, Record) and isinstance(second, Record):
        return (
            first.tag == second.tag
            and first.make == second.make
            and all(overlap(tree, second.get(key)) for key, tree in first.fields)
        )
    return _const_matches_record(first, second) or _const_matches_record(second, first)


def _const_matches_record(const: Tree, record: Tree) -> bool:
    """A default may be a whole specification while the other side spells out its fields."""
    if not isinstance(const, Const) or not isinstance(record, Record):
        return False
    fields = field_values(const.value)
    return fields is not None and all(
        key in fields and overlap(Const(fields[key]), tree) for key, tree in record.fields
    )


def field_values(value: Any) -> Mapping[str, Any] | None:
    """The fields of a specification under their document keys; None for anything else."""
    model_fields = getattr(type(value), "model_fields", None)
    if model_fields is None:
        return None
    return {info.alias or name: getattr(value, name) for name, info in model_fields.items()}
