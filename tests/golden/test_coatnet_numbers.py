"""Counts of the CoAtNets, with the stride in the depthwise convolution or in the expansion.

Source: Dai et al. 2021, arXiv:2106.04803, Tables 4, 5, 9, 13 and 14, which print parameters and, as "FLOPs",
multiply-adds; the exact integers are those of timm's modules of the same form. The printed multiply-adds
lie up to 4 % above these (their profiler counts softmax and elementwise operations too), never below.
"""

from dataclasses import replace

import pytest

from search_spaces.architecture import Architecture, cost
from search_spaces.blocks.preact_mbconv import PreactMBConv
from search_spaces.document import load_architecture
from search_spaces.space_document import load_space

EXACT = {"coatnet-0": (25_036_820, 4_546_507_776), "coatnet-2": (74_684_744, 16_427_134_976)}

STRIDE_IN_EXPANSION = {  # giga multiply-adds: counted, and printed where the paper has it
    ("coatnet-0", 224): ("4.14", 4.2),
    ("coatnet-1", 224): ("8.24", 8.4),
    ("coatnet-2", 224): ("15.50", 15.7),
    ("coatnet-3", 224): ("34.37", 34.7),
    ("coatnet-4", 224): ("60.24", None),
    ("coatnet-5", 224): ("142.18", None),
    ("coatnet-0", 384): ("13.05", 13.4),
    ("coatnet-1", 384): ("26.60", 27.4),
    ("coatnet-2", 384): ("48.75", 49.8),
    ("coatnet-3", 384): ("105.79", 107.4),
    ("coatnet-4", 384): ("186.50", 189.5),
    ("coatnet-2", 512): ("93.35", 96.7),
    ("coatnet-3", 512): ("198.11", 203.1),
    ("coatnet-4", 512): ("351.46", 360.9),
    ("coatnet-5", 512): ("803.98", 812),
    ("coatnet-6", 512): ("1495.49", 1521),
    ("coatnet-7", 512): ("2538.53", 2586),
}
STRIDE_IN_DEPTHWISE = {"coatnet-0": ("4.55", 4.6), "coatnet-1": ("8.64", 8.8), "coatnet-2": ("16.43", 16.6)}
MEGA_PARAMS = {
    ("coatnet-0", 224): ("25.04", 25),
    ("coatnet-1", 224): ("42.23", 42),
    ("coatnet-2", 224): ("74.68", 75),
    ("coatnet-3", 512): ("168.13", 168),
    ("coatnet-4", 224): ("275.43", 275),
    ("coatnet-5", 512): ("688.92", 688),
    ("coatnet-6", 224): ("1471.13", 1470),
    ("coatnet-7", 224): ("2441.97", 2440),
}


def stride_in_expansion(name: str) -> Architecture:
    """The paper's main form of a shipped network."""
    arch = load_architecture(name)
    stages = (
        replace(stage, block=stage.block.model_copy(update={"stride_at": "expand"}))
        if isinstance(stage.block, PreactMBConv)
        else stage
        for stage in arch.stages
    )
    return replace(arch, stages=tuple(stages))


@pytest.mark.parametrize("name", EXACT)
def test_exact_counts(name: str):
    found = cost(load_architecture(name), 224)
    assert (found.params, found.macs) == EXACT[name]


@pytest.mark.parametrize(("name", "resolution"), STRIDE_IN_EXPANSION)
def test_macs_with_the_stride_in_the_expansion(name: str, resolution: int):
    counted, printed = STRIDE_IN_EXPANSION[name, resolution]
    macs = cost(stride_in_expansion(name), resolution).macs / 1e9
    assert f"{macs:.2f}" == counted
    if printed is not None:
        assert 0.96 * printed <= macs <= printed


@pytest.mark.parametrize("name", STRIDE_IN_DEPTHWISE)
def test_macs_with_the_stride_in_the_depthwise_convolution(name: str):
    counted, printed = STRIDE_IN_DEPTHWISE[name]
    macs = cost(load_architecture(name), 224).macs / 1e9
    assert f"{macs:.2f}" == counted
    assert 0.96 * printed <= macs <= printed


@pytest.mark.parametrize(("name", "resolution"), MEGA_PARAMS)
def test_params(name: str, resolution: int):
    counted, printed = MEGA_PARAMS[name, resolution]
    params = cost(load_architecture(name), resolution).params / 1e6
    assert f"{params:.2f}" == counted
    assert params == pytest.approx(printed, rel=0.01)


def test_coatnet_6_with_its_printed_last_stage_has_far_fewer_parameters_than_printed():
    arch = load_architecture("coatnet-6")
    last = replace(arch.stages[-1], width=2048)
    head = arch.head.model_copy(update={"width": 2048})
    as_printed = replace(arch, stages=(*arch.stages[:-1], last), head=head)
    assert f"{cost(as_printed, 224).params / 1e6:.1f}" == "1348.4"


@pytest.mark.parametrize("size", range(5))
def test_the_space_holds_the_family_in_both_forms(size: int):
    space = load_space("coatnet")
    for arch in (load_architecture(f"coatnet-{size}"), stride_in_expansion(f"coatnet-{size}")):
        assert space.explain(arch) is None
        assert space.decode(space.encode(arch)) == arch
