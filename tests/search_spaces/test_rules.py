"""What rules mean, what blocks require, and when several genotypes are one architecture."""

import numpy as np
import pytest
from picky_block import PICKY

from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.choice import int_range, one_of, ref
from search_spaces.document import DocumentError, architecture_from_document
from search_spaces.registry import BLOCKS
from search_spaces.space_document import space


def mbconv(**fields):
    return {"op": "mbconv", "expand": 1, **fields}


def fused(**fields):
    return {"op": "fused_mbconv", "expand": 1, **fields}


def run(block, depth=1, width=8):
    return {"depth": depth, "width": width, "block": block}


def small(*stages, **extra):
    return space(
        {"name": "small", "stem": {"width": 8}, "head": {"width": 16}, "stages": list(stages), **extra}
    )


def arch(*stages):
    return Architecture(stem=Stem(width=8), head=Head(width=16), stages=stages)


either = one_of(fused(), mbconv())
kernels = mbconv(kernel=one_of(1, 3, 5))


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        ({"monotone": "block.op", "order": ["fused_mbconv", "mbconv"]}, 4),  # FFF FFM FMM MMM
        ({"monotone": "block.op", "order": ["mbconv"], "free": ["fused_mbconv"]}, 8),
        ({"forbid": {"block.op": "mbconv"}}, 1),
        ({"forbid": {"block.op": "mbconv"}, "stages": [0, 2]}, 2),
        ({"forbid": {"block.op": "mbconv", "width": 8}, "stages": [1]}, 4),
    ],
)
def test_rules_over_three_runs(rule, size):
    assert small(*(run(either) for _ in range(3)), rules=[rule]).size == size


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        ({"increasing": "block.kernel"}, 10),
        ({"increasing": "block.kernel", "strict": True}, 1),
        ({"monotone": "block.kernel", "order": [5, 3, 1]}, 10),
        ({"monotone": "block.kernel", "order": [1, 3], "free": [5]}, 20),  # by hand: 2^3 words of 1 5, ...
    ],
)
def test_rules_over_numbers(rule, size):
    found = small(*(run(kernels) for _ in range(3)), rules=[rule])
    words = [
        (first, second, third)
        for first in (1, 3, 5)
        for second in (1, 3, 5)
        for third in (1, 3, 5)
        if _obeys((first, second, third), rule)
    ]
    assert found.size == size == len(words)


def _obeys(word, rule):
    kept = [value for value in word if value not in rule.get("free", [])]
    order = rule.get("order", [1, 3, 5])
    ranks = [order.index(value) for value in kept]
    return ranks == sorted(ranks) and (not rule.get("strict") or len(set(ranks)) == len(ranks))


def test_rules_do_not_see_absent_runs_nor_fields_that_a_run_lacks():
    first = run(mbconv(se={"ratio": 0.5}))
    second = run(mbconv(se=one_of("none", {"ratio": 0.25})), depth=int_range(0, 1))
    found = small(first, second, rules=[{"increasing": "block.se.ratio"}])
    assert found.size == 2
    shown = {found.decode(genes).stages[-1].block.se for genes in found.sample(np.random.default_rng(0), 20)}
    assert len(shown) == 2  # absent, or without squeeze-and-excitation


def test_the_rule_that_is_broken_is_named():
    found = small(
        run(either), run(either), rules=[{"monotone": "block.op", "order": ["fused_mbconv", "mbconv"]}]
    )
    outsider = arch(
        Stage(stride=1, depth=1, width=8, block=MBConv(expand=1)),
        Stage(stride=1, depth=1, width=8, block=FusedMBConv(expand=1)),
    )
    text = "stages[1]: breaks the rule that block.op follows the order fused_mbconv, mbconv"
    assert found.explain(outsider) == text
    assert found.broken_rule(np.array([1, 0])) == text
    with pytest.raises(ValueError, match=r"breaks the rule that block\.op follows"):
        found.encode(outsider)


def test_a_strided_stage_of_optional_runs_never_vanishes():
    optional = run(kernels, depth=int_range(0, 1))
    found = small(run(mbconv()), {"stride": 2, "runs": [optional, optional]})
    assert found.size == (1 + 3) ** 2 - 1
    for genes in found.sample(np.random.default_rng(0), 50):
        assert [stage.stride for stage in found.decode(genes).stages].count(2) == 1
    without = arch(Stage(stride=1, depth=1, width=8, block=MBConv(expand=1)))
    assert found.explain(without) == "stages[1].runs[1]: the architecture has no further stage"
    assert not found.contains(without)


def test_a_network_never_vanishes():
    assert small(run(mbconv(), depth=int_range(0, 1)), run(kernels, depth=int_range(0, 1))).size == 2 * 4 - 1


# --- what blocks require ---------------------------------------------------------------------------------


@pytest.fixture
def picky(monkeypatch):
    monkeypatch.setitem(BLOCKS, "picky", PICKY)


@pytest.mark.usefixtures("picky")
def test_requirements_of_blocks_are_counted_and_drawn_exactly():
    block = one_of({"op": "picky", "group": one_of(1, 3, 4)}, mbconv())
    found = small(
        {"stride": 2, **run(block, width=one_of(8, 12))},  # 32 px: the map has 8
        recipe={"eval_resolution": 32},
    )
    assert found.size == 2 + 3 + 2  # 8 takes groups 1 and 4, 12 takes all three; mbconv takes both widths
    for genes in found.sample(np.random.default_rng(0), 100):
        stage = found.decode(genes).stages[0]
        assert stage.block.op == "mbconv" or stage.width % stage.block.group == 0
    large = small({"stride": 2, **run(block, width=one_of(8, 12))}, recipe={"eval_resolution": 64})
    assert large.size == 2
    outsider = found.decode(found.encode(found.decode(np.array([0, 0, 0]))))
    assert (
        large.explain(outsider)
        == "stages[0]: breaks the rule that every block accepts its width and resolution"
    )


@pytest.mark.usefixtures("picky")
def test_an_architecture_whose_block_refuses_its_place_is_refused():
    document = {
        "schema": "nas.architecture/1",
        "stem": {"width": 8},
        "head": {"width": 8},
        "stages": [{"stride": 2, **run({"op": "picky", "group": 3})}],
        "recipe": {"eval_resolution": 32},
    }
    with pytest.raises(DocumentError, match=r"stages\[0\].block: width 8 is not divisible by group 3"):
        architecture_from_document(document)
    document["stages"][0]["width"] = 9
    assert architecture_from_document(document).stages[0].width == 9
    document["recipe"]["eval_resolution"] = 64
    with pytest.raises(DocumentError, match="a map of 16 pixels is more than 8"):
        architecture_from_document(document)


@pytest.mark.usefixtures("picky")
def test_rules_see_into_a_default_that_is_a_whole_specification():
    block = one_of({"op": "picky"}, {"op": "picky", "se": {"ratio": one_of(0.25, 0.75)}}, mbconv())
    recipe = {"eval_resolution": 16}
    assert small(run(block), recipe=recipe).size == 4
    found = small(run(block), recipe=recipe, rules=[{"forbid": {"block.se.ratio": 0.5}}])
    assert found.size == 3
    whole = found.decode(np.array([0, -1]))
    assert whole.stages[0].block.se == SqueezeExcite(ratio=0.5)
    assert not found.contains(whole)
    with pytest.raises(DocumentError, match=r"option 2 \(picky\) can be the same as option 1 \(picky\)"):
        small(run(one_of({"op": "picky"}, {"op": "picky", "se": {"ratio": one_of(0.25, 0.5)}})))


@pytest.mark.usefixtures("picky")
def test_the_resolution_of_a_particular_block_must_be_known():
    text = "stem.stride: the stem's stride cannot be a choice beside picky, which depends on the resolution"
    with pytest.raises(DocumentError, match=text):
        small(run({"op": "picky"}), stem={"width": 8, "stride": one_of(1, 2)})
    assert small(run(mbconv()), stem={"width": 8, "stride": one_of(1, 2)}).size == 2


# --- several genotypes, one architecture -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "coincidences", "inert"),
    [
        ([run(mbconv(kernel=3)), run(mbconv(kernel=5))], (), ()),
        ([run(kernels), run(mbconv(kernel=5))], (("stages[0]", "stages[1]"),), ()),
        ([run(kernels), {"stride": 2, **run(kernels)}], (), ()),
        (
            [run(kernels), run(fused(), depth=int_range(0, 1)), run(kernels)],
            (("stages[0]", "stages[2]"),),
            (),
        ),
        ([run(kernels), run(fused()), run(kernels)], (), ()),
        # The same block in two spellings: without expansion, what `se` is taken from makes no difference.
        (
            [
                run(mbconv(se={"ratio": 0.5, "from": "input"})),
                run(mbconv(se={"ratio": 0.5, "from": "expanded"})),
            ],
            (("stages[0]", "stages[1]"),),
            (),
        ),
        ([run(fused(expand=one_of(1, 2), se=one_of("none", {"ratio": 0.25})))], (), ("stages[0].block.se",)),
        ([run(fused(expand=one_of(2, 3), se=one_of("none", {"ratio": 0.25})))], (), ()),
        ([run(one_of(fused(), fused(expand=2, se={"ratio": 0.25})))], (), ()),
        ([run(one_of(fused(se="none"), fused(se={"ratio": 0.25})))], (), ("stages[0].block",)),
        (
            [{"runs": [one_of(run(fused(se="none")), run(fused(se={"ratio": 0.25})))]}],
            (),
            ("stages[0].runs[0]",),
        ),
    ],
)
def test_what_makes_one_architecture_of_several_genotypes_is_named(stages, coincidences, inert):
    found = small(*stages)
    assert found.coincidences == coincidences
    assert found.inert_choices == inert
    assert found.size_is_exact == (not coincidences and not inert)


def test_padding_without_strides_makes_no_difference():
    stem = {"width": 8, "stride": one_of(1, 2)}
    found = small(run(mbconv()), stem=stem, padding=one_of("same", "symmetric"))
    assert found.inert_choices == ("padding",)
    archs = {found.decode(np.array(genes)).digest for genes in ([0, 0], [0, 1], [1, 0], [1, 1])}
    assert len(archs) == 3
    assert small(run(mbconv()), padding=one_of("same", "symmetric")).size_is_exact


def test_runs_can_be_split_in_very_many_ways():
    """5 ** 30 splits are not tried one by one: neither for a member nor for what is one block too long."""
    found = small(*(run(kernels, depth=int_range(0, 4)) for _ in range(30)))
    block = MBConv(expand=1)
    longest = arch(Stage(stride=1, depth=120, width=8, block=block))
    assert found.decode(found.encode(longest)) == longest
    assert not found.contains(arch(Stage(stride=1, depth=121, width=8, block=block)))
    shortest = found.encode(arch(Stage(stride=1, depth=1, width=8, block=block)))
    assert shortest.tolist() == [0, -1] * 29 + [1, 1]


def test_the_first_way_to_split_a_run_is_first_by_options():
    """Two runs of 2 or 1 blocks make 3 blocks in two ways; 2 + 1 takes the first option first."""
    found = small(*(run(mbconv(), depth=one_of(2, 1)) for _ in range(2)))
    three = arch(Stage(stride=1, depth=3, width=8, block=MBConv(expand=1)))
    assert found.encode(three).tolist() == [0, 1]


def test_a_split_takes_the_shared_choice_that_the_rest_needs():
    """The first run could be any kernel of the shared choice's, were it not for the last."""
    found = small(
        run(mbconv(kernel=one_of(3, {"int": [5, 7, 2]})), depth=int_range(0, 1)),
        run(mbconv(kernel=ref("k")), depth=int_range(0, 2)),
        run(fused(kernel=ref("k"))),
        choices={"k": one_of(3, 5)},
    )
    wanted = arch(
        Stage(stride=1, depth=2, width=8, block=MBConv(expand=1, kernel=5)),
        Stage(stride=1, depth=1, width=8, block=FusedMBConv(expand=1, kernel=5)),
    )
    genes = found.encode(wanted)
    assert found.decode(genes) == wanted
    assert genes[0] == 0  # the first run is absent in the lexicographically first way
    mixed = arch(
        Stage(stride=1, depth=2, width=8, block=MBConv(expand=1, kernel=5)),
        Stage(stride=1, depth=1, width=8, block=FusedMBConv(expand=1, kernel=3)),
    )
    assert not found.contains(mixed)


def ghosts(*hidden):
    return small({**run({"op": "ghost", "hidden": one_of(*hidden)}), "stride": 2})


def test_a_requirement_that_nothing_can_break_is_no_rule():
    assert ghosts(8, 12).rules == ()
    refusing = ghosts(8, 9, 12)
    assert [str(rule) for rule in refusing.rules] == ["every block accepts its width and resolution"]
    assert ghosts(8, 12).size == refusing.size == 2


def test_shared_choices_are_drawn_in_proportion_to_what_they_leave():
    """Of two shared bits, (1, 1) is forbidden and (0, 0) has three kernels: 3 + 1 + 1 genotypes."""
    found = small(
        {**run(mbconv(se=ref("se"), act=ref("act"), kernel=one_of(3, 5, 7)))},
        choices={"se": one_of("none", {"ratio": 0.25}), "act": one_of("silu", "relu")},
        rules=[
            {"forbid": {"block.se": "none", "block.act": "relu", "block.kernel": kernel}} for kernel in (5, 7)
        ]
        + [{"forbid": {"block.se.ratio": 0.25, "block.act": "silu", "block.kernel": k}} for k in (5, 7)]
        + [{"forbid": {"block.se.ratio": 0.25, "block.act": "relu"}}],
    )
    assert found.size == 5
    drawn = [found.decode(row).stages[0].block for row in found.sample(np.random.default_rng(1), 1_000)]
    assert not any(block.se != "none" and block.act == "relu" for block in drawn)
    plain = [block for block in drawn if block.se == "none" and block.act == "silu"]
    # Gene by gene: one bit, then the other where both can still be completed.
    assert 0.2 < len(plain) / len(drawn) < 0.3
    every = found.sample(np.random.default_rng(1), 1_000, uniform=True)
    blocks = [found.decode(row).stages[0].block for row in every]
    plain = [block for block in blocks if block.se == "none" and block.act == "silu"]
    assert 0.55 < len(plain) / len(blocks) < 0.65
