"""From an architecture back to genes: which choices of a space make it, or where it departs from the space.

Options of a choice are disjoint, so at most one of them matches and values are matched top down. Three
things are searched: where a run of the architecture is split among neighbouring runs of the space, the
options of fields that make no difference, and what rules and shared choices leave of these. What each
suffix of the space can make of each suffix of the architecture is found once, so that the search stays
polynomial however the runs may be split.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.rules import Rule, run_fields
from search_spaces.schema import FIXED
from search_spaces.tree import (
    Const,
    Gene,
    Pick,
    Record,
    Tree,
    assignments,
    build,
    constants_at,
    field_values,
    genes_of,
)

MAX_REMEMBERED = 200_000

Given = Mapping[int, int]
_NO_PATHS: frozenset[str] = frozenset()


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


class Position(NamedTuple):
    """How far a match has come: the slots before `slot` have made the blocks before `offset` of `run`.

    `pending` is the stride that the next present run of the current stage has to take; `shared` holds the
    shared genes that are decided, with their options.
    """

    slot: int
    run: int
    offset: int
    pending: int
    states: tuple[Any, ...]
    shared: frozenset[tuple[int, int]]


class _SlotFacts(NamedTuple):
    """What is known of a slot whatever it is matched with."""

    depths: tuple[int, ...]
    """The depths it can have when it is present."""
    shared: frozenset[int]
    """The shared genes it reads."""
    starts_stage: bool
    split_widths: frozenset[Any]
    """The widths of which a later slot may continue a run that this one begins."""
    parts: tuple[Tree, Tree, Tree] | None
    """Depth, width and block where these are chosen apart from each other; None where they are not."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Matches architectures against the trees and rules of one space."""

    fixed: Record
    slots: tuple[Slot, ...]
    genes: tuple[Gene, ...]
    rules: tuple[Rule, ...]
    _matches: dict[Any, tuple[Given, ...]] = field(default_factory=dict)
    _block_numbers: dict[Any, int] = field(default_factory=dict)
    _facts: dict[int, _SlotFacts] = field(default_factory=dict)

    def first(self, arch: Architecture) -> tuple[int, ...] | None:
        """The lexicographically first genotype that decodes to `arch` and obeys the rules; -1 is inactive."""
        return _Search(self, arch, None).first()

    def explain(self, arch: Architecture) -> str:
        """Where an architecture that has no such genotype departs from the space, at the deepest place."""
        mismatch = Mismatch()
        _Search(self, arch, mismatch).first()
        return mismatch.message

    def facts(self, slot: Slot) -> _SlotFacts:
        """What is known of a slot."""
        if slot.slot not in self._facts:
            before = slot.slot - 1
            shared = frozenset(gene for gene in genes_of(slot.tree) if self.genes[gene].shared)
            parts = None
            if isinstance(slot.tree, Record) and not shared:
                parts = (slot.tree.get("depth"), slot.tree.get("width"), slot.tree.get("block"))
            self._facts[slot.slot] = _SlotFacts(
                depths=tuple(sorted(set(constants_at(slot.tree, ("depth",))) - {0})),
                shared=shared,
                starts_stage=before < 0 or self.slots[before].stage != slot.stage,
                split_widths=frozenset(self._widths_after(slot)),
                parts=parts,
            )
        return self._facts[slot.slot]

    def _widths_after(self, slot: Slot) -> Iterator[Any]:
        stage = slot.stage
        for later in self.slots[slot.slot + 1 :]:
            if later.stage != stage and later.stride != 1:
                return
            stage = later.stage
            yield from constants_at(later.tree, ("width",))
            if 0 not in constants_at(later.tree, ("depth",)):
                return

    def block_number(self, block: Any) -> int:
        """A number for a block, the same for equal blocks: cheaper as a key than the block itself."""
        return self._block_numbers.setdefault(block, len(self._block_numbers))

    def remember(self, key: tuple[Any, ...], matches: Iterator[Given]) -> tuple[Given, ...]:
        """The matches under `key`, found once; they must depend on nothing else."""
        found = self._matches.get(key)
        if found is None:
            found = tuple(matches)
            if len(self._matches) < MAX_REMEMBERED:
                self._matches[key] = found
        return found


class _Search:
    """The search for one architecture. With a `mismatch` to note in, every run is looked at anew."""

    def __init__(self, matcher: Matcher, arch: Architecture, mismatch: Mismatch | None) -> None:
        self.matcher = matcher
        self.arch = arch
        self.mismatch = mismatch
        self.genes = matcher.genes
        self.has_shared = any(gene.shared for gene in matcher.genes)
        self.wanted: frozenset[str] = frozenset().union(*(rule.paths for rule in matcher.rules))
        self.best_from: dict[Position, Given | None] = {}
        self.blocks_before = [0]
        for stage in arch.stages:
            self.blocks_before.append(self.blocks_before[-1] + stage.depth)
        in_widths = [arch.stem.width, *(stage.width for stage in arch.stages)]
        self.first_blocks = [
            (in_width, stage.block, matcher.block_number(stage.block))
            for in_width, stage in zip(in_widths, arch.stages, strict=False)
        ]
        self.other_blocks = [
            (stage.width, block, matcher.block_number(block))
            for stage in arch.stages
            for block in [stage.block.canonical(stage.width, stage.width, stride=1)]
        ]

    def first(self) -> tuple[int, ...] | None:
        """The lexicographically first genotype; None when there is none."""
        values = {key: getattr(self.arch, key) for key in FIXED.fields}
        inert = _NO_PATHS if self.arch.is_strided else frozenset({"padding"})
        if self.arch.head.form == "pooled":
            inert |= {"head.weight"}
        states = tuple(rule.start for rule in self.matcher.rules)
        found = []
        for given in self._record(self.matcher.fixed, values, {}, "", None, inert):
            rest = self._best(Position(0, 0, 0, 1, states, self._shared(given)))
            if rest is not None:
                found.append(self._genotype({**given, **rest}))
        return min(found, default=None)

    def _genotype(self, given: Given) -> tuple[int, ...]:
        return tuple(given.get(gene, -1) for gene in range(len(self.genes)))

    def _shared(self, given: Given) -> frozenset[tuple[int, int]]:
        return frozenset((gene, option) for gene, option in given.items() if self.genes[gene].shared)

    # --- runs ------------------------------------------------------------------------------------------

    def _best(self, at: Position) -> Given | None:
        """The first way in which the remaining slots make the remaining blocks; None: there is none."""
        if at not in self.best_from:
            # The genes of a run and of what follows it are apart or agree, so the best that follows each
            # way to make the run is part of the best of all.
            ways = list(self._ways(at))
            self.best_from[at] = min(ways, key=self._genotype) if len(ways) > 1 else next(iter(ways), None)
        return self.best_from[at]

    def _ways(self, at: Position) -> Iterator[Given]:
        if at.slot == len(self.matcher.slots):
            if self._is_end(at):
                yield {}
            return
        slot = self.matcher.slots[at.slot]
        pending = slot.stride if self.matcher.facts(slot).starts_stage else at.pending
        for given, depth in self._runs(slot, at, pending):
            states = self._states_after(slot, at, given, depth)
            if states is None:
                continue
            run, offset = at.run, at.offset + depth
            if run < len(self.arch.stages) and offset == self.arch.stages[run].depth:
                run, offset = run + 1, 0
            shared = at.shared | self._shared(given) if self.has_shared else at.shared
            rest = self._best(Position(at.slot + 1, run, offset, 1 if depth else pending, states, shared))
            if rest is not None:
                yield {**given, **rest}

    def _is_end(self, at: Position) -> bool:
        if at.run < len(self.arch.stages):
            left = self.arch.stages[at.run]
            self._note(
                at, "stages", f"{left.depth - at.offset} blocks of width {left.width} are left at the end"
            )
            return False
        for rule, state in zip(self.matcher.rules, at.states, strict=True):
            if not rule.accepts(state):
                self._note(at, "", f"breaks the rule that {rule}")
                return False
        return True

    def _states_after(self, slot: Slot, at: Position, given: Given, depth: int) -> tuple[Any, ...] | None:
        if not self.matcher.rules:
            return ()
        fields = run_fields(build(slot.tree, given.__getitem__), self.wanted) if depth else None
        states = []
        for rule, state in zip(self.matcher.rules, at.states, strict=True):
            after = rule.step(state, slot, fields)
            if after is None:
                self._note(at, slot.path, f"breaks the rule that {rule}", blocks_after=depth)
                return None
            states.append(after)
        return tuple(states)

    def _runs(self, slot: Slot, at: Position, pending: int) -> Iterator[tuple[Given, int]]:
        """Every way for a slot to be absent or to make the next blocks, with its depth."""
        facts = self.matcher.facts(slot)
        given = {gene: option for gene, option in at.shared if gene in facts.shared} if at.shared else {}
        for way in self._absent(slot, facts, given):
            yield way, 0
        if at.run == len(self.arch.stages):
            self._note(at, slot.path, "the architecture has no further stage")
            return
        stage = self.arch.stages[at.run]
        stride = stage.stride if at.offset == 0 else 1
        if stride != pending:
            self._note(at, slot.path, f"stride is {stride}, the space has {pending}")
            return
        left = stage.depth - at.offset
        if left not in facts.depths:
            shown = ", ".join(map(str, facts.depths[:20])) or "0"
            self._note(at, f"{slot.path}.depth", f"{left} is not among {shown}")
        depths = facts.depths if stage.width in facts.split_widths else (left,)
        for depth in depths:
            if depth > left:
                break
            for way in self._present(slot, facts, at, depth, given):
                yield way, depth

    def _absent(self, slot: Slot, facts: _SlotFacts, given: Given) -> Iterable[Given]:
        if facts.parts is not None:
            return self.matcher.remember((slot.slot, "absent"), self._value(facts.parts[0], 0, {}, "", None))
        return (
            way
            for tree, chosen in _options(slot.tree, given)
            if isinstance(tree, Record)
            for way in self._value(tree.get("depth"), 0, chosen, "", None)
        )

    def _present(
        self, slot: Slot, facts: _SlotFacts, at: Position, depth: int, given: Given
    ) -> Iterable[Given]:
        """The ways for a slot to make `depth` blocks."""
        width = self.arch.stages[at.run].width
        in_width, block, number = (self.other_blocks if at.offset else self.first_blocks)[at.run]
        stride = 1 if at.offset else self.arch.stages[at.run].stride
        inert = block.inert_fields(in_width, width, stride=stride)
        paths = frozenset(f"{slot.path}.block.{key}" for key in inert) if inert else _NO_PATHS
        if facts.parts is None or self.mismatch is not None:
            return (
                way
                for tree, chosen in _options(slot.tree, given)
                if isinstance(tree, Record)
                for deep in self._value(tree.get("depth"), depth, chosen, "", None)
                for wide in self._value(tree.get("width"), width, deep, f"{slot.path}.width", at)
                for way in self._value(tree.get("block"), block, wide, f"{slot.path}.block", at, paths)
            )
        depth_tree, width_tree, block_tree = facts.parts
        remember = self.matcher.remember
        deep = remember((slot.slot, "depth", depth), self._value(depth_tree, depth, {}, "", None))
        wide = remember((slot.slot, "width", width), self._value(width_tree, width, {}, "", None))
        if not deep or not wide:
            return ()
        key = (slot.slot, number, inert)
        ways = remember(key, self._value(block_tree, block, {}, f"{slot.path}.block", None, paths))
        return [{**one, **two, **three} for one in deep for two in wide for three in ways]

    def _value(
        self,
        tree: Tree,
        value: Any,
        given: Given,
        path: str,
        at: Position | None,
        inert: frozenset[str] = _NO_PATHS,
    ) -> Iterator[Given]:
        """The choices in `tree` that make `value`; any do under the `inert` paths."""
        if path in inert:
            yield from assignments(tree, given)
        elif isinstance(tree, Const):
            if tree.value == value:
                yield given
            else:
                self._note_value(at, path, value, [tree.value])
        elif isinstance(tree, Pick):
            yield from self._pick(tree, value, given, path, at, inert)
        elif tree.tag is not None and tree.tag != getattr(value, "op", None):
            if self.mismatch is not None:
                self._note(at, path, f"op {getattr(value, 'op', None)} is not {tree.tag}")
        else:
            fields = field_values(value)
            if fields is not None:
                yield from self._record(tree, fields, given, path, at, inert)
            elif self.mismatch is not None:
                self._note(at, path, f"{show(value)} is not a mapping")

    def _pick(
        self, tree: Pick, value: Any, given: Given, path: str, at: Position | None, inert: frozenset[str]
    ) -> Iterator[Given]:
        chosen = given.get(tree.gene)
        if chosen is not None:
            yield from self._value(tree.options[chosen], value, given, path, at, inert)
            return
        constants = [option.value for option in tree.options if isinstance(option, Const)]
        if len(constants) == len(tree.options) and value not in constants:
            self._note_value(at, path, value, constants)  # once, rather than for each option
            return
        for index, option in enumerate(tree.options):
            yield from self._value(option, value, {**given, tree.gene: index}, path, at, inert)

    def _record(
        self,
        tree: Record,
        values: Mapping[str, Any],
        given: Given,
        path: str,
        at: Position | None,
        inert: frozenset[str],
        position: int = 0,
    ) -> Iterator[Given]:
        if position == len(tree.fields):
            yield given
            return
        key, subtree = tree.fields[position]
        inner = f"{path}.{key}".lstrip(".")
        for matched in self._value(subtree, values[key], given, inner, at, inert):
            yield from self._record(tree, values, matched, path, at, inert, position + 1)

    # --- mismatches ------------------------------------------------------------------------------------

    def _note(self, at: Position | None, path: str, message: str, blocks_after: int = 0) -> None:
        """Note a mismatch after all blocks before `at`; before everything else without it."""
        if self.mismatch is None:
            return
        blocks = -1 if at is None else self.blocks_before[at.run] + at.offset + blocks_after
        if at is not None and at.offset and at.run < len(self.arch.stages):
            stage = self.arch.stages[at.run]
            message += f" (at block {at.offset + 1} of {stage.depth} of width {stage.width})"
        self.mismatch.note(blocks, path, message)

    def _note_value(self, at: Position | None, path: str, value: Any, allowed: list[Any]) -> None:
        if self.mismatch is not None and path:
            verb = "is not among" if len(allowed) > 1 else "is not"
            self._note(at, path, f"{show(value)} {verb} {', '.join(map(show, allowed[:20]))}")


def _options(tree: Tree, given: Given) -> Iterator[tuple[Tree, Given]]:
    """The records that a tree of choices may come to, with the choices made on the way."""
    if not isinstance(tree, Pick):
        yield tree, given
        return
    chosen = given.get(tree.gene)
    for index, option in enumerate(tree.options):
        if chosen is None or chosen == index:
            yield from _options(option, {**given, tree.gene: index})


def show(value: Any) -> str:
    """A value as a message shows it."""
    fields = field_values(value)
    if fields is None:
        return str(value)
    return "{" + ", ".join(f"{key}: {show(inner)}" for key, inner in fields.items()) + "}"
