"""Laws that hold in every space, tried on random ones against brute force."""

import itertools
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_spaces import Document, expand, obeys, space_documents, without_unused_names

from search_spaces.architecture import Architecture, cost
from search_spaces.document import DocumentError, architecture_from_document
from search_spaces.nodes import parse_yaml
from search_spaces.space import Space
from search_spaces.space_document import _read_space, load_space, space
from search_spaces.tree import Pick, Tree

seeds = st.integers(0, 2**32 - 1)


def with_fitting_rules(document: Document) -> Document:
    """The document with those of its rules that speak of something that can occur in it."""
    fitting = []
    for rule in document.get("rules", []):
        try:
            space({**document, "rules": [rule]})
        except DocumentError as error:
            known = ("never occurs", "neither order nor free lists")
            assert any(text in str(error) for text in known)  # noqa: PT017
        else:
            fitting.append(rule)
    return {**document, "rules": fitting}


random_documents = space_documents().map(with_fitting_rules)


def genotypes(found: Space) -> list[tuple[int, ...]]:
    """Every genotype that obeys the rules, by walking the trees: an absent run reads only its depth."""

    def walk(tree: Tree, chosen: dict[int, int]) -> Any:
        if isinstance(tree, Pick):
            options = [chosen[tree.gene]] if tree.gene in chosen else range(len(tree.options))
            for option in options:
                yield from walk(tree.options[option], {**chosen, tree.gene: option})
        elif hasattr(tree, "fields"):
            yield from walk_fields(tree, 0, chosen)
        else:
            yield tree.value, chosen

    def walk_fields(tree: Any, index: int, chosen: dict[int, int]) -> Any:
        if index == len(tree.fields):
            yield None, chosen
            return
        key, subtree = tree.fields[index]
        for value, after in walk(subtree, chosen):
            if key == "depth" and value == 0:
                yield None, after
            else:
                yield from walk_fields(tree, index + 1, after)

    states: list[dict[int, int]] = [{}]
    for tree in (found.fixed, *(slot.tree for slot in found.slots)):
        states = [after for before in states for _, after in walk(tree, before)]
    rows = [tuple(state.get(gene, -1) for gene in range(len(found.genes))) for state in states]
    return [row for row in rows if found.broken_rule(as_genes(row)) is None]


def as_genes(row: tuple[int, ...]) -> np.ndarray:
    return np.array(row, dtype=np.int64)


@given(random_documents)
@settings(max_examples=30)
def test_a_space_holds_exactly_what_its_document_writes_out(document):
    found = space(document)
    written = [plain for plain in expand(document) if obeys(plain, document["rules"])]
    assert found.size == len(written)
    digests = {architecture_from_document(plain).digest for plain in written}
    assert {found.decode(as_genes(row)).digest for row in genotypes(found)} == digests


@given(random_documents)
@settings(max_examples=30)
def test_encode_gives_the_first_genotype_of_each_architecture(document):
    found = space(document)
    rows = genotypes(found)
    assert len(rows) == len(set(rows)) == found.size
    first: dict[Architecture, tuple[int, ...]] = {}
    for row in sorted(rows):
        first.setdefault(found.decode(as_genes(row)), row)
    for arch, row in first.items():
        encoded = found.encode(arch)
        assert tuple(encoded.tolist()) == row
        assert found.decode(encoded) == arch
        assert found.contains(arch)
        assert found.explain(arch) is None
    if found.size_is_exact:
        assert len(first) == found.size


@given(random_documents, random_documents)
@settings(max_examples=30)
def test_explain_is_silent_exactly_for_members(document, other):
    found, others = space(document), space(other)
    members = {found.decode(as_genes(row)).digest for row in genotypes(found)}
    assume(others.size)
    for genes in others.sample(np.random.default_rng(0), 10):
        arch = others.decode(genes)
        assert found.contains(arch) == (arch.digest in members) == (found.explain(arch) is None)
        if arch.digest not in members:
            assert found.explain(arch) != ""
            with pytest.raises(ValueError, match="is not in the space random"):
                found.encode(arch)


@given(random_documents, st.integers(1, 70), st.integers(1, 50))
@settings(max_examples=30)
def test_costs_of_a_population_are_those_of_its_members(document, resolution, num_classes):
    found = space(document)
    assume(found.size)
    rows = np.array(genotypes(found)[:200], dtype=np.int64)
    counted = found.costs(rows, resolution, num_classes)
    for index, row in enumerate(rows):
        expected = cost(found.decode(row), resolution, num_classes)
        assert tuple(int(column[index]) for column in counted) == tuple(expected)


@given(random_documents, seeds, st.booleans())
@settings(max_examples=30)
def test_samples_are_members(document, seed, uniform):
    found = space(document)
    rng = np.random.default_rng(seed)
    if found.size == 0:
        with pytest.raises(ValueError, match="the rules leave no architecture"):
            found.sample(rng)
        return
    rows = set(genotypes(found))
    drawn = found.sample(rng, 20, uniform=uniform)
    assert {tuple(row) for row in drawn.tolist()} <= rows
    assert tuple(found.sample(rng).tolist()) in rows
    assert found.sample(rng, 0, uniform=uniform).shape == (0, len(found.genes))
    if uniform:
        assert all(np.array_equal(found.encode(found.decode(row)), row) for row in drawn)


@given(random_documents, seeds)
@settings(max_examples=30)
def test_children_are_members_and_keep_what_stood_at_the_same_place(document, seed):
    found = space(document)
    assume(found.size)
    rng = np.random.default_rng(seed)
    rows = set(genotypes(found))
    first, second = found.sample(rng, 2)
    for parents, child in (
        ([first], found.mutate(first, rng)),
        ([first, second], found.crossover(first, second, rng)),
    ):
        assert tuple(child.tolist()) in rows
        known = [labels_by_column(found, parent) for parent in parents]
        changed = 0
        for gene, option in enumerate(child.tolist()):
            column, labels = found.genes[gene].column, found.genes[gene].labels
            inherited = {label for parent in known for label in parent.get(column, ())} & set(labels)
            if option >= 0 and inherited and labels[option] not in inherited:
                changed += 1
        assert changed <= (1 if len(parents) == 1 else 0)


def labels_by_column(found: Space, genes: np.ndarray) -> dict[str, set[str]]:
    columns: dict[str, set[str]] = {}
    for gene, option in zip(found.genes, genes.tolist(), strict=True):
        if option >= 0:
            columns.setdefault(gene.column, set()).add(gene.labels[option])
    return columns


@given(random_documents, seeds)
@settings(max_examples=25)
def test_features_have_one_column_for_a_place_whatever_the_branch(document, seed):
    found = space(document)
    assume(found.size)
    drawn = found.sample(np.random.default_rng(seed), 8)
    matrix = found.features(drawn)
    assert matrix.shape == (8, len(found.feature_names))
    assert len(set(found.feature_names)) == len(found.feature_names)
    for row, genes in zip(matrix, drawn, strict=True):
        names = {name for name, value in zip(found.feature_names, row.tolist(), strict=True) if value}
        expected = labels_by_column(found, genes)
        assert names == {f"{column}={label}" for column, labels in expected.items() for label in labels}


@given(random_documents)
@settings(max_examples=30)
def test_yaml_and_python_make_the_same_space(document):
    text = yaml.safe_dump(document, sort_keys=False)
    assert _read_space(parse_yaml(text, "random.yaml")) == space(document)


@given(random_documents, seeds)
@settings(max_examples=30)
def test_architectures_read_back_from_their_documents(document, seed):
    found = space(document)
    assume(found.size)
    arch = found.decode(found.sample(np.random.default_rng(seed)))
    again = architecture_from_document(arch.to_document())
    assert again == arch
    assert again.digest == arch.digest
    assert again.to_document() == arch.to_document()


@given(space_documents(with_rules=False))
@settings(max_examples=20)
def test_a_space_of_single_options_holds_one_architecture(document):
    def single(node: Any) -> Any:
        if isinstance(node, dict):
            if set(node) == {"one_of"}:
                options = [option for option in node["one_of"] if option != 0]  # 0: an absent run
                return {"one_of": [single(options[-1])]}
            if set(node) == {"int"}:
                return {"int": [node["int"][1]] * 2}
            return {key: single(value) for key, value in node.items()}
        return [single(item) for item in node] if isinstance(node, list) else node

    found = space(without_unused_names(single(document)))
    assert found.size == 1
    assert np.array_equal(found.sample(np.random.default_rng(0)), as_genes(genotypes(found)[0]))


@pytest.mark.parametrize("name", ["tiny", "mnasnet", "effnetv2"])
def test_the_shipped_spaces_obey_the_laws(name):
    found = load_space(name)
    rng = np.random.default_rng(7)
    drawn = found.sample(rng, 60)
    counted = found.costs(drawn)
    for index, genes in enumerate(drawn):
        arch = found.decode(genes)
        canonical = found.encode(arch)
        assert found.decode(canonical) == arch
        assert np.array_equal(found.encode(found.decode(canonical)), canonical)
        assert tuple(canonical.tolist()) <= tuple(genes.tolist())
        assert tuple(int(column[index]) for column in counted) == tuple(cost(arch, found.resolution))
        child = found.mutate(genes, rng, changes=2)
        assert found.contains(found.decode(child))
        assert found.contains(found.decode(found.crossover(genes, child, rng)))
    for first, second in itertools.pairwise(drawn):
        assert (found.decode(first) == found.decode(second)) == np.array_equal(
            found.encode(found.decode(first)), found.encode(found.decode(second))
        )
