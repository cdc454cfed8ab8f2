"""Convolutions summed of branches while they train, and what merging leaves of them."""

from itertools import pairwise

import pytest
import torch
from test_built_costs import kept_by_one_image
from test_dynamic_weights import KINDS, everywhere
from torch.nn import functional as F

from proxies.cross_check import cross_check
from search_spaces.architecture import cost
from search_spaces.blocks.weight import Dynamic, Reparam, weight_cost
from search_spaces.document import architecture_from_document
from search_spaces.layers.merging import merge
from search_spaces.layers.reparam import ReparamConv2d
from search_spaces.merging import merged
from search_spaces.network import build
from search_spaces.space_document import space

THREE = Reparam(branches=3)


@pytest.fixture(autouse=True)
def repeatable():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def with_random_scales(network):
    """At initialisation all scales are equal, and their order would say nothing."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ReparamConv2d):
                module.scales.normal_()
    return network


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_summed_kernels_convolve_as_summed_maps(kind, padding):
    found = with_random_scales(ReparamConv2d(8, 8, THREE, **{"stride": 1, "padding": padding, **kind}))
    x, kernel = torch.randn(3, 8, 10, 9), kind["kernel"]
    expected = 0.0
    for scale, branch in zip(found.scales, found.branches, strict=True):
        one = ReparamConv2d(8, 8, Reparam(branches=1), **{"stride": 1, "padding": padding, **kind})
        with torch.no_grad():
            one.branches.copy_(torch.stack([branch, torch.zeros_like(branch)]))
            one.scales.fill_(1.0)
        expected = expected + scale[:, None, None] * one(x)
    torch.testing.assert_close(found(x), expected, rtol=1e-5, atol=1e-5)
    if padding == "symmetric":
        static = F.conv2d(
            x, found.merged_kernel(), None, kind.get("stride", 1), kernel // 2, groups=kind.get("groups", 1)
        )
        torch.testing.assert_close(found(x), static, rtol=0, atol=0)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_a_merged_network_computes_the_same_and_is_the_static_one(padding):
    arch = everywhere(THREE, "relu", padding)
    network = with_random_scales(build(arch, 5)).eval()
    x = torch.randn(2, 3, 33, 33)
    left = merge(network)
    expected = network(x)
    assert (left(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    static = build(merged(arch), 5).eval()
    static.load_state_dict(left.state_dict())  # key by key, shape by shape
    torch.testing.assert_close(static(x), left(x), rtol=0, atol=0)
    assert any(isinstance(module, ReparamConv2d) for module in network.modules())  # a copy was merged


def test_merging_leaves_experts_alone():
    arch = everywhere(Dynamic(experts=2), "relu")
    assert merged(arch) == arch
    assert merged(everywhere(THREE, "relu")) == everywhere("static", "relu")


@pytest.mark.parametrize(("act", "padding"), [("relu", "symmetric"), ("hard_swish", "same")])
def test_costs_of_training_equal_the_built_network(act, padding):
    arch = everywhere(THREE, act, padding)
    assert cross_check(arch, 33, 5).agrees
    assert kept_by_one_image(arch, 31) == cost(arch, 31, 5).activation_bytes


def test_training_and_inference_cost_apart():
    training = cost(everywhere(THREE, "relu"), 224, 5)
    inference, static = (
        cost(arch, 224, 5) for arch in (merged(everywhere(THREE, "relu")), everywhere("static", "relu"))
    )
    assert inference == static
    assert training.params > 2 * inference.params
    assert training.active_params == inference.params
    assert inference.macs < training.macs < 1.05 * inference.macs
    extra = weight_cost(THREE, 32, 64, kernel=3)
    assert extra.params == 3 * 9 * 32 * 64 + 4 * 64
    assert (extra.active_params, extra.macs) == (0, 4 * 9 * 32 * 64)
    growing = [weight_cost(Reparam(branches=count), 8, 8, kernel=1).params for count in range(1, 17)]
    assert {after - before for before, after in pairwise(growing)} == {64 + 8}


def test_every_branch_is_trained():
    network = build(everywhere(THREE, "relu"), 5).to(memory_format=torch.channels_last)
    network(torch.randn(3, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_branches_are_a_choice_like_any_other():
    block = {
        "op": "mbconv",
        "expand": 2,
        "weights": {"project": {"one_of": ["static", {"op": "reparam", "branches": {"one_of": [1, 3]}}]}},
    }
    found = space(
        {
            "name": "branches",
            "stem": {"width": 8},
            "head": {"width": 8},
            "stages": [{"stride": 2, "depth": 1, "width": 8, "block": block}],
        }
    )
    assert (found.size, found.size_is_exact) == (3, True)
    members = [found.decode(genes) for genes in ([0, -1], [1, 0], [1, 1])]
    assert [arch.stages[0].block.weights.project for arch in members] == [
        "static",
        Reparam(branches=1),
        THREE,
    ]
    assert all(architecture_from_document(arch.to_document()) == arch for arch in members)
