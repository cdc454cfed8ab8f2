"""From an architecture back to genes: which choices of a space make it, or where it departs from the space.

Options of a choice are disjoint, so at most one of them matches and values are matched top down. Only two
things are searched: where a run of the architecture is split among neighbouring runs of the space, and the
options of fields that make no difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.schema import FIXED
from search_spaces.tree import Const, Gene, Pick, Tree, field_values

MAX_MATCHES = 2_000

Given = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One run of a space: where it stands, and its tree."""

    slot: int
    stage: int
    stride: int
    side: int
    path: str
    tree: Tree


@dataclass(slots=True)
class Mismatch:
    """The deepest place where an architecture and a space part."""

    depth: tuple[int, int] = (-2, -1)
    message: str = ""

    def note(self, blocks: int, path: str, message: str) -> None:
        """Keep this mismatch if more blocks matched before it, or if it lies deeper in the same block."""
        depth = (blocks, path.count("."))
        if depth > self.depth:
            self.depth = depth
            self.message = f"{path}: {message}" if path else message


@dataclass(frozen=True, slots=True)
class Matcher:
    """Matches one architecture against the trees of a space."""

    arch: Architecture
    fixed: Tree
    slots: tuple[Slot, ...]
    genes: tuple[Gene, ...]
    mismatch: Mismatch = field(default_factory=Mismatch)

    def matches(self) -> list[tuple[int, ...]]:
        """Every genotype that decodes to the architecture (up to a cap), inactive genes at -1, in order."""
        values = {key: getattr(self.arch, key) for key in FIXED.fields}
        found = (
            tuple(given.get(gene, -1) for gene in range(len(self.genes)))
            for start in self._record(self.fixed, values, {}, "", -1, frozenset())
            for given in self._slots(0, 0, 0, 1, start)
        )
        return sorted(set(islice(found, MAX_MATCHES)))

    def _slots(self, index: int, run: int, offset: int, pending: int, given: Given) -> Iterator[Given]:
        """Match slots `index`... with the architecture's stages from block `offset` of stage `run` on.

        `pending` is the stride that the next present run of the current stage has to take.
        """
        stages = self.arch.stages
        if index == len(self.slots):
            if run == len(stages):
                yield given
            else:
                left = stages[run]
                message = f"{left.depth - offset} blocks of width {left.width} are left at the end"
                self.mismatch.note(self._blocks_before(run, offset), "stages", message)
            return
        slot = self.slots[index]
        if index == 0 or self.slots[index - 1].stage != slot.stage:
            pending = slot.stride
        blocks = self._blocks_before(run, offset)
        for absent in self._depth(slot, 0, given, blocks):
            yield from self._slots(index + 1, run, offset, pending, absent)
        if run == len(stages):
            self.mismatch.note(blocks, slot.path, "the architecture has no further stage")
            return
        stage = stages[run]
        stride = stage.stride if offset == 0 else 1
        if stride != pending:
            self.mismatch.note(blocks, slot.path, f"stride is {stride}, the space has {pending}")
            return
        for matched in self._block(slot, run, offset, given, blocks):
            for depth in range(1, stage.depth - offset + 1):
                following = (run + 1, 0) if offset + depth == stage.depth else (run, offset + depth)
                for sized in self._depth(slot, depth, matched, blocks):
                    yield from self._slots(index + 1, *following, 1, sized)

    def _blocks_before(self, run: int, offset: int) -> int:
        return sum(stage.depth for stage in self.arch.stages[:run]) + offset

    def _depth(self, slot: Slot, depth: int, given: Given, blocks: int) -> Iterator[Given]:
        path = f"{slot.path}.depth" if depth else ""
        for tree, chosen in _options(slot.tree, given):
            if not isinstance(tree, (Const, Pick)):
                yield from self._value(tree.get("depth"), depth, chosen, path, blocks, frozenset())

    def _block(self, slot: Slot, run: int, offset: int, given: Given, blocks: int) -> Iterator[Given]:
        """Match width and block, whatever the depth."""
        stage = self.arch.stages[run]
        width = in_width = stage.width
        if offset == 0:
            in_width = self.arch.stages[run - 1].width if run else self.arch.stem.width
        block: Any = stage.block.canonical(in_width, width)
        inert = frozenset(f"{slot.path}.block.{key}" for key in block.inert_fields(in_width, width))
        for tree, chosen in _options(slot.tree, given):
            if isinstance(tree, (Const, Pick)):
                continue
            for wide in self._value(tree.get("width"), width, chosen, f"{slot.path}.width", blocks, inert):
                yield from self._value(tree.get("block"), block, wide, f"{slot.path}.block", blocks, inert)

    def _value(
        self, tree: Tree, value: Any, given: Given, path: str, blocks: int, inert: frozenset[str]
    ) -> Iterator[Given]:
        if path in inert:
            yield from _any(tree, given)
        elif isinstance(tree, Const):
            if tree.value == value:
                yield given
            elif path:
                self.mismatch.note(blocks, path, f"{show(value)} is not {show(tree.value)}")
        elif isinstance(tree, Pick):
            yield from self._pick(tree, value, given, path, blocks, inert)
        elif tree.tag is not None and tree.tag != getattr(value, "op", None):
            self.mismatch.note(blocks, path, f"op {getattr(value, 'op', None)} is not {tree.tag}")
        else:
            fields = field_values(value)
            if fields is None:
                self.mismatch.note(blocks, path, f"{show(value)} is not a mapping")
            else:
                yield from self._record(tree, fields, given, path, blocks, inert)

    def _pick(
        self, tree: Pick, value: Any, given: Given, path: str, blocks: int, inert: frozenset[str]
    ) -> Iterator[Given]:
        chosen = given.get(tree.gene)
        if chosen is not None:
            yield from self._value(tree.options[chosen], value, given, path, blocks, inert)
            return
        if path and all(isinstance(option, Const) for option in tree.options):
            # One message for the whole choice rather than one for each option.
            if value not in [option.value for option in tree.options if isinstance(option, Const)]:
                labels = ", ".join(self.genes[tree.gene].labels[:20])
                self.mismatch.note(blocks, path, f"{show(value)} is not among {labels}")
                return
        for index, option in enumerate(tree.options):
            yield from self._value(option, value, {**given, tree.gene: index}, path, blocks, inert)

    def _record(
        self,
        tree: Tree,
        values: Mapping[str, Any],
        given: Given,
        path: str,
        blocks: int,
        inert: frozenset[str],
        position: int = 0,
    ) -> Iterator[Given]:
        assert not isinstance(tree, (Const, Pick))
        if position == len(tree.fields):
            yield given
            return
        key, subtree = tree.fields[position]
        inner = f"{path}.{key}".lstrip(".")
        for matched in self._value(subtree, values[key], given, inner, blocks, inert):
            yield from self._record(tree, values, matched, path, blocks, inert, position + 1)


def _options(tree: Tree, given: Given) -> Iterator[tuple[Tree, Given]]:
    """The records that a tree of choices may come to, with the choices made on the way."""
    if not isinstance(tree, Pick):
        yield tree, given
        return
    chosen = given.get(tree.gene)
    for index, option in enumerate(tree.options):
        if chosen is None or chosen == index:
            yield from _options(option, {**given, tree.gene: index})


def _any(tree: Tree, given: Given) -> Iterator[Given]:
    """Any value of a tree that makes no difference: the first, but every one that a shared gene may need."""
    if isinstance(tree, Const):
        yield given
    elif isinstance(tree, Pick):
        chosen = given.get(tree.gene)
        for index, option in enumerate(tree.options):
            if chosen is None or chosen == index:
                yield from _any(option, {**given, tree.gene: index})
    else:
        partial = [given]
        for _, subtree in tree.fields:
            partial = [after for before in partial for after in _any(subtree, before)]
        yield from partial


def show(value: Any) -> str:
    """A value as a message shows it."""
    fields = field_values(value)
    if fields is None:
        return str(value)
    return "{" + ", ".join(f"{key}: {show(inner)}" for key, inner in fields.items()) + "}"
