"""Where several genotypes of a space make one architecture, so that its size is only an upper bound.

Two things do that: neighbouring runs that can be equal and so merge or stand in for each other, and choices
that some networks do not feel (squeeze-and-excitation in a fused block without expansion). Both are found by
listing the blocks of every run in canonical form. Shared choices are taken as free, and runs with very many
blocks as alike, so something may be named needlessly; what matters is never left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from search_spaces.matching import Slot
from search_spaces.tree import Gene, Pick, Record, Tree, assignments, build, constants_at

MAX_BLOCKS = 4_096
MAX_FORMS = 50_000


@dataclass(frozen=True, slots=True)
class Redundancies:
    """What makes several genotypes one architecture; nothing named: every genotype is another one."""

    coincidences: tuple[tuple[str, str], ...]
    """Pairs of runs that can merge or stand in for each other."""
    inert_choices: tuple[str, ...]
    """Choices that some networks do not feel."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A slot's canonical blocks, with widths read and made and strides (None: too many); what is inert."""

    slot: Slot
    widths: frozenset[int]
    forms: frozenset[tuple[int, int, int, Any]] | None
    inert: tuple[str, ...]


def redundancies(fixed: Record, slots: Sequence[Slot], genes: Sequence[Gene]) -> Redundancies:
    """Everything in a space that makes several genotypes one architecture."""
    in_widths = set(constants_at(fixed, ("stem", "width")))
    runs: list[_Run] = []
    for slot in slots:
        runs.append(_run(slot, frozenset(in_widths), _strides(slot, slots), genes))
        in_widths |= runs[-1].widths
    inert = [choice for run in runs for choice in run.inert]
    is_strided = 1 not in constants_at(fixed, ("stem", "stride")) or any(slot.stride > 1 for slot in slots)
    if isinstance(fixed.get("padding"), Pick) and not is_strided:
        inert.append("padding")
    head_weight = fixed.get("head"), ("weight",)
    if "pooled" in constants_at(fixed, ("head", "form")) and len(list(constants_at(*head_weight))) > 1:
        inert.append("head.weight")
    return Redundancies(tuple(_coincidences(runs)), tuple(dict.fromkeys(inert)))


def _strides(slot: Slot, slots: Sequence[Slot]) -> frozenset[int]:
    """The strides that a slot's first block can have to take: 1 where another run may take the stage's."""
    first = next(other for other in slots if other.stage == slot.stage)
    return frozenset({slot.stride} if first.path == slot.path else {slot.stride, 1})


def _run(slot: Slot, in_widths: frozenset[int], strides: frozenset[int], genes: Sequence[Gene]) -> _Run:
    widths = frozenset(constants_at(slot.tree, ("width",)))
    forms: set[tuple[int, int, int, Any]] = set()
    inert: dict[str, None] = {}
    for record in _records(slot.tree):
        tree = record.get("block")
        chosen = list(islice(assignments(tree, {}), MAX_BLOCKS + 1))
        surroundings = [
            (in_width, width, stride)
            for width in set(constants_at(record.get("width"), ()))
            for in_width in in_widths | {width}
            for stride in strides | {1}
        ]
        if len(chosen) > MAX_BLOCKS or len(forms) + len(chosen) * len(surroundings) > MAX_FORMS:
            return _Run(slot, widths, None, (f"{slot.path}.block",))
        blocks = [(given, build(tree, given.__getitem__)) for given in chosen]
        for in_width, width, stride in surroundings:
            seen: dict[Any, dict[int, int]] = {}
            for given, block in blocks:
                first = seen.setdefault(block.canonical(in_width, width, stride=stride), given)
                if stride in strides:  # further blocks of a run need not tell options apart
                    inert |= dict.fromkeys(_differing(first, given, genes))
            found = {(in_width, width, stride, form) for form in seen}
            if stride in strides and not forms.isdisjoint(
                found
            ):  # two options of a choice between whole runs
                inert[slot.path] = None
            forms |= found
    return _Run(slot, widths, frozenset(forms), tuple(inert))


def _differing(first: dict[int, int], second: dict[int, int], genes: Sequence[Gene]) -> Iterator[str]:
    for gene in sorted(first.keys() | second.keys()):
        if first.get(gene) != second.get(gene):
            yield genes[gene].column


def _coincidences(runs: Sequence[_Run]) -> Iterator[tuple[str, str]]:
    """Pairs of equal runs with nothing between them that takes a stride or must be present."""
    for index, first in enumerate(runs):
        stage = first.slot.stage
        for second in runs[index + 1 :]:
            if second.slot.stage != stage and second.slot.stride != 1:
                break
            stage = second.slot.stage
            if _may_be_equal(first, second):
                yield first.slot.path, second.slot.path
            if 0 not in constants_at(second.slot.tree, ("depth",)):
                break


def _may_be_equal(first: _Run, second: _Run) -> bool:
    if first.forms is None or second.forms is None:
        return not first.widths.isdisjoint(second.widths)
    return not first.forms.isdisjoint(second.forms)


def _records(tree: Tree) -> Iterator[Record]:
    if isinstance(tree, Record):
        yield tree
    elif isinstance(tree, Pick):
        for option in tree.options:
            yield from _records(option)
