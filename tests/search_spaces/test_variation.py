"""Variation of whole populations: the laws of `Space.mutate` and `Space.crossover`, for rows at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import space_documents

from search_spaces.limits import InfeasibleError
from search_spaces.space_document import load_space, space, space_names
from search_spaces.variation import Variation


@pytest.mark.parametrize("name", space_names())
def test_children_are_members_and_near_their_parents(name):
    found, rng = load_space(name), np.random.default_rng(0)
    parents = found.sample(rng, 60)
    changes = rng.integers(0, 4, size=60)
    mutated = Variation(found).mutate(parents, rng, changes=changes)
    crossed = Variation(found).crossover(parents, parents[::-1], rng)
    for child in (*mutated, *crossed):
        assert found.explain(found.decode(child)) is None
    both = (parents >= 0) & (mutated >= 0)
    redrawn = ((parents != mutated) & both).sum(axis=1)
    assert (redrawn <= changes).all()
    assert np.array_equal(mutated[changes == 0], parents[changes == 0])
    assert (redrawn > 0).mean() > 0.5


def test_a_gene_of_a_child_is_one_of_its_parents():
    """`mnasnet` has no conditional choices, so nothing else can be in a child."""
    found, rng = load_space("mnasnet"), np.random.default_rng(1)
    first, second = found.sample(rng, 50), found.sample(rng, 50)
    child = Variation(found).crossover(first, second, rng)
    assert ((child == first) | (child == second)).all()
    assert (child != first).any()
    assert (child != second).any()


def test_a_change_of_op_remembers_the_kernel():
    """In `tiny` every block of a stage has a kernel; after a change of op alone it is the parent's."""
    found, rng = load_space("tiny"), np.random.default_rng(2)
    parents = found.sample(rng, 400)
    children = Variation(found).mutate(parents, rng, changes=np.ones(400, dtype=np.int64))
    names = [gene.site for gene in found.genes]
    op, fused, plain = (
        names.index(f"stages[3].block{each}") for each in ("", ":fused_mbconv.kernel", ":mbconv.kernel")
    )
    changed = (parents[:, op] >= 0) & (children[:, op] >= 0) & (parents[:, op] != children[:, op])
    assert changed.sum() >= 3
    before, after = (np.maximum(rows[:, fused], rows[:, plain])[changed] for rows in (parents, children))
    assert np.array_equal(before, after)


def test_limits_and_rules_hold_for_children():
    free = load_space("tiny")
    bound = float(np.median(free.costs(free.sample(np.random.default_rng(0), 500)).params))
    from nas.objectives import parse_bounds, with_limits

    limited, rng = with_limits(free, parse_bounds([f"params<={bound}"])), np.random.default_rng(3)
    parents = limited.sample(rng, 200)
    children = Variation(limited).mutate(parents, rng, changes=np.full(200, 3))
    assert limited.within_limits(children).all()
    assert not free.costs(Variation(free).mutate(parents, rng, changes=np.full(200, 3))).params.max() <= bound


@given(space_documents(with_rules=False), st.integers(0, 10))
@settings(max_examples=15, deadline=None)
def test_children_of_any_space_are_members(document, seed):
    found, rng = space(document), np.random.default_rng(seed)
    try:
        parents = found.sample(rng, 6)
    except (InfeasibleError, ValueError):
        return
    variation = Variation(found)
    for child in (
        *variation.mutate(parents, rng, changes=np.full(6, 2)),
        *variation.crossover(parents, parents[::-1], rng),
    ):
        assert found.is_admissible(child)
        assert found.contains(found.decode(child))
