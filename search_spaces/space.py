"""A search space: an architecture document with choices in it, as a value with exact operations.

A genotype is an int64 vector with one entry a gene: the index of the chosen option, -1 where the gene is
inactive. Populations are (N, num_genes) matrices. Architectures are what genotypes decode to; several
genotypes may decode to one (a run may be split among neighbours in several ways), and the canonical one is
the first of them in lexicographic order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.architecture import DEFAULT_RESOLUTION, Architecture, Recipe, Stage
from search_spaces.coincidence import Redundancies, redundancies
from search_spaces.counting import Chain, chosen_value, read_genes
from search_spaces.limits import InfeasibleError, Limit
from search_spaces.matching import Matcher, Slot
from search_spaces.physical import PhysicalCounter, physical_feature_names, physical_features
from search_spaces.population import CostCounter, Costs, PopulationCounts
from search_spaces.rules import Rule, run_fields
from search_spaces.schema import RunValue
from search_spaces.tree import Const, Gene, Pick, Record, Tree, build, genes_of

Genes = npt.NDArray[np.int64]

MAX_BATCHES = 50
MAX_ATTEMPTS = 100
MAX_UNIFORM_ATTEMPTS = 10_000
MAX_CACHED = 200_000
_MIN_BATCH = 1_024
_ABSENT = RunValue(0, 1, None)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Space:
    """A set of architectures that can be counted, drawn from, searched in. Equal trees are equal spaces."""

    name: str
    fixed: Record
    slots: tuple[Slot, ...]
    genes: tuple[Gene, ...]
    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    recipe: Recipe = field(default_factory=Recipe)
    seeds: tuple[Architecture, ...] = ()
    notes: str | None = field(default=None, compare=False)
    _block_cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    # --- size and membership -----------------------------------------------------------------------------

    @cached_property
    def chain(self) -> Chain:
        """The trees and rules, for exact counting and drawing."""
        return Chain(self.fixed, tuple(slot.tree for slot in self.slots), self.slots, self.rules, self.genes)

    @cached_property
    def size(self) -> int:
        """The number of genotypes that obey rules and requirements; limits are not counted.

        Also the number of architectures where `size_is_exact`; elsewhere an upper bound of it.
        """
        return self.chain.size()

    @property
    def size_is_exact(self) -> bool:
        """Whether every genotype is another architecture; if not, see `coincidences` and `inert_choices`."""
        return not (self.coincidences or self.inert_choices)

    @property
    def resolution(self) -> int:
        """Pixels at which costs are stated and limits apply: the recipe's evaluation resolution, else 224."""
        return self.recipe.eval_resolution or DEFAULT_RESOLUTION

    @property
    def coincidences(self) -> tuple[tuple[str, str], ...]:
        """Pairs of runs that can be equal, and so merge or stand in for each other."""
        return self._redundancies.coincidences

    @property
    def inert_choices(self) -> tuple[str, ...]:
        """Choices that some networks do not feel: there, all their options make one architecture."""
        return self._redundancies.inert_choices

    @cached_property
    def _redundancies(self) -> Redundancies:
        return redundancies(self.fixed, self.slots, self.genes)

    def contains(self, arch: Architecture) -> bool:
        """Whether some genotype that obeys rules and limits decodes to `arch`."""
        return self._find(arch)[0] is not None

    def explain(self, arch: Architecture) -> str | None:
        """Where `arch` departs from the space, at the deepest place; None exactly when it is a member."""
        return self._find(arch)[1]

    def encode(self, arch: Architecture) -> Genes:
        """The canonical genotype of a member: the lexicographically first that decodes to it.

        Raises:
            ValueError: not a member; the text is `explain`'s.
        """
        genes, reason = self._find(arch)
        if genes is None:
            raise ValueError(f"{arch.name or arch.digest[:12]} is not in the space {self.name}: {reason}")
        return genes

    def _find(self, arch: Architecture) -> tuple[Genes | None, str | None]:
        found = self._matcher.first(arch)
        if found is None:
            return None, self._matcher.explain(arch)
        reasons = (limit.refusal(arch, self.resolution) for limit in self.limits)
        reason = next((reason for reason in reasons if reason is not None), None)
        return (np.asarray(found, dtype=np.int64), None) if reason is None else (None, reason)

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.fixed, self.slots, self.genes, self.rules)

    def broken_rule(self, genes: Genes) -> str | None:
        """The first rule that a genotype breaks, as a sentence; None when it obeys all."""
        row = genes.tolist()
        runs = [self._run(slot, row) for slot in self.slots] if self.rules else []
        for rule in self.rules:
            state: Any = rule.start
            for slot, run in zip(self.slots, runs, strict=True):
                state = rule.step(state, slot, None if run.depth == 0 else run_fields(run, rule.paths))
                if state is None:
                    return f"{slot.path}: breaks the rule that {rule}"
            if not rule.accepts(state):
                return f"breaks the rule that {rule}"
        return None

    # --- genes to architectures ----------------------------------------------------------------------------

    def decode(self, genes: Genes) -> Architecture:
        """The architecture of one genotype; entries of inactive genes are not looked at.

        Raises:
            ValueError: wrong length, an entry out of range, or an active gene without a choice.
        """
        row: list[int] = self._checked(genes).tolist()
        fixed = build(self.fixed, lambda gene: self._option(row, gene))
        stages = []
        pending, stage = 1, -1
        for slot in self.slots:
            if slot.stage != stage:
                stage, pending = slot.stage, slot.stride
            run = self._run(slot, row)
            if run.depth:
                stages.append(Stage(stride=pending, depth=run.depth, width=run.width, block=run.block))
                pending = 1
        return Architecture(stages=tuple(stages), recipe=self.recipe, **fixed)

    def _checked(self, genes: Genes) -> Genes:
        genes = np.asarray(genes)
        if genes.shape != (len(self.genes),) or not np.issubdtype(genes.dtype, np.integer):
            raise ValueError(
                f"a genotype of {self.name} is {len(self.genes)} integers,"
                f" got shape {genes.shape}, {genes.dtype}"
            )
        return genes

    def _option(self, row: Sequence[int], gene: int) -> int:
        option = row[gene]
        if not 0 <= option < len(self.genes[gene].labels):
            kind = self.genes[gene]
            raise ValueError(f"{kind.site}: option {option} does not exist; 0 to {len(kind.labels) - 1} do")
        return option

    def _run(self, slot: Slot, row: Sequence[int]) -> RunValue:
        """The run of a slot; absent ones have depth 0 and the options of their other genes are not read."""
        tree = slot.tree
        while isinstance(tree, Pick):
            tree = tree.options[self._option(row, tree.gene)]
        assert isinstance(tree, Record)
        depth = build(tree.get("depth"), lambda gene: self._option(row, gene))
        if depth == 0:
            return _ABSENT
        width = build(tree.get("width"), lambda gene: self._option(row, gene))
        key = (slot.slot, *[row[gene] for gene in self._block_genes[slot.slot]])
        block = self._block_cache.get(key)
        if block is None:
            block = build(tree.get("block"), lambda gene: self._option(row, gene))
            if len(self._block_cache) < MAX_CACHED:
                self._block_cache[key] = block
        return RunValue(depth, width, block)

    @cached_property
    def _block_genes(self) -> tuple[tuple[int, ...], ...]:
        """For each slot the genes that decide its block: with a choice between whole runs, all of them."""
        trees = (
            slot.tree.get("block") if isinstance(slot.tree, Record) else slot.tree for slot in self.slots
        )
        return tuple(tuple(sorted(set(genes_of(tree)))) for tree in trees)

    # --- drawing -------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, size: int | None = None, *, uniform: bool = False) -> Genes:
        """Draw one genotype, or a (size, num_genes) matrix, among those that obey rules and limits.

        Each gene is uniform over the options that can still be completed; with `uniform`, every
        architecture is equally likely instead, and comes as its canonical genotype.

        Raises:
            InfeasibleError: the limits leave nothing that bounded sampling could find.
            ValueError: the rules leave nothing; or, with `uniform`, far more genotypes than architectures.
        """
        count = 1 if size is None else size
        if not self.limits:
            drawn = self._draw(rng, count, uniform=uniform)
        else:
            drawn = self._draw_within_limits(rng, count, uniform=uniform)
        return drawn[0] if size is None else drawn

    def _draw(self, rng: np.random.Generator, count: int, *, uniform: bool) -> Genes:
        if self.rules or uniform:
            draw = self._draw_architecture if uniform else partial(self.chain.draw, uniform=False)
            rows = [draw(rng) for _ in range(count)]
            return np.stack(rows) if rows else np.empty((0, len(self.genes)), dtype=np.int64)
        options = [len(gene.labels) for gene in self.genes]
        genes = rng.integers(0, options, size=(count, len(options)), dtype=np.int64)
        genes[~self.active(genes)] = -1
        return genes

    def _draw_architecture(self, rng: np.random.Generator) -> Genes:
        """A uniform canonical genotype: uniform genotypes are drawn until one is canonical."""
        for _ in range(MAX_UNIFORM_ATTEMPTS):
            genes = self.chain.draw(rng, uniform=True)
            if self.size_is_exact or self._matcher.first(self.decode(genes)) == tuple(genes.tolist()):
                return genes
        merging = ", ".join(map(" and ".join, self.coincidences)) or "none"
        raise ValueError(
            f"none of {MAX_UNIFORM_ATTEMPTS:,} genotypes of {self.name} was its architecture's first: runs"
            f" can merge ({merging}), choices make no difference ({', '.join(self.inert_choices) or 'none'});"
            " sample without uniform=True"
        )

    def _draw_within_limits(self, rng: np.random.Generator, count: int, *, uniform: bool) -> Genes:
        kept: list[Genes] = []
        tried = accepted = 0
        nearest: list[str] = []
        for _ in range(MAX_BATCHES):
            batch = self._draw(rng, max(_MIN_BATCH, count), uniform=uniform)
            allowed = self.within_limits(batch)
            tried += len(batch)
            accepted += int(allowed.sum())
            kept.append(batch[allowed])
            if accepted >= count:
                return np.concatenate(kept)[:count]
            nearest = self._nearest(batch)
        raise InfeasibleError(
            f"{accepted} of {tried:,} sampled members of {self.name} are within the limits"
            f" ({'; '.join(map(str, self.limits))}), {count} are needed; nearest: {', '.join(nearest)}"
        )

    def _nearest(self, batch: Genes) -> list[str]:
        nearest = []
        for limit in self.limits:
            values = getattr(self.costs(batch, limit.resolution, limit.num_classes), limit.cost)
            bounds = [bound for bound in (limit.low, limit.high) if bound is not None]
            distance = np.min([np.abs(values - bound) for bound in bounds], axis=0)
            nearest.append(f"{limit.cost} {int(values[np.argmin(distance)]):,}")
        return nearest

    def within_limits(self, genes: Genes) -> npt.NDArray[np.bool_]:
        """Which rows of a population are within every limit."""
        allowed = np.ones(len(genes), dtype=bool)
        for limit in self.limits:
            allowed &= limit.allows(
                getattr(self.costs(genes, limit.resolution, limit.num_classes), limit.cost)
            )
        return allowed

    def without_limits(self) -> "Space":
        """The same space with no bounds on costs."""
        return replace(self, limits=())

    def active(self, genes: Genes) -> npt.NDArray[np.bool_]:
        """Which genes some present part of each genotype reads; every entry of `genes` must be a choice."""
        active = np.zeros(genes.shape, dtype=bool)

        def visit(tree: Tree, mask: npt.NDArray[np.bool_]) -> None:
            if isinstance(tree, Pick):
                active[:, tree.gene] |= mask
                for index, option in enumerate(tree.options):
                    if not isinstance(option, Const):
                        visit(option, mask & (genes[:, tree.gene] == index))
            elif isinstance(tree, Record):
                for key, subtree in tree.fields:
                    visit(subtree, mask)
                    if key == "depth":
                        mask = mask & (_integers(subtree, genes) > 0)

        everywhere = np.ones(len(genes), dtype=bool)
        visit(self.fixed, everywhere)
        for slot in self.slots:
            visit(slot.tree, everywhere)
        return active

    # --- variation -----------------------------------------------------------------------------------------

    def mutate(self, genes: Genes, rng: np.random.Generator, *, changes: int = 1) -> Genes:
        """Redraw `changes` active genes to other options, obeying rules and limits.

        Genes that become active keep the option that stood at the same place before (a change of op does
        not forget the kernel), else are drawn. When no admissible change is found in a bounded number of
        attempts, the genotype comes back as it was.
        """
        genes = self._checked(genes)
        mutable = [
            gene for gene in range(len(self.genes)) if genes[gene] >= 0 and len(self.genes[gene].labels) > 1
        ]
        for _ in range(MAX_ATTEMPTS if mutable else 0):
            forced = {}
            for gene in rng.choice(mutable, size=min(changes, len(mutable)), replace=False):
                shift = int(rng.integers(1, len(self.genes[gene].labels)))
                forced[int(gene)] = (int(genes[gene]) + shift) % len(self.genes[gene].labels)
            child = self._complete([genes], forced, rng)
            if self.is_admissible(child):
                return child
        return genes.copy()

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Take each gene from either parent, obeying rules and limits; `first` comes back if that fails."""
        parents = [self._checked(first), self._checked(second)]
        for _ in range(MAX_ATTEMPTS):
            takes_second = rng.random(len(self.genes)) < 0.5
            forced = {
                gene: int(parents[int(takes)][gene])
                for gene, takes in enumerate(takes_second)
                if parents[int(takes)][gene] >= 0
            }
            child = self._complete(parents, forced, rng)
            if self.is_admissible(child):
                return child
        return parents[0].copy()

    def _complete(self, parents: list[Genes], forced: Mapping[int, int], rng: np.random.Generator) -> Genes:
        """A genotype with the forced options where they are active, the rest from the parents, else drawn."""
        remembered: dict[str, str] = {}
        for parent in reversed(parents):
            for gene in np.flatnonzero(parent >= 0).tolist():
                remembered[self.genes[gene].column] = self.genes[gene].labels[parent[gene]]

        def choose(gene: int) -> int:
            if gene in forced:
                return forced[gene]
            for parent in parents:
                if parent[gene] >= 0:
                    return int(parent[gene])
            labels = self.genes[gene].labels
            label = remembered.get(self.genes[gene].column)
            return labels.index(label) if label in labels else int(rng.integers(len(labels)))

        child = np.full(len(self.genes), -1, dtype=np.int64)
        given: dict[int, int] = {}
        for tree in (self.fixed, *(slot.tree for slot in self.slots)):
            for gene in read_genes(tree, given):
                if gene not in given:
                    given[gene] = choose(gene)
                child[gene] = given[gene]
        return child

    def is_admissible(self, genes: Genes) -> bool:
        """Whether a genotype, whole and of this space, obeys rules and limits."""
        return self.broken_rule(genes) is None and bool(self.within_limits(genes[None])[0])

    # --- populations ---------------------------------------------------------------------------------------

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of `features`: place=option, shared between the branches that a place occurs in."""
        names = (f"{gene.column}={label}" for gene in self.genes for label in gene.labels)
        return tuple(dict.fromkeys(names))

    def features(self, genes: Genes) -> npt.NDArray[np.float32]:
        """One-hot features of a population, (N, len(feature_names)); inactive genes are all zero."""
        columns = {name: index for index, name in enumerate(self.feature_names)}
        matrix = np.zeros((len(genes), len(columns)), dtype=np.float32)
        for index, gene in enumerate(self.genes):
            for option, label in enumerate(gene.labels):
                matrix[genes[:, index] == option, columns[f"{gene.column}={label}"]] = 1.0
        return matrix

    def costs(self, genes: Genes, resolution: int | None = None, num_classes: int = 1000) -> Costs:
        """Exact costs of a population, equal to `cost` of each decoded member.

        Each distinct run is costed once in each of its surroundings; see `search_spaces.population`.

        Raises:
            ValueError: a resolution or class count below 1, or genes that decode to nothing.
        """
        totals = self._population.totals(*self._counted(genes, resolution, num_classes))
        return Costs(*np.ascontiguousarray(totals.T))

    @cached_property
    def physical_feature_names(self) -> tuple[str, ...]:
        """Columns of `physical_features`: totals of the network, then the same of each run."""
        return physical_feature_names(self.slots)

    def physical_features(
        self, genes: Genes, resolution: int | None = None, num_classes: int = 1000
    ) -> npt.NDArray[np.float64]:
        """What a device has to do for one image, (N, len(physical_feature_names)).

        See `search_spaces.physical`. Counts as they are, not scaled; columns are the
        same for every resolution.

        Raises:
            ValueError: a resolution or class count below 1, or genes that decode to nothing.
        """
        return physical_features(self._workloads.parts(*self._counted(genes, resolution, num_classes)))

    def _counted(self, genes: Genes, resolution: int | None, num_classes: int) -> tuple[Genes, int, int]:
        side = self.resolution if resolution is None else resolution
        if side < 1 or num_classes < 1:
            raise ValueError(f"resolution {side} and num_classes {num_classes} must be at least 1")
        return np.asarray(genes), side, num_classes

    @cached_property
    def _population(self) -> PopulationCounts:
        return PopulationCounts(self.fixed, self.slots, self.genes, CostCounter())

    @cached_property
    def _workloads(self) -> PopulationCounts:
        return PopulationCounts(self.fixed, self.slots, self.genes, PhysicalCounter())


def _integers(tree: Tree, genes: Genes) -> Genes:
    """The value of a tree of integers for each row of a population."""
    if isinstance(tree, Pick):
        values = np.zeros(len(genes), dtype=np.int64)
        for index, option in enumerate(tree.options):
            mask = genes[:, tree.gene] == index
            values[mask] = option.value if isinstance(option, Const) else _integers(option, genes)[mask]
        return values
    return np.full(len(genes), chosen_value(tree, {}), dtype=np.int64)
