"""Built networks: that they are what the papers describe, and plain modules to all of torch."""

import copy
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from bare_network import bare, build_bare
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import space_documents
from torch import nn
from torch.nn import functional as F

from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.document import load_architecture
from search_spaces.layers.convolution import Conv2dSame, conv2d
from search_spaces.layers.drop_path import DropPath
from search_spaces.layers.squeeze_excite import SqueezeExciteLayer
from search_spaces.network import build
from search_spaces.space_document import space

GATE = SqueezeExcite(ratio=0.25)


@pytest.fixture(autouse=True)
def repeatable():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def small(padding="symmetric", act="silu", **stem):
    return Architecture(
        stem=Stem(width=8, act=act, **stem),
        head=Head(width=32, act=act),
        padding=padding,
        stages=(
            Stage(stride=1, depth=2, width=8, block=FusedMBConv(expand=1, act=act)),
            Stage(stride=2, depth=2, width=12, block=FusedMBConv(expand=2, se=GATE, act=act)),
            Stage(stride=2, depth=2, width=16, block=MBConv(expand=4, kernel=5, se=GATE, act=act)),
        ),
    )


def images(side=24, batch=2, channels=3):
    return torch.randn(batch, channels, side, side)


def with_statistics(network):
    """The network in evaluation mode, after batch norm has seen something."""
    with torch.no_grad():
        for _ in range(2):
            network.train()(images(32, 8) + 0.5)
    return network.eval()


# --- torch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_channels_last_computes_the_same(padding):
    network, x = with_statistics(build(small(padding), 5)), images(25)
    expected = network(x)
    changed = copy.deepcopy(network).to(memory_format=torch.channels_last)
    found = changed(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 5)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_autocast_trains_in_bfloat16(padding):
    network = build(small(padding), 5, drop_path=0.2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images())
        loss = F.cross_entropy(logits, torch.tensor([0, 1]))
    assert logits.dtype == torch.bfloat16
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_export_gives_the_same_program(padding):
    network, x = with_statistics(build(small(padding), 5)), images(25)
    exported = torch.export.export(network, (x,))
    torch.testing.assert_close(exported.module()(x), network(x))


@pytest.mark.parametrize(("padding", "training"), [("symmetric", False), ("same", True)])
def test_compile_traces_one_whole_graph(padding, training):
    network, x = build(small(padding), 5).train(training), images(25)
    reference = copy.deepcopy(network)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), reference(x))
    if training:
        compiled(x).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_state_dict_round_trip():
    first, second, x = with_statistics(build(small(), 5)), build(small(), 5).eval(), images()
    assert not torch.allclose(first(x), second(x))
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)


def test_gradients_reach_every_parameter():
    network = build(small(), 5)
    network(images()).square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters()
    )


def test_one_seed_one_network():
    torch.manual_seed(5)
    first = build(small(), 5)
    torch.manual_seed(5)
    second = build(small(), 5)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"drop_path": 1.0}, r"drop_path is 1\.0; it must be at least 0 and below 1"),
        ({"drop_path": -0.1}, r"drop_path is -0\.1"),
    ],
)
def test_nonsense_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        build(small(), **options)


# --- shapes and padding ----------------------------------------------------------------------------------


def tensorflow_same(size, kernel, stride):
    """Rows before and after, as TensorFlow's documentation of `padding='SAME'` gives them."""
    total = max(kernel - stride, 0) if size % stride == 0 else max(kernel - size % stride, 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_tensorflows(kernel, stride):
    conv = conv2d(2, 3, kernel=kernel, stride=stride, padding="same")
    assert isinstance(conv, Conv2dSame) == (stride == 2)
    for height, width in [(1, 1), (1, 8), (2, 3), (7, 8), (8, 7), (9, 9), (10, 12)]:
        x = torch.randn(1, 2, height, width)
        rows, columns = tensorflow_same(height, kernel, stride), tensorflow_same(width, kernel, stride)
        padded = F.pad(x, (*columns, *rows))
        expected = F.conv2d(padded, conv.weight, stride=stride)
        assert expected.shape[2:] == (math.ceil(height / stride), math.ceil(width / stride))
        torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_every_stage_halves_rounding_up(padding):
    network = build(small(padding), 5).eval()
    for height, width in [(33, 32), (1, 2), (17, 40)]:
        x, shape = torch.randn(1, 3, height, width), (height, width)
        x = network.stem(x)
        shape = tuple(math.ceil(size / 2) for size in shape)
        assert x.shape[2:] == shape
        for index, block in enumerate(network.blocks):
            x = block(x)
            if index in {2, 4}:
                shape = tuple(math.ceil(size / 2) for size in shape)
            assert x.shape[2:] == shape


def test_paddings_differ_only_in_values():
    symmetric, same = build(small("symmetric"), 5), build(small("same"), 5)
    same.load_state_dict(symmetric.state_dict())
    odd, even = images(25), images(24)
    torch.testing.assert_close(symmetric.stem[0](odd), same.stem[0](odd))  # an odd map is padded alike
    assert not torch.allclose(symmetric.stem[0](even), same.stem[0](even))


# --- details that reimplementations get wrong ------------------------------------------------------------


def test_batch_norm_as_released():
    norms = [module for module in build(small(), 5).modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


def test_squeeze_widths_come_from_the_block_input():
    gates = [module for module in build(small(), 5).modules() if isinstance(module, SqueezeExciteLayer)]
    widths = [(gate.reduce.in_channels, gate.reduce.out_channels) for gate in gates]
    assert widths == [(16, 2), (24, 3), (48, 3), (64, 4)]  # the first block of a stage reads the one before
    expanded = MBConv(expand=4, se=SqueezeExcite(ratio=0.25, source="expanded"))
    one = Architecture(
        stem=Stem(width=8), head=Head(width=8), stages=(Stage(stride=1, depth=1, width=8, block=expanded),)
    )
    (gate,) = [module for module in build(one).modules() if isinstance(module, SqueezeExciteLayer)]
    assert gate.reduce.out_channels == 8
    assert SqueezeExcite(ratio=0.25).reduced_width(3, 12) == 1  # never none


def test_drop_path_rises_with_the_block_and_never_reaches_its_rate():
    arch = load_architecture("efficientnetv2-s")
    with torch.device("meta"):
        network = build(arch)
    rates = [block.drop_path.rate for block in network.blocks]
    expected = [0.2 * index / 40 if block.has_residual else 0.0 for index, block in enumerate(network.blocks)]
    assert rates == pytest.approx(expected)
    assert max(rates) == pytest.approx(0.195)
    assert network.dropout.p == 0.2
    assert all(block.drop_path.rate == 0 for block in build(small(), 5).blocks)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    layer, x = DropPath(0.25), torch.ones(4_000, 2, 3, 3)
    kept = layer(x)
    per_sample = kept.flatten(1)
    assert ((per_sample == 0).all(1) | (per_sample == 1 / 0.75).all(1)).all()
    assert kept.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(DropPath(0.0)(x), x)


@pytest.mark.parametrize("act", ["silu", "relu"])
def test_fused_blocks_without_expansion_activate_before_the_sum(act):
    arch = small(act=act)
    block = with_statistics(build(arch, 5)).blocks[1]
    x = torch.randn(2, 8, 6, 6)
    conv, norm, activation = block.fused
    assert len(block.project) == 0
    torch.testing.assert_close(block(x), x + activation(norm(conv(x))))
    assert block(x).min() < -0.5  # so nothing comes after the sum


def test_initialisers():
    """Normal with the fan-out per group; the classifier uniform within 1 / sqrt(outputs); biases zero."""
    arch = Architecture(
        stem=Stem(width=64),
        head=Head(width=512),
        stages=(
            Stage(stride=2, depth=1, width=64, block=FusedMBConv(expand=4, kernel=3)),
            Stage(
                stride=2, depth=1, width=128, block=MBConv(expand=8, kernel=3, se=SqueezeExcite(ratio=1.0))
            ),
        ),
    )
    network = build(arch, 1000)
    mbconv = network.blocks[1]
    depthwise = mbconv.depthwise[0]
    for conv, std in (
        (network.stem[0], math.sqrt(2 / (9 * 64))),
        (network.blocks[0].fused[0], math.sqrt(2 / (9 * 256))),
        (network.blocks[0].project[0], math.sqrt(2 / 64)),
        (mbconv.expand[0], math.sqrt(2 / 512)),
        (depthwise, math.sqrt(2 / 9)),
        (mbconv.excite.reduce, math.sqrt(2 / 64)),
        (mbconv.excite.restore, math.sqrt(2 / 512)),
        (network.head[0], math.sqrt(2 / 512)),
    ):
        error = 4 * std / math.sqrt(2 * conv.weight.numel())
        assert conv.weight.std().item() == pytest.approx(std, abs=error)
        assert conv.weight.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(conv.weight.numel()))
        assert conv.weight.abs().max() > 2.2 * std  # not truncated
    assert depthwise.weight.std().item() == pytest.approx(0.4714, abs=0.03)
    bound = 1 / math.sqrt(1000)
    assert network.classifier.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert network.classifier.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    for bias in (network.classifier.bias, mbconv.excite.reduce.bias, mbconv.excite.restore.bias):
        assert (bias == 0).all()
    assert all(
        module.bias is None or module in (mbconv.excite.reduce, mbconv.excite.restore)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    )


# --- an independent EfficientNetV2-B0 ----------------------------------------------------------------------

B0 = [  # op, kernel, stride, expand, in, out, layers: the released configuration, as one reads it
    ("fused", 3, 1, 1, 32, 16, 1),
    ("fused", 3, 2, 4, 16, 32, 2),
    ("fused", 3, 2, 4, 32, 48, 2),
    ("mbconv", 3, 2, 4, 48, 96, 3),
    ("mbconv", 3, 1, 6, 96, 112, 5),
    ("mbconv", 3, 2, 6, 112, 192, 8),
]


def plain_forward(weights, x):
    """EfficientNetV2-B0 in evaluation mode, written straight down with symmetric padding."""
    rest = iter(weights)

    def take():
        return next(rest)

    def conv(x, kernel, stride=1, groups=1):
        return F.conv2d(x, take(), None, stride, kernel // 2, 1, groups)

    def norm(x):
        gamma, beta, mean, variance, _ = take(), take(), take(), take(), take()
        scale = gamma / (variance + 1e-3).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]

    def silu(x):
        return x * torch.sigmoid(x)

    x = silu(norm(conv(x, 3, 2)))
    for op, kernel, stride, expand, width, out, layers in B0:
        for layer in range(layers):
            before, step, inside = x, stride if layer == 0 else 1, width if layer == 0 else out
            if op == "fused":
                x = silu(norm(conv(x, kernel, step)))
                if expand != 1:
                    x = norm(conv(x, 1))
            else:
                x = silu(norm(conv(x, 1)))
                x = silu(norm(conv(x, kernel, step, groups=inside * expand)))
                gate = x.mean((2, 3))
                gate = silu(gate @ (w := take())[:, :, 0, 0].T + take())
                assert len(w) == max(1, int(inside * 0.25))
                gate = torch.sigmoid(gate @ take()[:, :, 0, 0].T + take())
                x = x * gate[:, :, None, None]
                x = norm(conv(x, 1))
            if step == 1 and inside == out:
                x = x + before
    x = silu(norm(conv(x, 1))).mean((2, 3))
    x = x @ take().T + take()
    assert next(rest, None) is None
    return x


def test_efficientnetv2_b0_equals_one_written_straight_down():
    network = with_statistics(build(load_architecture("efficientnetv2-b0"), 1000))
    with torch.no_grad():
        for side in (64, 47):
            x = images(side)
            expected = plain_forward(network.state_dict().values(), x)
            assert expected.abs().max() > 0.05
            torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


# --- equal networks, equal digests -------------------------------------------------------------------------


def structure(arch):
    network = build_bare(arch, 3)
    return repr(network), tuple(tuple(parameter.shape) for parameter in network.parameters())


@given(space_documents(with_rules=False), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_networks_are_equal_exactly_when_digests_are(document, seed):
    found = space(document)
    genes = found.sample(np.random.default_rng(seed), 8)
    archs = list({arch.digest: arch for arch in map(found.decode, genes)}.values())
    archs.append(found.decode(genes[0]))
    with bare():
        structures = [structure(arch) for arch in archs]
    for (first, one), (second, other) in combinations(zip(archs, structures, strict=True), 2):
        assert (first.digest == second.digest) == (one == other)
        assert (first == second) == (one == other)
