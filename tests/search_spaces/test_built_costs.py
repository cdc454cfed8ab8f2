"""Closed forms against built networks: parameters, multiply-adds by two counters, bytes kept for backward."""

import numpy as np
import pytest
import torch
from bare_network import bare, build_bare
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_spaces import space_documents
from torch import nn

from proxies.cross_check import _on_cpu, flop_counter_macs, fvcore_macs
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.cost import Cost, output_side, total_padding
from search_spaces.network import build
from search_spaces.space_document import load_space, space

MEMBERS, CHUNKS, FVCORE_MEMBERS = 200, 8, 20
FEW_MEMBERS = {"coatnet": 40, "parameternet": 16}  # each takes four to eight times as long to build
SIDES = (33, 40, 47, 64)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("name", ["tiny", "mnasnet", "effnetv2", "coatnet", "parameternet"])
def test_members_of_shipped_spaces(name, chunk):
    assert_members_cost_what_they_are(name, range(chunk, FEW_MEMBERS.get(name, MEMBERS), CHUNKS))


@pytest.mark.thorough
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("name", FEW_MEMBERS)
def test_further_members_of_spaces_of_large_networks(name, chunk):
    assert_members_cost_what_they_are(name, range(FEW_MEMBERS[name] + chunk, MEMBERS, CHUNKS))


def assert_members_cost_what_they_are(name: str, indices: range) -> None:
    """Parameters of the built network, and half of what `FlopCounterMode` counts, against the closed form."""
    found = load_space(name)
    genes = found.sample(np.random.default_rng(2026), MEMBERS)
    with bare():
        for index in indices:
            arch, side = found.decode(genes[index]), SIDES[index % len(SIDES)]
            network, expected = build_bare(arch, 10, side), cost(arch, side, 10)
            assert sum(parameter.numel() for parameter in network.parameters()) == expected.params
            image = torch.empty((1, 3, side, side), device="meta")
            assert flop_counter_macs(network, image) == expected.macs


@pytest.mark.thorough
@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("name", ["tiny", "mnasnet", "effnetv2"])
def test_members_of_shipped_spaces_by_fvcore(name, chunk):
    found = load_space(name)
    genes = found.sample(np.random.default_rng(2027), FVCORE_MEMBERS)
    with bare():
        for index in range(chunk, FVCORE_MEMBERS, 4):
            arch = found.decode(genes[index])
            network = _on_cpu(build_bare(arch))
            assert fvcore_macs(network, torch.zeros((1, 3, 33, 33))) == cost(arch, 33).macs


@given(space_documents(with_rules=False), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_members_of_random_spaces(document, side, seed):
    found = space(document)
    arch = found.decode(found.sample(np.random.default_rng(seed)))
    network, expected = build_bare(arch, num_classes=7), cost(arch, side, 7)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected.params
    assert flop_counter_macs(network, torch.empty((1, 3, side, side), device="meta")) == expected.macs


# --- bytes kept for backward -----------------------------------------------------------------------------


def kept_bytes(network: nn.Module, side: int, batch: int) -> int:
    """Bytes of the distinct storages that autograd saves in a forward pass, weights and statistics apart."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    saved: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(batch, 3, side, side))
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def kept_by_one_image(arch: Architecture, side: int) -> int:
    network = build(arch, 5, dropout=0.0, drop_path=0.0)
    return kept_bytes(network, side, 3) - kept_bytes(network, side, 2)


def pads_before_a_strided_convolution(arch: Architecture, side: int) -> bool:
    """Whether SAME padding copies a map: an odd total before some strided convolution but the stem's."""
    if arch.padding == "symmetric":
        return False
    side = output_side(side, arch.stem.stride)
    for stage in arch.stages:
        if total_padding(side, stage.block.kernel, stage.stride) % 2:
            return True
        side = output_side(side, stage.stride)
    return False


@given(space_documents(with_rules=False), st.integers(3, 24), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_activation_bytes_of_random_members(document, side, seed):
    found = space(document)
    arch = found.decode(found.sample(np.random.default_rng(seed)))
    uses_relu = any(stage.block.act == "relu" for stage in arch.stages)
    assume(not (uses_relu and pads_before_a_strided_convolution(arch, side)))
    assert kept_by_one_image(arch, side) == cost(arch, side, 5).activation_bytes


def with_everything(act: str, padding: str) -> Architecture:
    """Both blocks with and without expansion, squeeze-and-excitation, stride and residual."""
    gate = SqueezeExcite(ratio=0.25)
    blocks = [
        (1, 8, FusedMBConv(expand=1, act=act)),
        (2, 12, FusedMBConv(expand=2, kernel=5, se=gate, act=act)),
        (1, 12, MBConv(expand=1, se=gate, act=act)),
        (2, 16, MBConv(expand=3, kernel=5, se=SqueezeExcite(ratio=0.5, source="expanded"), act=act)),
        (2, 16, FusedMBConv(expand=1, act=act)),
    ]
    return Architecture(
        stem=Stem(width=8, act=act),
        head=Head(width=24, act=act),
        padding=padding,
        stages=tuple(
            Stage(stride=stride, depth=2, width=width, block=block) for stride, width, block in blocks
        ),
    )


@pytest.mark.parametrize("side", [31, 32, 50])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("act", ["silu", "relu", "gelu", "hard_swish"])
def test_activation_bytes_of_every_kind_of_block(act, padding, side):
    arch = with_everything(act, padding)
    kept, counted = kept_by_one_image(arch, side), cost(arch, side, 5).activation_bytes
    if act == "relu" and pads_before_a_strided_convolution(arch, side):
        assert counted < kept < 1.5 * counted  # the documented exception: ReLU's output and its padded copy
    else:
        assert kept == counted


@pytest.mark.parametrize("name", ["tiny", "mnasnet"])
def test_activation_bytes_of_members_of_shipped_spaces(name):
    found = load_space(name)
    for genes in found.sample(np.random.default_rng(8), 5):
        arch = found.decode(genes)
        assert kept_by_one_image(arch, 32) == cost(arch, 32, 5).activation_bytes


def test_costs_add_up():
    first, second = Cost(1, 2, 3, 4), Cost(10, 20, 30, 40)
    assert first + second == Cost(11, 22, 33, 44)
    assert first.times(3) == first + first + first
