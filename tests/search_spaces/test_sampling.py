"""How members are drawn: the two distributions, rules by completion counts, limits by bounded rejection."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces.architecture import cost
from search_spaces.choice import int_range, one_of, ref, use
from search_spaces.limits import InfeasibleError
from search_spaces.space_document import load_space, space


def document(*stages, **extra):
    return {"name": "small", "stem": {"width": 8}, "head": {"width": 16}, "stages": list(stages), **extra}


def mbconv(**fields):
    return {"op": "mbconv", "expand": 1, **fields}


def optional_run(**block):
    return {"depth": int_range(0, 2), "width": 8, "block": mbconv(**block)}


def test_uniform_sampling_gives_every_architecture_the_same_chance():
    """Equal neighbours, inert choices, a shared choice and a rule: 32 genotypes fold into fewer networks."""
    found = space(
        document(
            {"stride": 1, "runs": [optional_run(act=ref("act")), optional_run()]},
            {
                "stride": 2,
                "depth": 1,
                "width": one_of(8, 16),
                "block": {
                    "op": "fused_mbconv",
                    "expand": one_of(1, 2),
                    "se": one_of("none", {"ratio": 0.25}),
                },
            },
            choices={"act": one_of("silu", "relu")},
            rules=[{"forbid": {"width": 16, "block.expand": 2}}],
        )
    )
    assert not found.size_is_exact
    drawn = Counter(
        found.decode(genes).digest for genes in found.sample(np.random.default_rng(3), 1_500, uniform=True)
    )
    everything = {found.decode(genes).digest for genes in found.sample(np.random.default_rng(4), 500)}
    assert set(drawn) == everything
    assert len(drawn) < found.size
    assert chisquare(list(drawn.values())).pvalue > 0.001


def test_default_sampling_is_uniform_gene_by_gene():
    found = space(
        document({"depth": int_range(1, 4), "width": one_of(8, 16), "block": mbconv(kernel=one_of(3, 5))})
    )
    drawn = found.sample(np.random.default_rng(5), 4_000)
    for column in range(len(found.genes)):
        counts = np.bincount(drawn[:, column])
        assert len(counts) == len(found.genes[column].labels)
        assert chisquare(counts).pvalue > 0.001


def test_default_sampling_draws_only_what_can_be_completed():
    """`increasing: width` from 8 to 24 over three stages: after a first 24 only 24 is left."""
    stages = [{"depth": 1, "width": one_of(8, 16, 24), "block": mbconv()} for _ in range(3)]
    found = space(document(*stages, rules=[{"increasing": "width"}]))
    assert found.size == 10
    drawn = found.sample(np.random.default_rng(6), 3_000)
    assert chisquare(np.bincount(drawn[:, 0])).pvalue > 0.001  # uniform over options, not over architectures
    after_8 = drawn[drawn[:, 0] == 0]
    after_16 = drawn[drawn[:, 0] == 1]
    assert chisquare(np.bincount(after_8[:, 1])).pvalue > 0.001
    assert set(after_16[:, 1]) == {1, 2}
    assert set(drawn[drawn[:, 0] == 2][:, 1]) == {2}


def test_a_dead_end_is_never_entered():
    """Only one of 8 ** 4 prefixes survives the strict rule; the first gene is forced by the last."""
    stages = [{"depth": 1, "width": one_of(*range(8, 72, 8)), "block": mbconv()} for _ in range(8)]
    found = space(document(*stages, rules=[{"increasing": "width", "strict": True}]))
    assert found.size == 1
    assert (
        found.sample(np.random.default_rng(0), 5).tolist()
        == [found.sample(np.random.default_rng(1)).tolist()] * 5
    )


@pytest.mark.parametrize("uniform", [False, True])
def test_the_same_seed_draws_the_same(uniform):
    found = load_space("tiny")
    first = found.sample(np.random.default_rng(11), 5, uniform=uniform)
    assert np.array_equal(first, found.sample(np.random.default_rng(11), 5, uniform=uniform))
    assert not np.array_equal(first, found.sample(np.random.default_rng(12), 5, uniform=uniform))


def test_limits_hold_for_samples_children_and_membership():
    small = {"limits": {"params": {"max": 19_500}, "macs": {"min": 1e4, "resolution": 32, "num_classes": 10}}}
    stages = [
        {
            "stride": 2,
            "depth": int_range(1, 3),
            "width": one_of(8, 16, 32),
            "block": mbconv(kernel=one_of(3, 5)),
        }
        for _ in range(2)
    ]
    bounded, free = space(document(*stages, **small)), space(document(*stages))
    rng = np.random.default_rng(0)
    population = free.sample(rng, 500)
    params = free.costs(population, 224, 1000).params
    macs = free.costs(population, 32, 10).macs
    inside = (params <= 19_500) & (macs >= 1e4)
    assert 0 < inside.sum() < 500
    assert [bounded.contains(free.decode(genes)) for genes in population] == inside.tolist()
    assert np.array_equal(bounded.within_limits(population), inside)
    parents = bounded.sample(rng, 50)
    children = np.stack([bounded.mutate(genes, rng) for genes in parents])
    assert bounded.within_limits(parents).all()
    assert bounded.within_limits(children).all()
    outsider = free.decode(population[int(np.argmax(params))])
    assert bounded.explain(outsider) == f"params is {params.max():,}, outside the limit params <= 19,500"


def test_limits_that_nothing_meets_say_how_near_it_came():
    found = space(document({"depth": 1, "width": 8, "block": mbconv()}, limits={"params": {"max": 100}}))
    params = int(
        space(document({"depth": 1, "width": 8, "block": mbconv()}))
        .costs(np.zeros((1, 0), dtype=int))
        .params[0]
    )
    text = rf"0 of 51,200 sampled members of small .*params <= 100.*1 are needed; nearest: params {params:,}"
    with pytest.raises(InfeasibleError, match=text):
        found.sample(np.random.default_rng(0))


def test_rules_that_leave_nothing_are_said_to():
    stages = [{"depth": 1, "width": 16, "block": mbconv()}, {"depth": 1, "width": 8, "block": mbconv()}]
    found = space(document(*stages, rules=[{"increasing": "width"}]))
    assert found.size == 0
    with pytest.raises(ValueError, match="the rules leave no architecture in this space"):
        found.sample(np.random.default_rng(0))


def test_a_change_of_op_keeps_the_kernel():
    both = one_of(*({"op": op, "expand": 2, "kernel": one_of(3, 5, 7)} for op in ("mbconv", "fused_mbconv")))
    found = space(document({"depth": 1, "width": 8, "block": both}))
    rng = np.random.default_rng(0)
    parent = found.encode(found.decode(np.array([0, 2, -1])))
    changed = [child for child in (found.mutate(parent, rng) for _ in range(40)) if child[0] == 1]
    assert len(changed) > 5
    assert all(found.decode(child).stages[0].block.kernel == 7 for child in changed)


def test_a_space_of_one_comes_back_unchanged_from_variation():
    found = space(document({"depth": 1, "width": 8, "block": use("block")}, menus={"block": mbconv()}))
    genes = found.sample(np.random.default_rng(0))
    assert np.array_equal(found.mutate(genes, np.random.default_rng(0)), genes)
    assert np.array_equal(found.crossover(genes, genes, np.random.default_rng(0)), genes)


@pytest.mark.parametrize(
    ("genes", "text"),
    [
        (np.zeros(3, dtype=int), r"a genotype of small is 1 integers, got shape \(3,\)"),
        (np.zeros(1), "got shape .*float64"),
        (np.array([2]), r"stages\[0\].width: option 2 does not exist; 0 to 1 do"),
        (np.array([-1]), r"stages\[0\].width: option -1 does not exist"),
    ],
)
def test_what_is_no_genotype_is_refused(genes, text):
    found = space(document({"depth": 1, "width": one_of(8, 16), "block": mbconv()}))
    with pytest.raises(ValueError, match=text):
        found.decode(genes)


def test_costs_follow_the_runs_that_are_present():
    """Fixed runs that may be absent, and a stride that goes to the first of two runs that is present."""
    found = space(
        document(
            {"depth": int_range(0, 1), "width": 24, "block": mbconv()},
            {
                "stride": 2,
                "runs": [
                    {"depth": int_range(0, 1), "width": 12, "block": mbconv()},
                    {"depth": int_range(1, 2), "width": 16, "block": mbconv(kernel=5)},
                ],
            },
            {"depth": 1, "width": 8, "block": mbconv()},
        )
    )
    genes = np.array([[first, second, third] for first in (0, 1) for second in (0, 1) for third in (0, 1)])
    counted = found.costs(genes, 33, 10)
    for index, row in enumerate(genes):
        assert tuple(int(column[index]) for column in counted) == tuple(cost(found.decode(row), 33, 10))


def test_costs_refuse_what_decodes_to_nothing():
    found = space(
        document(
            {"depth": int_range(0, 1), "width": one_of(8, 16), "block": mbconv()},
            {"depth": 1, "width": 8, "block": mbconv()},
        )
    )
    assert found.costs(np.array([[0, -1]])).params > 0
    with pytest.raises(ValueError, match=r"stages\[0\]: an active gene has no choice"):
        found.costs(np.array([[1, -1]]))
    with pytest.raises(ValueError, match=r"stages\[0\].depth: an active gene has no choice"):
        found.costs(np.array([[-1, 0]]))
    with pytest.raises(ValueError, match=r"stages\[0\].width: option 2 does not exist; 0 to 1 do"):
        found.costs(np.array([[1, 2]]))
    with pytest.raises(ValueError, match="resolution 0 and num_classes 1000 must be at least 1"):
        found.costs(np.array([[1, 1]]), 0)
