"""Scaling: the rules give the published families, and what they promise of any network."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.scaling import (
    Compound,
    Factors,
    ScalingError,
    load_rule,
    rule_names,
    scale,
    scale_to_size,
)
from search_spaces.architecture import cost
from search_spaces.document import load_architecture
from search_spaces.nodes import DocumentError

V2, V1 = "efficientnetv2-", "efficientnet-"
FAMILIES = [
    *((V2 + "b0", "effnetv2", size, V2 + size) for size in ("s", "m", "l", "xl")),
    *((V2 + "b0", "effnetv2-b", size, V2 + size) for size in ("b1", "b2", "b3")),
    *((V1 + "b0", "compound", size, V1 + size) for size in ("b1", "b2", "b3", "b4", "b5", "b6", "b7")),
    *(("ghostnet-1.0", "ghostnet", size, f"ghostnet-{size}") for size in ("1.3", "300m")),
]
"""Base, rule, size, and the shipped architecture that is known to be the released one."""


@pytest.mark.parametrize(("base", "rule", "size", "published"), FAMILIES)
def test_every_listed_size_is_the_released_network(base: str, rule: str, size: str, published: str) -> None:
    found, expected = (
        scale_to_size(load_architecture(base), load_rule(rule), size),
        load_architecture(published),
    )
    assert found.digest == expected.digest
    assert found.recipe == expected.recipe


def test_every_listed_size_is_tested() -> None:
    listed = {(name, size) for name in rule_names() for size in load_rule(name).sizes}
    assert listed == {(rule, size) for _, rule, size, _ in FAMILIES}


@pytest.mark.parametrize(("width", "depth", "published"), [(1.6, 2.2, "m"), (2.0, 3.1, "l")])
def test_m_and_l_need_no_override(width: float, depth: float, published: str) -> None:
    base, rule = load_architecture(V2 + "b0"), load_rule("effnetv2")
    assert (
        scale(base, rule, Factors(width=width, depth=depth)).digest
        == load_architecture(V2 + published).digest
    )


def test_s_departs_from_the_rule_in_one_width() -> None:
    """The rule gives 272 channels, which the first version of the paper had."""
    found = scale(load_architecture(V2 + "b0"), load_rule("effnetv2"), Factors(width=1.4, depth=1.8))
    released = load_architecture(V2 + "s")
    assert found.stages[5].width == 272
    assert replace(found.stages[5], width=256) == released.stages[5]
    assert found.stages[:5] == released.stages[:5]


@pytest.mark.parametrize("rule", ["compound", "effnetv2-b"])
def test_no_uniform_factor_makes_m_of_s(rule: str) -> None:
    """M has a stage more than S; and where it has the same, no depth factor fits all of them."""
    s, m = load_architecture(V2 + "s"), load_architecture(V2 + "m")
    grown = scale(s, load_rule(rule), Factors(width=1.143, depth=1.222))
    assert grown.digest != m.digest
    assert len(grown.stages) == len(m.stages) - 1
    fitting = [
        step
        for step in range(1000, 2001)
        if all(
            ceil(stage.depth * step / 1000) == target.depth
            for stage, target in zip(s.stages, m.stages[:6], strict=True)
        )
    ]
    assert not fitting


def test_uniform_scaling_buys_fewer_parameters_at_ms_cost() -> None:
    """35.4 M parameters and 21.9 G multiply-adds at 480 pixels, against M's 54.1 M and 24.6 G."""
    grown = scale(load_architecture(V2 + "s"), load_rule("compound"), Factors(width=1.143, depth=1.222))
    found, released = cost(grown, 480), cost(load_architecture(V2 + "m"), 480)
    assert found.params < 0.7 * released.params
    assert found.macs > 0.85 * released.macs


@pytest.mark.parametrize(
    ("base", "factors", "published"),
    [
        ("coatnet-3", Factors(depth=2.0), "coatnet-4"),
        ("coatnet-2", Factors(width=1.5), "coatnet-3"),
        ("coatnet-0", Factors(depth=1.0), "coatnet-0"),
    ],
)
def test_coatnets_grow_in_the_middle(base: str, factors: Factors, published: str) -> None:
    found = scale(load_architecture(base), load_rule("coatnet"), factors)
    assert found.digest == load_architecture(published).digest


def test_networks_of_the_space_parameternet_grow_in_the_middle() -> None:
    base = load_architecture("parameternet-600m-m4")
    found = scale(base, load_rule("parameternet"), Factors(depth=2.0))
    depths = [(before.depth, after.depth) for before, after in zip(base.stages, found.stages, strict=True)]
    grown = [index for index, (before, after) in enumerate(depths) if after == 2 * before]
    assert grown == [4, 6, 8]
    assert all(before == after for index, (before, after) in enumerate(depths) if index not in grown)
    assert [stage.block for stage in found.stages] == [stage.block for stage in base.stages]


def test_compound_coefficients_are_the_formula() -> None:
    factors = Compound().factors(1.0)
    assert factors == pytest.approx((1.2, 1.1, 1.15))
    assert Compound().factors(0.0) == (1.0, 1.0, 1.0)
    product = factors.depth * factors.width**2 * factors.resolution**2
    assert product == pytest.approx(1.920, abs=5e-4)


def test_the_formula_is_not_the_released_b1() -> None:
    base, rule = load_architecture(V1 + "b0"), load_rule("compound")
    assert scale(base, rule, Compound().factors(1.0)).digest != load_architecture(V1 + "b1").digest


def test_images_grow_with_gamma_up_to_the_largest() -> None:
    base = load_architecture(V2 + "b0")
    compound = scale(base, load_rule("compound"), Factors(resolution=1.5)).recipe
    assert (compound.train_resolution, compound.eval_resolution) == (288, 336)
    capped = scale(base, load_rule("effnetv2"), Factors(depth=1.5), resolution=600).recipe
    assert (capped.train_resolution, capped.eval_resolution) == (480, 480)
    asked = scale(base, load_rule("effnetv2"), Factors(depth=1.5), resolution=448).recipe
    assert (asked.train_resolution, asked.eval_resolution) == (384, 448)


@given(
    depth=st.floats(1.0, 4.0),
    width=st.floats(1.0, 3.0),
    more=st.floats(1.0, 1.5),
    rule=st.sampled_from(["compound", "effnetv2", "effnetv2-b"]),
)
def test_larger_factors_never_shrink_a_network(depth: float, width: float, more: float, rule: str) -> None:
    base, chosen = load_architecture("efficientnetv2-b0"), load_rule(rule)
    small = scale(base, chosen, Factors(depth=depth, width=width))
    for large in (
        scale(base, chosen, Factors(depth=depth * more, width=width)),
        scale(base, chosen, Factors(depth=depth, width=width * more)),
    ):
        assert len(large.stages) >= len(small.stages)
        for before, after in zip(small.stages, large.stages, strict=False):
            assert (after.depth, after.width) >= (before.depth, before.width) or after.width >= before.width
            assert after.depth >= before.depth
            assert after.width >= before.width
        assert cost(large, 64).params >= cost(small, 64).params


@pytest.mark.parametrize("name", ["efficientnetv2-b0", "efficientnet-b0", "coatnet-0"])
@pytest.mark.parametrize("rule", ["compound", "effnetv2-b"])
def test_a_factor_of_one_changes_nothing(name: str, rule: str) -> None:
    arch = load_architecture(name)
    assert scale(arch, load_rule(rule), Factors()).digest == arch.digest


def test_a_product_just_above_a_whole_number_is_that_number() -> None:
    arch = load_architecture(V2 + "b0")
    deep = replace(arch, stages=(replace(arch.stages[0], depth=25), *arch.stages[1:]))
    assert 2.2 * 25 > 55
    assert scale(deep, load_rule("effnetv2-b"), Factors(depth=2.2)).stages[0].depth == 55


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: load_rule("efnetv2"), "rule 'efnetv2' is unknown, did you mean 'effnetv2'"),
        (
            lambda: scale_to_size(load_architecture(V2 + "b0"), load_rule("effnetv2"), "xxl"),
            "rule effnetv2: size 'xxl' is unknown",
        ),
        (
            lambda: scale(load_architecture(V2 + "b0"), load_rule("coatnet"), Factors(depth=2.0)),
            "depth_exponents are for 4 stages, and this network has 6",
        ),
        (
            lambda: scale(load_architecture(V2 + "b0"), load_rule("compound"), Factors(depth=0.0)),
            "depth, width and resolution must be above 0",
        ),
        (
            lambda: scale(load_architecture("coatnet-0"), load_rule("compound"), Factors(width=1.1)),
            "rule compound does not fit this network: .*head",
        ),
        (
            lambda: scale(load_architecture("coatnet-0"), load_rule("effnetv2"), Factors(depth=3.0)),
            "coatnet-0 has 4 stages",
        ),
    ],
)
def test_what_does_not_fit_is_refused(act, message: str) -> None:
    with pytest.raises(ScalingError, match=message):
        act()


def test_a_rule_of_ones_own(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("schema: nas.scaling/1\nname: mine\nhead: fixed\nwidth_exponents: [0, 0, 0, 0, 0, 1]\n")
    found = scale(load_architecture(V2 + "b0"), load_rule(file), Factors(width=2.0))
    assert [stage.width for stage in found.stages] == [16, 32, 48, 96, 112, 384]
    assert found.head.width == 1280
    file.write_text("schema: nas.scaling/1\nname: mine\ndivisor: 0\n")
    with pytest.raises(DocumentError, match=r"mine.yaml:3:10: divisor"):
        load_rule(file)
