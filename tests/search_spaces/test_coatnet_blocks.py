"""CoAtNet's blocks: relative attention, pre-activation MBConv, and what they cost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_built_costs import kept_by_one_image
from torch.nn import functional as F

from proxies.cross_check import cross_check
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.attention import Attention
from search_spaces.blocks.preact_mbconv import OutputSqueezeExcite, PreactMBConv
from search_spaces.document import DocumentError, architecture_from_document
from search_spaces.layers.attention import RelativeAttention
from search_spaces.network import build
from search_spaces.space_document import load_space, space

GATE = OutputSqueezeExcite(ratio=0.25)


@pytest.fixture(autouse=True)
def repeatable():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def network_of(*runs, **around) -> Architecture:
    """An architecture of (stride, depth, width, block) between CoAtNet's stem and head."""
    stages = tuple(Stage(stride=s, depth=d, width=w, block=b) for s, d, w, b in runs)
    around = {"head": Head(width=12, act="tanh", form="pooled"), **around}
    return Architecture(stem=Stem(width=8, act="gelu", depth=2), stages=stages, **around)


def both_kinds(*, stride_at="depthwise", pool="max", se=GATE, act="gelu", **around) -> Architecture:
    conv = PreactMBConv(expand=2, se=se, stride_at=stride_at, pool=pool, act=act)
    attend = Attention(head_dim=4, expand=2, pool=pool)
    return network_of(
        (1, 1, 8, conv), (2, 2, 12, conv), (2, 1, 12, conv), (2, 2, 16, attend), (1, 1, 24, attend), **around
    )


def with_bias(attention: RelativeAttention) -> RelativeAttention:
    """Every weight is random: at initialisation the table is zero and says nothing."""
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(0.0, 0.3)
    return attention


# --- relative attention ----------------------------------------------------------------------------------


def test_each_pair_of_positions_has_the_bias_of_its_offset():
    side = 3
    attention = with_bias(RelativeAttention(8, 8, 4, side))
    bias, table = attention.bias(side, side), attention.table
    for i in range(side * side):
        for j in range(side * side):
            rows, columns = i // side - j // side, i % side - j % side
            expected = table[:, rows + side - 1, columns + side - 1]
            torch.testing.assert_close(bias[:, i, j], expected, rtol=0, atol=0)


def test_the_bias_equals_two_one_hot_products():
    side = 4
    attention = with_bias(RelativeAttention(8, 8, 4, side))
    offsets = torch.arange(side)[:, None] - torch.arange(side) + side - 1
    one_hot = F.one_hot(offsets, 2 * side - 1).float()
    expected = torch.einsum("mrc,ikr,jlc->mijkl", attention.table, one_hot, one_hot)
    torch.testing.assert_close(attention.bias(side, side), expected.reshape(2, side**2, side**2))


def test_attention_is_torchs_own_with_the_bias_as_its_mask():
    attention, x = with_bias(RelativeAttention(8, 12, 4, 5)), torch.randn(2, 8, 5, 5)
    tokens = x.flatten(2).transpose(1, 2)

    def heads(layer):
        return layer(tokens).view(2, 25, 3, 4).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        heads(attention.query), heads(attention.key), heads(attention.value), attn_mask=attention.bias(5, 5)
    )
    expected = attention.project(mixed.transpose(1, 2).reshape(2, 25, 12))
    torch.testing.assert_close(attention(x), expected.transpose(1, 2).reshape(2, 12, 5, 5))


def test_without_likeness_attention_is_a_normalised_global_convolution():
    """With q = 0 the weights depend on offsets alone; before they are divided by their sum that is conv2d."""
    side = 4
    attention, x = with_bias(RelativeAttention(1, 1, 1, side)), torch.randn(1, 1, side, side)
    with torch.no_grad():
        for layer, weight in (("query", 0.0), ("key", 1.0), ("value", 1.0), ("project", 1.0)):
            getattr(attention, layer).weight.fill_(weight)
            getattr(attention, layer).bias.zero_()
    kernel = attention.table.exp().flip(1, 2)[None]  # conv2d correlates: its offset is j - i
    summed = F.conv2d(x, kernel, padding=side - 1) / F.conv2d(torch.ones_like(x), kernel, padding=side - 1)
    torch.testing.assert_close(attention(x), summed)


@pytest.mark.parametrize(("height", "width"), [(6, 6), (2, 2), (3, 5), (1, 1)])
def test_another_size_reads_the_table_interpolated(height, width):
    attention = with_bias(RelativeAttention(8, 8, 4, 4))
    wanted = (2 * height - 1, 2 * width - 1)
    resized = F.interpolate(attention.table[None], wanted, mode="bilinear", align_corners=True)[0]
    bias = attention.bias(height, width)
    assert bias.shape == (2, height * width, height * width)
    torch.testing.assert_close(bias[:, -1, 0], resized[:, -1, -1])
    torch.testing.assert_close(bias[:, 0, 0], resized[:, height - 1, width - 1])
    assert attention(torch.randn(1, 8, height, width)).shape == (1, 8, height, width)


# --- costs -----------------------------------------------------------------------------------------------

VARIANTS = [
    {},
    {"stride_at": "expand"},
    {"stride_at": "pool"},
    {"stride_at": "pool", "pool": "avg"},
    {"pool": "avg", "se": "none"},
    {"act": "relu"},
    {"stride_at": "expand", "act": "relu", "se": "none"},
    {"padding": "same"},
    {"padding": "same", "stride_at": "expand"},
    {"head": Head(width=12)},
    {"head": Head(width=12, form="pooled", act="gelu")},
    {"head": Head(width=12, form="pooled", act="relu")},
]


@pytest.mark.parametrize("side", [31, 32, 50])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_costs_equal_the_built_network(variant, side):
    arch = both_kinds(**variant)
    assert cross_check(arch, side, 5).agrees
    assert kept_by_one_image(arch, side) == cost(arch, side, 5).activation_bytes


@pytest.mark.parametrize("batch", [1, 3])
def test_parameters_depend_on_the_resolution_and_not_on_the_batch(batch):
    arch = both_kinds()
    small, large = (build(arch, 5, resolution=side) for side in (32, 64))
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (small, large)]
    heads = 2 * 16 // 4 + 24 // 4  # two blocks of 16 and one of 24, at 2x2 and 4x4 positions
    assert counts == [cost(arch, 32, 5).params, cost(arch, 64, 5).params]
    assert counts[1] - counts[0] == heads * (7**2 - 3**2)
    assert small(torch.randn(batch, 3, 64, 64)).shape == (batch, 5)
    assert sum(parameter.numel() for parameter in small.parameters()) == counts[0]


def test_every_parameter_is_trained():
    network = build(both_kinds(), 5, resolution=32)
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


# --- the language ----------------------------------------------------------------------------------------


def test_without_a_stride_nothing_says_where_it_sits():
    plain = network_of((1, 2, 8, PreactMBConv()), (1, 1, 8, Attention(head_dim=4)))
    dressed = network_of(
        (1, 2, 8, PreactMBConv(stride_at="pool", pool="avg")), (1, 1, 8, Attention(head_dim=4, pool="avg"))
    )
    assert plain == dressed
    assert plain.digest == dressed.digest


@pytest.mark.parametrize("change", [{"stride_at": "expand"}, {"pool": "avg"}])
def test_with_a_stride_it_is_another_network(change):
    assert network_of((2, 2, 8, PreactMBConv())) != network_of((2, 2, 8, PreactMBConv(**change)))


def test_a_strided_run_goes_on_in_blocks_that_do_not_say_where_the_stride_sits():
    strided = PreactMBConv(stride_at="expand")
    assert network_of((2, 1, 8, strided), (1, 2, 8, PreactMBConv())) == network_of((2, 3, 8, strided))


STRIDED_RUNS = {
    "name": "split",
    "stem": {"width": 8, "depth": 2},
    "head": {"width": 8, "form": "pooled"},
    "stages": [
        {
            "stride": 2,
            "runs": [
                {
                    "depth": {"int": [low, 2]},
                    "width": 8,
                    "block": {
                        "op": "preact_mbconv",
                        "stride_at": {"one_of": ["depthwise", "expand", "pool"]},
                        "pool": {"one_of": ["max", "avg"]},
                    },
                }
                for low in (0, 1)
            ],
        }
    ],
}


def test_round_trips_where_a_run_splits_and_its_stride_is_a_choice():
    found = space(STRIDED_RUNS)
    assert not found.size_is_exact
    for genes in found.sample(np.random.default_rng(0), 200):
        arch = found.decode(genes)
        first = found.encode(arch)
        assert found.decode(first) == arch
        assert tuple(first.tolist()) <= tuple(genes.tolist())
        assert found.explain(arch) is None


def test_a_single_strided_run_feels_each_choice():
    (stage,) = STRIDED_RUNS["stages"]
    found = space({**STRIDED_RUNS, "stages": [{"stride": 2, **stage["runs"][1]}]})
    assert found.size_is_exact
    assert found.size == 2 * 3 * 2


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_members_of_the_space_keep_their_laws(seed):
    found = load_space("coatnet")
    genes = found.sample(np.random.default_rng(seed))
    arch = found.decode(genes)
    assert found.decode(found.encode(arch)) == arch
    assert [int(column[0]) for column in found.costs(genes[None], 64)] == list(cost(arch, 64))
    ops = [stage.block.op for stage in arch.stages]
    assert ops == sorted(ops, reverse=True)  # preact_mbconv, then attention


@pytest.mark.parametrize(
    ("width", "head_dim", "resolution", "said"),
    [
        (40, 32, 224, "width 40 is not divisible by head_dim 32"),
        (32, 32, 260, "attention over a map of 65 x 65 is more than 4,096 positions"),
    ],
)
def test_attention_refuses(width, head_dim, resolution, said):
    document = {
        "schema": "nas.architecture/1",
        "stem": {"width": 8},
        "stages": [
            {"stride": 2, "depth": 1, "width": width, "block": {"op": "attention", "head_dim": head_dim}}
        ],
        "head": {"width": 8},
        "recipe": {"eval_resolution": resolution},
    }
    with pytest.raises(DocumentError, match=said):
        architecture_from_document(document)
