"""Exact counts of whole populations, by look-up: costs, and the physical features of predictors.

The cost of a run depends on few things: its width and block, its depth, and its surroundings (what it reads,
at which side, with which stride and padding). Each distinct combination is costed once by the same closed
forms that `cost` uses, and numbered; a population is then a matter of gathering rows by number, in batches
small enough for the processor's cache. The tables live as long as the space and are the same for every
resolution.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from search_spaces.architecture import Head, Stage, Stem, head_cost, stage_cost, stem_cost
from search_spaces.matching import Slot
from search_spaces.tree import Gene, Pick, Record, Tree, build, genes_of

Ints = npt.NDArray[np.int64]

BATCH = 8_192
MAX_DENSE = 1 << 22
MAX_ROWS = 500_000
LARGEST_BLOCK_COST = 1 << 44
"""Costs of single blocks stay below this, so that sums over a network cannot leave 64 bits."""


class Costs(NamedTuple):
    """Exact costs of a population, one int64 vector each; see `search_spaces.cost`."""

    params: Ints
    active_params: Ints
    macs: Ints
    activation_bytes: Ints


class Counter(Protocol):
    """What is counted of each part of a network: a row of integers that add up over parts."""

    width: int
    """Length of the rows."""

    def stem(self, stem: Stem, channels: int, side: int, padding: str) -> tuple[Sequence[int], int]:
        """Of the stem, and the side of its output."""

    def stage(self, stage: Stage, in_width: int, side: int, padding: str) -> tuple[Sequence[int], int]:
        """Of a stage, and the side of its output."""

    def head(self, head: Head, in_width: int, side: int, num_classes: int) -> Sequence[int]:
        """Of the head and the classifier."""


class CostCounter:
    """Counts the fields of `Cost`."""

    width = len(Costs._fields)
    stem = staticmethod(stem_cost)
    stage = staticmethod(stage_cost)
    head = staticmethod(head_cost)


class _Surroundings(NamedTuple):
    """What a run finds before it: width and side of the map it reads, the stride it would take, padding."""

    in_width: int
    side: int
    stride: int
    padding: str


class _Numbering:
    """Consecutive numbers for rows of small integers, in the order in which rows are first seen."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self._sizes: tuple[int, ...] = ()
        self._dense: npt.NDArray[np.int32] | None = None
        self._known: dict[tuple[int, ...], int] = {}

    def numbers(self, columns: Sequence[Ints], sizes: tuple[int, ...]) -> Ints:
        """The number of each row; every entry of a column is at least 0 and below the column's size."""
        if sizes != self._sizes:
            self._resize(sizes)
        if math.prod(sizes) >= 1 << 62:
            rows, inverse = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
            numbers = np.array([self._number(tuple(row)) for row in rows.tolist()], dtype=np.int64)
            return numbers[inverse.reshape(-1)]
        codes = np.zeros(len(columns[0]), dtype=np.int64)
        for column, size in zip(columns, sizes, strict=True):
            codes *= size
            codes += column
        if self._dense is None:
            unique, inverse = np.unique(codes, return_inverse=True)
            known = [self._number(tuple(map(int, np.unravel_index(code, sizes)))) for code in unique.tolist()]
            return np.array(known, dtype=np.int64)[inverse]
        found = self._dense[codes]
        missing = found < 0
        if missing.any():
            for code in np.unique(codes[missing]).tolist():
                self._dense[code] = self._number(tuple(map(int, np.unravel_index(code, sizes))))
            found = self._dense[codes]
        return found.astype(np.int64)

    def _number(self, row: tuple[int, ...]) -> int:
        if row not in self._known:
            self._known[row] = len(self.rows)
            self.rows.append(row)
        return self._known[row]

    def _resize(self, sizes: tuple[int, ...]) -> None:
        self._sizes = sizes
        self._dense = None
        if math.prod(sizes) <= MAX_DENSE:
            self._dense = np.full(math.prod(sizes), -1, dtype=np.int32)
            for number, row in enumerate(self.rows):
                self._dense[int(np.ravel_multi_index(row, sizes))] = number


class _SlotTable:
    """What one slot's runs cost, filled as they are met."""

    def __init__(self, slot: Slot, width: int) -> None:
        self.slot = slot
        self.is_whole = not isinstance(slot.tree, Record)  # a choice between whole runs decides all at once
        parts = [slot.tree] if self.is_whole else [_part(slot.tree, "width"), _part(slot.tree, "block")]
        depth = slot.tree if self.is_whole else _part(slot.tree, "depth")
        self.genes = tuple(sorted({gene for part in parts for gene in genes_of(part)}))
        self.depth_genes = tuple(sorted(set(genes_of(depth))))
        self.variants = _Numbering()
        self.depths = _Numbering()
        self.states = _Numbering()
        self.depth_values = np.empty(0, dtype=np.int64)
        self.counts = np.empty((0, 2 * width), dtype=np.int64)
        self.following = np.empty(0, dtype=np.int64)
        self.is_buildable = np.empty(0, dtype=bool)


def _part(tree: Tree, key: str) -> Tree:
    assert isinstance(tree, Record)
    return tree.get(key)


class PopulationCounts:
    """What `counter` counts of the genotypes of one space."""

    def __init__(self, fixed: Record, slots: Sequence[Slot], genes: Sequence[Gene], counter: Counter) -> None:
        self._counter = counter
        self._fixed = fixed
        self._slots = tuple(slots)
        self._sizes = np.array([len(gene.labels) for gene in genes], dtype=np.int64)
        self._sites = [gene.site for gene in genes]
        self._fixed_genes = tuple(sorted(set(genes_of(fixed))))
        self._clear()

    def _clear(self) -> None:
        self._heads = _Numbering()
        self._fixed_numbers = _Numbering()
        self._fixed_values: list[Mapping[str, Any]] = []
        self._tables = [_SlotTable(slot, self._counter.width) for slot in self._slots]
        self._surroundings: list[_Surroundings] = []
        self._surrounding_numbers: dict[_Surroundings, int] = {}

    def totals(self, genes: Ints, resolution: int, num_classes: int) -> Ints:
        """The counts of each row of `genes`, at `resolution` pixels: (N, counter.width).

        Raises:
            ValueError: an entry that is no option, or an active gene without a choice.
        """
        totals = np.zeros((len(genes), self._counter.width), dtype=np.int64)
        for start in range(0, len(genes), BATCH):
            rows = totals[start : start + BATCH]
            for _, counts in self._batch(genes[start : start + BATCH], resolution, num_classes):
                rows += counts
        return totals

    def parts(self, genes: Ints, resolution: int, num_classes: int) -> Ints:
        """As `totals`, apart for stem and head together (first) and each slot: (N, 1 + slots, width).

        Raises:
            ValueError: an entry that is no option, or an active gene without a choice.
        """
        parts = np.zeros((len(genes), 1 + len(self._tables), self._counter.width), dtype=np.int64)
        for start in range(0, len(genes), BATCH):
            rows = parts[start : start + BATCH]
            for part, counts in self._batch(genes[start : start + BATCH], resolution, num_classes):
                rows[:, part] += counts
        return parts

    def _check(self, batch: Ints) -> None:
        for gene, (low, high) in enumerate(zip(batch.min(axis=1), batch.max(axis=1), strict=True)):
            if low < -1 or high >= self._sizes[gene]:
                option = low if low < -1 else high
                limit = self._sizes[gene] - 1
                raise ValueError(f"{self._sites[gene]}: option {option} does not exist; 0 to {limit} do")

    def _batch(self, genes: Ints, resolution: int, num_classes: int) -> Iterator[tuple[int, Ints]]:
        """What each part adds to each genotype's counts: 0 for stem and head, 1 for the first slot, ..."""
        if sum(len(table.states.rows) for table in self._tables) > MAX_ROWS:
            self._clear()
        batch = np.ascontiguousarray(genes.T)
        self._check(batch)
        fixed = self._numbered(self._fixed_numbers, self._fixed_genes, batch)
        for row in self._fixed_numbers.rows[len(self._fixed_values) :]:
            self._fixed_values.append(build(self._fixed, _chooser(self._fixed_genes, row)))
        starts = [self._start(values, resolution) for values in self._fixed_values]
        yield 0, np.array([counts for counts, _ in starts], dtype=np.int64)[fixed]
        around = np.array([number for _, number in starts], dtype=np.int64)[fixed]
        stage = -1
        width = self._counter.width
        for part, table in enumerate(self._tables, start=1):
            if table.slot.stage != stage:
                stage = table.slot.stage
                around = self._with_stride(table.slot.stride)[around]
            state, depth = self._states(table, batch, around)
            present = depth > 0
            if not table.is_buildable[state[present]].all():
                raise ValueError(f"{table.slot.path}: an active gene has no choice (-1)")
            counts = table.counts[state]
            yield part, counts[:, :width] * present[:, None]
            yield part, counts[:, width:] * np.maximum(depth - 1, 0)[:, None]
            around = np.where(present, table.following[state], around)
        yield 0, self._head_counts(fixed, around, num_classes)

    def _numbered(self, numbering: _Numbering, genes: tuple[int, ...], batch: Ints) -> Ints:
        """The number of each genotype's options of these genes; -1 counts as an option of its own."""
        if not genes:
            return numbering.numbers([np.zeros(batch.shape[1], dtype=np.int64)], (1,))
        sizes = tuple(int(self._sizes[gene]) + 1 for gene in genes)
        return numbering.numbers([batch[gene] + 1 for gene in genes], sizes)

    def _surrounding(self, surroundings: _Surroundings) -> int:
        number = self._surrounding_numbers.setdefault(surroundings, len(self._surroundings))
        if number == len(self._surroundings):
            self._surroundings.append(surroundings)
        return number

    def _with_stride(self, stride: int) -> Ints:
        """For each surroundings so far the number of the same ones before a stage of this stride."""
        known = list(self._surroundings)
        return np.array(
            [self._surrounding(around._replace(stride=stride)) for around in known], dtype=np.int64
        )

    def _start(self, fixed: Mapping[str, Any], resolution: int) -> tuple[Sequence[int], int]:
        stem, padding = fixed["stem"], fixed["padding"]
        counts, side = self._counter.stem(stem, fixed["input"].channels, resolution, padding)
        return counts, self._surrounding(_Surroundings(stem.width, side, 1, padding))

    def _states(self, table: _SlotTable, batch: Ints, around: Ints) -> tuple[Ints, Ints]:
        """For each genotype the row of the slot's table that counts its run, and the run's depth."""
        variants = self._numbered(table.variants, table.genes, batch)
        depths = variants if table.is_whole else self._numbered(table.depths, table.depth_genes, batch)
        rows = (table.variants if table.is_whole else table.depths).rows
        new_depths = rows[len(table.depth_values) :]
        if new_depths:
            found = [_depth(table, row) for row in new_depths]
            table.depth_values = np.append(table.depth_values, np.array(found, dtype=np.int64))
        sizes = (_rounded_up(len(table.variants.rows)), _rounded_up(len(self._surroundings)))
        states = table.states.numbers([variants, around], sizes)
        new_states = table.states.rows[len(table.counts) :]
        if new_states:
            runs = [self._run(table, *state) for state in new_states]
            counts = np.array([run[0] for run in runs], dtype=np.int64)
            table.counts = np.concatenate([table.counts, counts])
            table.following = np.append(table.following, np.array([run[1] for run in runs], dtype=np.int64))
            table.is_buildable = np.append(table.is_buildable, [run[2] for run in runs])
        return states, table.depth_values[depths]

    def _run(self, table: _SlotTable, variant: int, around: int) -> tuple[tuple[int, ...], int, bool]:
        """Counts of a run's first block and of each further one; what follows it; whether it can be built."""
        in_width, side, stride, padding = self._surroundings[around]
        choose = _chooser(table.genes, table.variants.rows[variant])
        tree = table.slot.tree
        try:
            while isinstance(tree, Pick):
                tree = tree.options[choose(tree.gene)]
            width, block = build(_part(tree, "width"), choose), build(_part(tree, "block"), choose)
        except _NoChoiceError:  # as it should be where the run is absent
            return (0,) * (2 * self._counter.width), around, False
        stage = Stage(stride=stride, depth=1, width=width, block=block)
        first, out = self._counter.stage(stage, in_width, side, padding)
        further = Stage(stride=1, depth=1, width=width, block=block)
        rest, _ = self._counter.stage(further, width, out, padding)
        if max(*first, *rest) > LARGEST_BLOCK_COST:
            raise ValueError(
                f"{table.slot.path}: a block of width {width} at {out} pixels costs too much for counting"
                " populations; count architectures one by one with `cost`"
            )
        return (*first, *rest), self._surrounding(_Surroundings(width, out, 1, padding)), True

    def _head_counts(self, fixed: Ints, around: Ints, num_classes: int) -> Ints:
        sizes = (_rounded_up(len(self._fixed_values)), _rounded_up(len(self._surroundings)))
        numbers = self._heads.numbers([fixed, around], sizes)
        used = np.unique(numbers)
        counts = np.zeros((len(self._heads.rows), self._counter.width), dtype=np.int64)
        for number in used.tolist():
            values, end = self._heads.rows[number]
            found, head = self._surroundings[end], self._fixed_values[values]["head"]
            counts[number] = self._counter.head(head, found.in_width, found.side, num_classes)
        gathered: Ints = counts[numbers]
        return gathered


class _NoChoiceError(Exception):
    """A gene without a choice was read."""


def _chooser(genes: tuple[int, ...], row: tuple[int, ...]) -> Any:
    """Options by gene, from a row in which 0 stands for no choice."""
    chosen = dict(zip(genes, row, strict=False))

    def choose(gene: int) -> int:
        if chosen[gene] == 0:
            raise _NoChoiceError
        return chosen[gene] - 1

    return choose


def _depth(table: _SlotTable, row: tuple[int, ...]) -> int:
    choose = _chooser(table.depth_genes, row)
    tree = table.slot.tree
    try:
        while isinstance(tree, Pick):
            tree = tree.options[choose(tree.gene)]
        return int(build(_part(tree, "depth"), choose))
    except _NoChoiceError:
        raise ValueError(f"{table.slot.path}.depth: an active gene has no choice (-1)") from None


def _rounded_up(count: int) -> int:
    """The next power of two: tables grow rarely."""
    return 1 << max(count - 1, 1).bit_length()
