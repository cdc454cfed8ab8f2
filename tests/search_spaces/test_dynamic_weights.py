"""Convolutions mixed from experts, and Ghost bottlenecks: what they compute and what they cost."""

import numpy as np
import pytest
import torch
from test_built_costs import kept_by_one_image
from torch.nn import functional as F

from proxies.cross_check import cross_check
from proxies.task import reduce
from search_spaces.architecture import Architecture, Head, HeadLinear, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv, FusedMBConvWeights
from search_spaces.blocks.ghost import Ghost, GhostWeights, HiddenSqueezeExcite
from search_spaces.blocks.mbconv import MBConv, MBConvWeights
from search_spaces.blocks.preact_mbconv import PreactMBConv, PreactMBConvWeights
from search_spaces.blocks.weight import Dynamic
from search_spaces.document import DocumentError, architecture_from_document, load_architecture
from search_spaces.layers.dynamic import DynamicConv2d, grouped, multiplied
from search_spaces.network import build
from search_spaces.space_document import space

FOUR = Dynamic(experts=4)
SE = HiddenSqueezeExcite(ratio=0.25)


@pytest.fixture(autouse=True)
def repeatable():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def layer(weight=FOUR, *, kernel=3, stride=1, groups=1, padding="symmetric") -> DynamicConv2d:
    return DynamicConv2d(8, 8, weight, kernel=kernel, stride=stride, padding=padding, groups=groups)


def kernels_of(found: DynamicConv2d) -> torch.Tensor:
    """Each expert as a kernel."""
    return found.experts.unflatten(1, found.kernel_shape)


KINDS = [
    {"kernel": 1},
    {"kernel": 1, "stride": 2},
    {"kernel": 3},
    {"kernel": 5, "stride": 2},
    {"kernel": 3, "groups": 8},
    {"kernel": 3, "groups": 8, "stride": 2},
    {"kernel": 3, "groups": 2},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("weight", [FOUR, Dynamic(experts=3, router="mlp", activation="softmax")], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_mixed_kernels_convolve_as_mixed_outputs(kind, weight, memory_format):
    found, x = layer(weight, **kind), torch.randn(3, 8, 9, 7).contiguous(memory_format=memory_format)
    alpha = found.router(x)
    outputs = [
        F.conv2d(
            x,
            expert,
            stride=kind.get("stride", 1),
            padding=kind["kernel"] // 2,
            groups=kind.get("groups", 1),
        )
        for expert in kernels_of(found)
    ]
    expected = sum(alpha[:, m, None, None, None] * output for m, output in enumerate(outputs))
    torch.testing.assert_close(found(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_product_of_matrices_is_the_grouped_convolution(memory_format):
    x, kernels = torch.randn(3, 8, 5, 4).contiguous(memory_format=memory_format), torch.randn(3, 6, 8, 1, 1)
    expected = grouped(x, kernels, stride=1, padding=(0, 0), groups=1)
    torch.testing.assert_close(multiplied(x, kernels), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [*KINDS, {"kernel": 3, "stride": 2, "padding": "same"}], ids=str)
@pytest.mark.parametrize("weight", [FOUR, Dynamic(experts=3, router="mlp", activation="softmax")], ids=str)
def test_maps_of_the_experts_mixed_are_the_map_of_the_mixed_kernel(kind, weight):
    """What leaves as ONNX for any number of images, where no convolution may depend on how many they are."""
    found = layer(weight, **kind).eval()
    images = torch.randn(3, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(found.summed_maps(images), found(images))


def test_one_hot_gates_choose_an_expert():
    found, x = layer(), torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        found.router.gates.weight.zero_()
        found.router.gates.bias.copy_(torch.tensor([-1e4, -1e4, 1e4, -1e4]))
    torch.testing.assert_close(found(x), F.conv2d(x, kernels_of(found)[2], padding=1))


def test_one_expert_by_softmax_is_a_static_convolution():
    found, x = layer(Dynamic(experts=1, activation="softmax")), torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(found(x), F.conv2d(x, kernels_of(found)[0], padding=1))


def test_padding_as_tensorflow_pads():
    found, x = layer(stride=2, padding="same"), torch.randn(2, 8, 6, 6)
    kernels = found.mixed_kernels(x)
    expected = torch.cat(
        [
            F.conv2d(F.pad(image[None], (0, 1, 0, 1)), own, stride=2)
            for image, own in zip(x, kernels, strict=True)
        ]
    )
    torch.testing.assert_close(found(x), expected, rtol=1e-5, atol=1e-5)


# --- costs -----------------------------------------------------------------------------------------------


def everywhere(weight, act: str, padding: str = "symmetric") -> Architecture:
    """Every block with every convolution dynamic, with and without strides and changes of width."""
    ghost = GhostWeights(primary=weight, cheap=weight, depthwise=weight, shortcut=weight)
    mb = MBConvWeights(expand=weight, depthwise=weight, project=weight)
    fused = FusedMBConvWeights(fused=weight, project=weight)
    pre = PreactMBConvWeights(expand=weight, depthwise=weight, project=weight, shortcut=weight)
    runs = [
        (1, 2, 12, Ghost(hidden=16, act=act, weights=ghost)),
        (2, 2, 16, Ghost(hidden=24, kernel=5, se=SE, act=act, weights=ghost)),
        (1, 1, 16, MBConv(expand=1, act=act, weights=mb)),
        (1, 1, 20, MBConv(expand=2, act=act, weights=mb)),
        (2, 1, 24, FusedMBConv(expand=2, act=act, weights=fused)),
        (1, 1, 24, FusedMBConv(expand=1, act=act, weights=fused)),
        (1, 2, 28, PreactMBConv(expand=2, act=act, weights=pre)),
    ]
    return Architecture(
        stem=Stem(width=8, act=act, weight=weight, depth=2),
        stages=tuple(Stage(stride=s, depth=d, width=w, block=b) for s, d, w, b in runs),
        head=Head(width=16, act=act, linear=HeadLinear(width=12), weight=weight),
        padding=padding,
    )


WEIGHTS = ["static", FOUR, Dynamic(experts=2, router="mlp", activation="softmax")]


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
@pytest.mark.parametrize(("act", "padding"), [("relu", "symmetric"), ("hard_swish", "same")])
def test_costs_equal_the_built_network(weight, act, padding):
    arch = everywhere(weight, act, padding)
    assert cross_check(arch, 33, 5).agrees
    assert kept_by_one_image(arch, 31) == cost(arch, 31, 5).activation_bytes


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_networks_go_into_channels_last_and_compute_the_same(padding):
    network, x = build(everywhere(FOUR, "relu", padding), 5).eval(), torch.randn(3, 3, 33, 33)
    expected = network(x)
    moved = network.to(memory_format=torch.channels_last)
    found = moved(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_parameters_do_not_depend_on_the_batch_and_all_are_trained():
    network = build(everywhere(FOUR, "relu"), 5)
    network(torch.randn(3, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert counted == cost(everywhere(FOUR, "relu"), 224, 5).params


# --- the language ----------------------------------------------------------------------------------------


def test_convolutions_that_are_not_there_have_no_weights():
    ghost = Ghost(hidden=16, kernel=5, weights=GhostWeights(cheap=FOUR, depthwise=FOUR, shortcut=FOUR))
    same_shape = ghost.canonical(12, 12, stride=1)
    assert same_shape == Ghost(hidden=16, weights=GhostWeights(cheap=FOUR))
    assert ghost.canonical(8, 12, stride=1).weights == GhostWeights(cheap=FOUR, shortcut=FOUR)
    assert ghost.canonical(12, 12, stride=2) == ghost
    assert MBConv(expand=1, weights=MBConvWeights(expand=FOUR)).canonical(8, 8, stride=1) == MBConv(expand=1)
    dressed = FusedMBConv(expand=1, weights=FusedMBConvWeights(project=FOUR))
    assert dressed.canonical(8, 8, stride=1) == FusedMBConv(expand=1)
    pooled = Head(width=8, form="pooled")
    stages = everywhere(FOUR, "relu").stages
    dynamic = pooled.model_copy(update={"weight": FOUR})
    plain, ours = (Architecture(stem=Stem(width=8), stages=stages, head=head) for head in (pooled, dynamic))
    assert plain == ours
    assert plain.digest == ours.digest


DOCUMENT = {
    "name": "experts",
    "stem": {"width": 8},
    "head": {"width": 8, "weight": {"one_of": ["static", {"op": "dynamic", "experts": 2}]}},
    "stages": [
        {
            "stride": 2,
            "depth": {"int": [1, 2]},
            "width": 16,
            "block": {
                "op": "ghost",
                "hidden": {"one_of": [16, 32]},
                "weights": {
                    "one_of": [
                        {},
                        {"primary": {"op": "dynamic", "experts": {"one_of": [2, 4]}}},
                    ]
                },
            },
        }
    ],
}


def test_experts_are_choices_like_any_other():
    found = space(DOCUMENT)
    assert found.size == 2 * 2 * 2 * 3
    assert found.size_is_exact
    for genes in found.sample(np.random.default_rng(0), 50):
        arch = found.decode(genes)
        assert (found.encode(arch) == genes).all()
        assert found.explain(arch) is None
        assert int(found.costs(genes[None], 64).params[0]) == cost(arch, 64).params


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"op": "ghost", "hidden": 15}, "hidden 15 is odd"),
        ({"op": "ghost", "hidden": 16, "weights": {"primary": "mixed"}}, "'mixed' is not one of static"),
        (
            {"op": "ghost", "hidden": 16, "weights": {"primary": {"op": "dynamik"}}},
            "no op is named 'dynamik', did you mean 'dynamic'",
        ),
    ],
)
def test_refusals(block, said):
    document = {
        "schema": "nas.architecture/1",
        "stem": {"width": 8},
        "stages": [{"depth": 1, "width": 8, "block": block}],
        "head": {"width": 8},
    }
    with pytest.raises(DocumentError, match=said):
        architecture_from_document(document)


def test_a_reduced_network_is_narrower_between_its_modules_too():
    arch = load_architecture("parameternet-600m-m2")
    small = reduce(arch, width_factor=0.25, depth_factor=0.34)
    assert small.head.linear == HeadLinear(width=320)
    assert small.stages[-1].block.hidden == 456
    assert cost(small, 32, 10).params < cost(arch, 32, 10).params / 10
    assert build(small, 10).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
