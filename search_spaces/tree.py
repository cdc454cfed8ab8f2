"""Typed trees: a document whose every leaf is checked and whose choices are genes.

A gene is one integer of a genotype. A tree holds constants, choices by gene, and records; choices of
different places may read the same gene (a shared choice), each with its own typed options.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

    # A function's repr holds its address; without it equal trees have equal reprs in every process.
    make: Callable[[Mapping[str, Any]], Any] = field(repr=False)
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


def assignments(tree: Tree, given: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """Every way to choose in the tree what `given` leaves open, first options first; each holds `given`."""
    if isinstance(tree, Const):
        yield dict(given)
    elif isinstance(tree, Pick):
        chosen = given.get(tree.gene)
        for index, option in enumerate(tree.options):
            if chosen is None or chosen == index:
                yield from assignments(option, {**given, tree.gene: index})
    else:
        yield from _record_assignments(tree, given, 0)


def _record_assignments(tree: Record, given: Mapping[int, int], field: int) -> Iterator[dict[int, int]]:
    if field == len(tree.fields):
        yield dict(given)
        return
    for chosen in assignments(tree.fields[field][1], given):
        yield from _record_assignments(tree, chosen, field + 1)


def picks_of(tree: Tree) -> Iterator[Pick]:
    """Every choice in the tree."""
    if isinstance(tree, Pick):
        yield tree
        for option in tree.options:
            yield from picks_of(option)
    elif isinstance(tree, Record):
        for _, subtree in tree.fields:
            yield from picks_of(subtree)


def constants_at(tree: Tree, keys: Sequence[str]) -> Iterator[Any]:
    """Every constant under a path; `...` stands for a mapping, and an op is under its key `op`."""
    if isinstance(tree, Pick):
        for option in tree.options:
            yield from constants_at(option, keys)
    elif isinstance(tree, Record):
        if not keys:
            yield ...
        elif keys[0] == "op" and tree.tag is not None:
            yield tree.tag
        else:
            for key, subtree in tree.fields:
                if key == keys[0]:
                    yield from constants_at(subtree, keys[1:])
    elif not keys:
        yield tree.value if field_values(tree.value) is None else ...
    else:
        fields = field_values(tree.value) or {}
        if keys[0] in fields:
            yield from constants_at(Const(fields[keys[0]]), keys[1:])


class TooManyComparisonsError(Exception):
    """Trees have more to compare than the budget allows."""


@dataclass(slots=True)
class Budget:
    """How many steps of comparing trees are left; documents of strangers are read under one."""

    left: int

    def spend(self) -> None:
        """Take one step.

        Raises:
            TooManyComparisonsError: none is left.
        """
        self.left -= 1
        if self.left < 0:
            raise TooManyComparisonsError


def first_overlap(trees: Sequence[Tree | None], budget: Budget) -> tuple[int, int] | None:
    """The first tree that can come to the same value as an earlier one: both indices, the earlier first.

    Shared choices are taken as free, to be on the safe side.

    Raises:
        TooManyComparisonsError: more to compare than the budget allows.
    """
    owners: dict[Any, int] = {}
    specs: list[tuple[int, Any]] = []
    records: list[tuple[int, Record]] = []
    for index, tree in enumerate(trees):
        values, mine = ([], []) if tree is None else _alternatives(tree, budget)
        # A constant may be a whole specification (a default) where another tree spells out its fields.
        whole = [value for value in values if field_values(value) is not None]
        rivals = [owners[value] for value in values if owners.setdefault(value, index) != index]
        rivals += [
            other
            for other, record in records
            if any(_records_overlap(record, one, budget) for one in mine)
            or any(_value_fits(value, record, budget) for value in whole)
        ]
        rivals += [other for other, value in specs if any(_value_fits(value, one, budget) for one in mine)]
        if rivals:
            return min(rivals), index
        specs += [(index, value) for value in whole]
        records += [(index, record) for record in mine]
    return None


def _alternatives(tree: Tree, budget: Budget) -> tuple[list[Any], list[Record]]:
    """The constants and the records that a tree of choices may come to."""
    values: list[Any] = []
    records: list[Record] = []
    pending = [tree]
    while pending:
        budget.spend()
        found = pending.pop()
        if isinstance(found, Pick):
            pending.extend(found.options)
        elif isinstance(found, Const):
            values.append(found.value)
        else:
            records.append(found)
    return values, records


def _overlap(first: Tree, second: Tree, budget: Budget) -> bool:
    if isinstance(first, Const) and isinstance(second, Const):
        return bool(first.value == second.value)
    return first_overlap((first, second), budget) is not None


def _records_overlap(first: Record, second: Record, budget: Budget) -> bool:
    budget.spend()
    # Records of one `make` have the same fields in the same order.
    return (
        first.tag == second.tag
        and first.make == second.make
        and all(
            _overlap(one, other, budget)
            for (_, one), (_, other) in zip(first.fields, second.fields, strict=True)
        )
    )


def _value_fits(value: Any, record: Record, budget: Budget) -> bool:
    budget.spend()
    fields = field_values(value)
    return fields is not None and all(
        key in fields and _overlap(Const(fields[key]), tree, budget) for key, tree in record.fields
    )


def field_values(value: Any) -> Mapping[str, Any] | None:
    """The fields of a specification under their document keys; None for anything else."""
    model_fields = getattr(type(value), "model_fields", None)
    if model_fields is None:
        return None
    return {info.alias or name: getattr(value, name) for name, info in model_fields.items()}
