"""What was chosen, place by place: read off the space where it can be, off the documents where not."""

import json

import numpy as np
import pytest
from given import candidate, result
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import LAW

from results.choices import choices, load_searched_space
from search_spaces.space_document import load_space

TINY = load_space("tiny")
FEWER = settings(LAW, max_examples=20)


def results_of(archs):
    return [
        result(number, of=candidate(number, json.dumps(arch.to_document()), arch.digest))
        for number, arch in enumerate(archs, 1)
    ]


def sampled(count, seed=0):
    return [TINY.decode(genes) for genes in TINY.sample(np.random.default_rng(seed), count)]


def at(document, path):
    """The value that a document has at a place such as `stages[1].block.kernel`; None where it has none."""
    for part in path.replace("[", ".[").split("."):
        key = int(part[1:-1]) if part.startswith("[") else part
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return None if isinstance(document, dict | list) else document


@FEWER
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_read_off_documents_each_cell_is_what_stands_there(seed, count):
    results = results_of(sampled(count, seed))
    found = choices(results, None)
    assert not found.is_of_space
    for name, cells in found.columns.items():
        there = [at(each.architecture, name) for each in results]
        assert list(cells) == [None if value is None else str(value) for value in there], name
        assert len(set(cells)) > 1, "a place where all agree says nothing"


@FEWER
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_read_off_the_space_each_cell_is_the_label_of_the_gene(seed, count):
    archs = sampled(count, seed)
    found = choices(results_of(archs), TINY)
    assert found.is_of_space
    for row, arch in enumerate(archs):
        chosen = {
            gene.column: gene.labels[value]
            for gene, value in zip(TINY.genes, TINY.encode(arch), strict=True)
            if value >= 0
        }
        for name, cells in found.columns.items():
            assert cells[row] == chosen.get(name)


@FEWER
@given(st.integers(0, 10_000), st.booleans())
def test_codes_are_places_among_the_options(seed, with_space):
    found = choices(results_of(sampled(6, seed)), TINY if with_space else None)
    assert found.columns.keys() == found.options.keys()
    for name, cells in found.columns.items():
        codes = found.codes(name)
        assert [None if code < 0 else found.options[name][code] for code in codes] == list(cells)
        assert set(found.options[name]) == set(cells) - {None}, "no option that nobody has"


def test_options_of_a_space_stand_in_its_order_and_numbers_by_size():
    genes = {gene.column: gene.labels for gene in TINY.genes}
    by_space = choices(results_of(sampled(40)), TINY)
    for name, options in by_space.options.items():
        assert list(options) == [label for label in genes[name] if label in options]
    widths = choices(results_of(sampled(40)), None).options["stages[0].width"]
    assert [int(width) for width in widths] == sorted(int(width) for width in widths)
    assert len(widths) > 1


def test_a_network_that_is_not_of_the_space_sends_all_to_their_documents():
    (stranger,) = (load_space("mnasnet").decode(genes) for genes in load_space("mnasnet").sample(
        np.random.default_rng(0), 1
    ))  # fmt: skip
    found = choices(results_of([*sampled(3), stranger]), TINY)
    assert not found.is_of_space
    assert found.columns["stages[0].width"][3] == str(stranger.stages[0].width)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"config": {"space": "tiny"}}, "tiny"),
        ({"config": {"space": "nowhere.yaml"}}, None),
        ({"config": {"space": {"schema": "nas.space/1"}}}, None),
        ({"config": None}, None),
        ({}, None),
    ],
)
def test_the_searched_space_is_loaded_by_its_name_or_not_at_all(config, name):
    found = load_searched_space(config)
    assert (found.name if found else None) == name
