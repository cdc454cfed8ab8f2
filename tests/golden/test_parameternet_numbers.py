"""Counts of GhostNet and ParameterNet.

Source: GhostNet 1.0 as timm's ghostnet_100 counts it; ParameterNet-600M as the released module, instantiated,
counts it; the 300M network by its printed 8.6M to 25.2M parameters. Multiply-adds are at 224 pixels, mixing
and routers included.
"""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces.architecture import Architecture, cost, spec_document
from search_spaces.blocks.weight import Dynamic, weight_cost
from search_spaces.document import architecture_from_document, load_architecture
from search_spaces.space_document import load_space

EXACT = {
    "ghostnet-1.0": (5_182_508, 141_150_512),
    "ghostnet-300m": (8_633_106, 282_816_640),
    "ghostnet-600m": (19_822_198, 570_111_528),
    "parameternet-300m-m4": (15_737_100, 292_263_052),
    "parameternet-600m-m4": (34_504_504, 589_646_596),
}
FAMILIES = [("300m", (2, 4, 8)), ("600m", (2, 4, 8))]


def with_weights(arch: Architecture, change) -> Architecture:
    """The network with every dynamic weight replaced by what `change` makes of it."""

    def changed(value):
        if isinstance(value, dict):
            return (
                change(value) if value.get("op") == "dynamic" else {k: changed(v) for k, v in value.items()}
            )
        return [changed(each) for each in value] if isinstance(value, list) else value

    return architecture_from_document(changed(arch.to_document()))


@pytest.mark.parametrize("name", EXACT)
def test_exact_counts(name: str):
    found = cost(load_architecture(name), 224)
    assert (found.params, found.macs) == EXACT[name]


@pytest.mark.parametrize(("size", "experts"), FAMILIES)
def test_without_experts_it_is_the_static_base(size: str, experts: tuple[int, ...]):
    base = load_architecture(f"ghostnet-{size}")
    for count in experts:
        assert with_weights(load_architecture(f"parameternet-{size}-m{count}"), lambda _: "static") == base


def test_one_expert_has_a_router_and_no_further_kernels():
    one = with_weights(load_architecture("parameternet-600m-m4"), lambda weight: {**weight, "experts": 1})
    found = cost(one, 224)
    assert found.params == found.active_params == 19_852_939
    assert f"{found.macs / 1e6:.2f}" == "575.00"


def test_the_papers_router_contradicts_the_released_size():
    by_mlp = with_weights(
        load_architecture("parameternet-600m-m4"), lambda weight: {**weight, "router": "mlp"}
    )
    assert f"{cost(by_mlp, 224).params / 1e6:.1f}" == "64.6"
    assert f"{cost(by_mlp, 224).macs / 1e6:.1f}" == "619.7"


def test_eight_experts_have_the_printed_parameters():
    assert f"{cost(load_architecture('parameternet-300m-m8'), 224).params / 1e6:.1f}" == "25.2"


@pytest.mark.parametrize(("router", "params", "routing"), [("linear", 36_996, 128), ("mlp", 38_016, 1_152)])
def test_one_dynamic_convolution(router: str, params: int, routing: int):
    extra = weight_cost(Dynamic(experts=4, router=router), 32, 32, kernel=3)
    assert 9_216 + extra.params == params
    assert extra.macs == 36_864 + routing


def test_mixing_weighs_more_at_low_resolution():
    static, dynamic = load_architecture("ghostnet-600m"), load_architecture("parameternet-600m-m4")
    shares = {side: cost(dynamic, side).macs / cost(static, side).macs - 1 for side in (32, 64, 128, 224)}
    assert shares[224] == pytest.approx(0.034, abs=0.001)
    assert 0.7 < shares[32] < 0.85


def test_defaults_are_left_out_of_the_canonical_form():
    arch = load_architecture("ghostnet-1.0")
    assert all("weights" not in spec_document(stage.block, complete=False) for stage in arch.stages)
    assert replace(arch, name="other").digest == arch.digest


# --- the space -------------------------------------------------------------------------------------------


def test_the_size_of_the_space_is_its_options_multiplied():
    widths, activations, weights, head = 4**5, 2, 4 * 4, 2
    ghost, mbconv = 2 * 4, 2 * 2 * 2 * 4  # excitation, experts; kernel and expansion too
    entering, following = 2 * ghost + mbconv, ghost + mbconv  # the kernel of a strided Ghost bottleneck
    runs = 2 * following  # depth 1 or 2
    for depths in (3, 4, 5, 7):
        runs *= entering * depths * following
    runs *= following * 4 * following  # the fourth stage widens once more
    space = load_space("parameternet")
    assert space.size_is_exact
    assert space.size == widths * activations * weights * head * runs


@pytest.mark.parametrize("name", ["ghostnet-600m", *(f"parameternet-600m-m{count}" for count in (2, 4, 8))])
def test_the_space_holds_the_600m_networks(name: str):
    space, arch = load_space("parameternet"), load_architecture(name)
    assert space.explain(arch) is None
    assert space.decode(space.encode(arch)) == arch


def test_in_the_space_parameters_and_multiply_adds_are_two_choices():
    """Experts alone, in all 600M networks: the stored parameters double, the multiply-adds hardly change."""
    space = load_space("parameternet")
    names = ["ghostnet-600m", *(f"parameternet-600m-m{count}" for count in (2, 4, 8))]
    costs = space.costs(np.stack([space.encode(load_architecture(name)) for name in names]))
    assert costs.params[3] > 2.5 * costs.params[0]
    assert costs.macs[3] < 1.07 * costs.macs[0]
    assert costs.active_params[3] < 1.02 * costs.active_params[0]
