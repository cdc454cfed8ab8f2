"""Mutation and crossover of whole populations: what `Space.mutate` and `Space.crossover` do, rows at once.

A gene that becomes active keeps the option that stood at the same place in the parent (a change of op does
not forget the kernel), else is drawn. Children that break a rule or a limit are replaced by their first
parent.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from search_spaces.space import Genes, Space

Rows = npt.NDArray[np.bool_]


class Variation:
    """Draws children of members of one space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._options = np.array([len(gene.labels) for gene in space.genes], dtype=np.int64)

    @cached_property
    def _siblings(self) -> list[list[tuple[int, Genes]]]:
        """For each gene those that share its place, and what their options are among its own (-1: none)."""
        genes = self._space.genes
        found: list[list[tuple[int, Genes]]] = []
        for index, gene in enumerate(genes):
            siblings = []
            for other, sibling in enumerate(genes):
                if other != index and sibling.column == gene.column:
                    same = [gene.labels.index(x) if x in gene.labels else -1 for x in sibling.labels]
                    siblings.append((other, np.array([*same, -1], dtype=np.int64)))  # -1 maps to -1
            found.append(siblings)
        return found

    def mutate(self, parents: Genes, rng: np.random.Generator, *, changes: npt.NDArray[np.int64]) -> Genes:
        """A child of each row that differs in `changes[i]` of its active genes that have other options."""
        mutable = (parents >= 0) & (self._options > 1)
        order = np.where(mutable, rng.random(parents.shape), 2.0)
        rank = order.argsort(axis=1).argsort(axis=1)
        chosen = mutable & (rank < changes[:, None])
        shift = rng.integers(1, np.maximum(self._options, 2), size=parents.shape)
        mutated = np.where(chosen, (parents + shift) % self._options, parents)
        return self._completed(mutated, parents, rng)

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """A child of each pair of rows: each gene from either parent, from the other where it is inactive."""
        takes_second = rng.random(first.shape) < 0.5
        mixed = np.where(takes_second, second, first)
        mixed = np.where(mixed < 0, np.where(takes_second, first, second), mixed)
        return self._completed(mixed, first, rng)

    def _completed(self, wanted: Genes, parents: Genes, rng: np.random.Generator) -> Genes:
        whole = wanted.copy()
        drawn = rng.integers(0, self._options, size=wanted.shape)
        for gene in np.flatnonzero((wanted < 0).any(axis=0)).tolist():
            filled = whole[:, gene]
            for sibling, options in self._siblings[gene]:
                remembered = options[parents[:, sibling]]
                filled = np.where(filled < 0, remembered, filled)
            whole[:, gene] = np.where(filled < 0, drawn[:, gene], filled)
        children: Genes = np.where(self._space.active(whole), whole, -1)
        return np.where(self._allowed(children)[:, None], children, parents)

    def _allowed(self, children: Genes) -> Rows:
        allowed: Rows = np.ones(len(children), dtype=bool)
        if self._space.rules:
            allowed = np.array([self._space.broken_rule(child) is None for child in children], dtype=bool)
        if self._space.limits:
            allowed[allowed] = self._space.within_limits(children[allowed])
        return allowed
