"""Counting and drawing genotypes exactly, rules included.

A space is a chain of trees (the fixed parts, then one tree a run) that share only the state of the rules
and the shared genes. For each assignment of the shared genes the runs are independent given the rules'
states, so the number of ways to complete a prefix is a small dynamic programme over those states. Counts
are Python integers and never overflow.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search_spaces.rules import MAPPING, Place, Rule
from search_spaces.tree import Const, Gene, Pick, Record, Tree, field_values, genes_of

MAX_SHARED_ASSIGNMENTS = 100_000
MAX_REMEMBERED = 100_000

Given = Mapping[int, int]
RunKey = frozenset[tuple[str, Any]] | None
"""What the rules see of a run; None: absent."""
Symbol = tuple[RunKey, int]
"""A run as the rules see it, and the set of shared genes it reads, as bits."""
_NOTHING: RunKey = frozenset()
_ABSENT: RunKey = frozenset({("depth", 0)})


@dataclass(frozen=True, slots=True)
class Chain:
    """The trees of a space in order, with the rules that bind them."""

    fixed: Tree
    runs: tuple[Tree, ...]
    places: tuple[Place, ...]
    rules: tuple[Rule, ...]
    genes: tuple[Gene, ...]
    _genes_of: dict[int, tuple[int, ...]] = field(default_factory=dict, compare=False)
    _symbols: dict[Any, dict[Symbol, int]] = field(default_factory=dict, compare=False)
    _weights: dict[Any, list[int]] = field(default_factory=dict, compare=False)
    _ways: dict[Any, int] = field(default_factory=dict, compare=False)
    _totals: dict[bool, dict[tuple[int, ...], int]] = field(default_factory=dict, compare=False)
    _beginnings: dict[bool, dict[tuple[int, ...], int]] = field(default_factory=dict, compare=False)

    @property
    def wanted(self) -> frozenset[str]:
        """The fields of a run that some rule reads."""
        return frozenset().union(*(rule.paths for rule in self.rules))

    @property
    def shared(self) -> tuple[int, ...]:
        """The shared genes."""
        return tuple(index for index, gene in enumerate(self.genes) if gene.shared)

    def size(self) -> int:
        """The number of genotypes that obey every rule.

        A shared gene that nothing reads is inactive: its options count once, as its first.
        """
        return sum(self.totals(exact=True).values())

    def totals(self, *, exact: bool) -> dict[tuple[int, ...], int]:
        """For each assignment of the shared genes, how many ways there are to complete it.

        With `exact`, an assignment counts only where every shared gene that is not read is at its first
        option, so that the sum counts each genotype once.

        Raises:
            ValueError: more assignments of shared genes than can be counted.
        """
        if exact not in self._totals:
            sizes = [len(self.genes[gene].labels) for gene in self.shared]
            if math.prod(sizes) > MAX_SHARED_ASSIGNMENTS:
                raise ValueError(
                    f"the shared choices have {math.prod(sizes):,} combinations, more than the"
                    f" {MAX_SHARED_ASSIGNMENTS:,} that can be counted; turn some into menus"
                )
            self._totals[exact] = {
                assignment: self._total(assignment, exact=exact)
                for assignment in itertools.product(*map(range, sizes))
            }
        return self._totals[exact]

    def _total(self, assignment: tuple[int, ...], *, exact: bool) -> int:
        given = dict(zip(self.shared, assignment, strict=True))
        start = tuple(rule.start for rule in self.rules)
        return sum(
            count * self.ways(0, start, mask, assignment, exact=exact)
            for (_, mask), count in self.symbols(-1, given).items()
        )

    def ways(
        self, index: int, states: tuple[Any, ...], mask: int, assignment: tuple[int, ...], *, exact: bool
    ) -> int:
        """The number of ways to complete runs `index`, `index + 1`, ... from these states of the rules."""
        if index == len(self.runs):
            accepted = all(rule.accepts(state) for rule, state in zip(self.rules, states, strict=True))
            unread_first = all(
                option == 0 or mask >> position & 1 for position, option in enumerate(assignment)
            )
            return int(accepted and (unread_first or not exact))
        key = (index, states, mask, assignment, exact)
        if key not in self._ways:
            given = dict(zip(self.shared, assignment, strict=True))
            total = 0
            for (run, read), count in self.symbols(index, given).items():
                following = self.step(index, states, run)
                if following is not None:
                    total += count * self.ways(index + 1, following, mask | read, assignment, exact=exact)
            self._ways[key] = total
        return self._ways[key]

    def step(self, index: int, states: tuple[Any, ...], run: RunKey) -> tuple[Any, ...] | None:
        """The states of the rules after one more run; None when a rule is broken."""
        fields = None if run is None else dict(run)
        following = []
        for rule, state in zip(self.rules, states, strict=True):
            after = rule.step(state, self.places[index], fields)
            if after is None:
                return None
            following.append(after)
        return tuple(following)

    def symbols(self, index: int, given: Given) -> dict[Symbol, int]:
        """What tree `index` (-1: the fixed parts) can look like to the rules, with the number of ways."""
        tree = self.fixed if index < 0 else self.runs[index]
        if index not in self._genes_of:
            self._genes_of[index] = tuple(sorted(set(genes_of(tree))))
        key = (index, *(given.get(gene, -1) for gene in self._genes_of[index]))
        if key in self._symbols:
            return self._symbols[key]
        bits = {gene: 1 << position for position, gene in enumerate(self.shared)}
        wanted = self.wanted if index >= 0 else frozenset()
        symbols = _project(tree, "", wanted, given, bits, is_run=index >= 0)
        if len(self._symbols) < MAX_REMEMBERED:
            self._symbols[key] = symbols
        return symbols

    def draw(self, rng: np.random.Generator, *, uniform: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
        """One genotype: uniform over genotypes, or gene by gene over the options that can be completed.

        Raises:
            ValueError: the rules leave nothing.
        """
        genes = np.full(len(self.genes), -1, dtype=np.int64)
        assignment = self._draw_shared(rng, uniform=uniform)
        shared = dict(zip(self.shared, assignment, strict=True))
        states, mask = tuple(rule.start for rule in self.rules), 0
        for index in range(-1, len(self.runs)):
            given = dict(shared)
            for gene in _open_genes(self.fixed if index < 0 else self.runs[index], given):
                weights = self._weights_of(gene, index, states, mask, given, assignment, exact=uniform)
                given[gene] = _draw_option(rng, weights, uniform=uniform)
            ((run, read),) = self.symbols(index, given)
            for gene in read_genes(self.fixed if index < 0 else self.runs[index], given):
                genes[gene] = given[gene]
            mask |= read
            if index >= 0:
                states = self.step(index, states, run) or ()
        return genes

    def _draw_shared(self, rng: np.random.Generator, *, uniform: bool) -> tuple[int, ...]:
        beginnings = self._counted_beginnings(exact=uniform)
        if not beginnings[()]:
            raise ValueError("the rules leave no architecture in this space")
        chosen: tuple[int, ...] = ()
        for gene in self.shared:
            weights = [beginnings[*chosen, option] for option in range(len(self.genes[gene].labels))]
            chosen = (*chosen, _draw_option(rng, weights, uniform=uniform))
        return chosen

    def _counted_beginnings(self, *, exact: bool) -> dict[tuple[int, ...], int]:
        """For the first few shared genes, assigned, how many ways there are to complete them."""
        if exact not in self._beginnings:
            found: dict[tuple[int, ...], int] = defaultdict(int)
            for assignment, total in self.totals(exact=exact).items():
                for length in range(len(assignment) + 1):
                    found[assignment[:length]] += total
            self._beginnings[exact] = dict(found)
        return self._beginnings[exact]

    def _weights_of(
        self,
        gene: int,
        index: int,
        states: tuple[Any, ...],
        mask: int,
        given: Given,
        assignment: tuple[int, ...],
        *,
        exact: bool,
    ) -> list[int]:
        """For each option of a gene, the ways to complete what is `given` so far in tree `index` with it."""
        chosen = tuple(option for other, option in given.items() if not self.genes[other].shared)
        key = (gene, index, states, mask, chosen, assignment, exact)
        weights = self._weights.get(key)
        if weights is None:
            weights = [
                self._weight(index, states, mask, {**given, gene: option}, assignment, exact=exact)
                for option in range(len(self.genes[gene].labels))
            ]
            if len(self._weights) < MAX_REMEMBERED:
                self._weights[key] = weights
        return weights

    def _weight(
        self,
        index: int,
        states: tuple[Any, ...],
        mask: int,
        given: Given,
        assignment: tuple[int, ...],
        *,
        exact: bool,
    ) -> int:
        total = 0
        for (run, read), count in self.symbols(index, given).items():
            following = states if index < 0 else self.step(index, states, run)
            if following is not None:
                total += count * self.ways(index + 1, following, mask | read, assignment, exact=exact)
        return total


def _draw_option(rng: np.random.Generator, weights: Sequence[int], *, uniform: bool) -> int:
    """An option in proportion to its weight, or any of those with a weight. Weights may be huge integers."""
    possible = [option for option, weight in enumerate(weights) if weight]
    if not uniform:
        return possible[int(rng.integers(len(possible)))]
    total = sum(weights)
    threshold = rng.random()
    reached = 0.0
    for option in possible:
        reached += weights[option] / total
        if threshold < reached:
            return option
    return possible[-1]


def _project(
    tree: Tree, path: str, wanted: frozenset[str], given: Given, bits: Given, *, is_run: bool = False
) -> dict[Symbol, int]:
    """Count the ways a tree can look to the rules; `bits` are the shared genes' bits."""
    if isinstance(tree, Const):
        return {(frozenset(_seen_of_value(tree.value, path, wanted)), 0): 1}
    if isinstance(tree, Pick):
        bit = bits.get(tree.gene, 0)
        chosen = given.get(tree.gene)
        options = tree.options if chosen is None else (tree.options[chosen],)
        ways: dict[Symbol, int] = {}
        for option in options:
            for (run, mask), count in _project(option, path, wanted, given, bits, is_run=is_run).items():
                symbol = (run, mask | bit)
                ways[symbol] = ways.get(symbol, 0) + count
        return ways
    if is_run:
        return _project_run(tree, wanted, given, bits)
    ways = {(frozenset({(path, MAPPING)}) if path in wanted else _NOTHING, 0): 1}
    if f"{path}.op" in wanted and tree.tag is not None:
        ways = {(frozenset({(f"{path}.op", tree.tag)}), 0): 1}
    for key, subtree in tree.fields:
        ways = _product(ways, _project(subtree, f"{path}.{key}".lstrip("."), wanted, given, bits))
    return ways


def _seen_of_value(value: Any, path: str, wanted: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """What the rules see of a constant, which may be a whole specification."""
    fields = field_values(value)
    if path in wanted:
        yield path, value if fields is None else MAPPING
    for key, inner in (fields or {}).items():
        yield from _seen_of_value(inner, f"{path}.{key}", wanted)


def _project_run(tree: Record, wanted: frozenset[str], given: Given, bits: Given) -> dict[Symbol, int]:
    depths = _project(tree.get("depth"), "depth", frozenset({"depth"}), given, bits)
    present: dict[Symbol, int] = {}
    ways: dict[Symbol, int] = {}
    for (seen, mask), count in depths.items():
        if seen == _ABSENT:
            ways[None, mask] = ways.get((None, mask), 0) + count
        else:
            kept = seen if "depth" in wanted else _NOTHING
            present[kept, mask] = present.get((kept, mask), 0) + count
    if present:
        for key in ("width", "block"):
            present = _product(present, _project(tree.get(key), key, wanted, given, bits))
    for symbol, count in present.items():
        ways[symbol] = ways.get(symbol, 0) + count
    return ways


def _product(first: dict[Symbol, int], second: dict[Symbol, int]) -> dict[Symbol, int]:
    ways: dict[Symbol, int] = {}
    for (key, mask), count in first.items():
        for (other_key, other_mask), other_count in second.items():
            symbol = ((key or frozenset()) | (other_key or frozenset()), mask | other_mask)
            ways[symbol] = ways.get(symbol, 0) + count * other_count
    return ways


def _open_genes(tree: Tree, given: Given) -> Iterator[int]:
    """The genes still to be chosen, in order, each asked for once its parents are in `given`."""
    for gene in read_genes(tree, given):
        if gene not in given:
            yield gene


def read_genes(tree: Tree, given: Given) -> Iterator[int]:
    """The genes that are read under the choices in `given`, which may grow while this is iterated."""
    if isinstance(tree, Pick):
        yield tree.gene
        yield from read_genes(tree.options[given[tree.gene]], given)
    elif isinstance(tree, Record):
        for key, subtree in tree.fields:
            yield from read_genes(subtree, given)
            if key == "depth" and chosen_value(subtree, given) == 0:
                return


def chosen_value(tree: Tree, given: Given) -> Any:
    """The constant that a tree of choices between constants comes to; None for a record."""
    while isinstance(tree, Pick):
        tree = tree.options[given[tree.gene]]
    return tree.value if isinstance(tree, Const) else None
