"""Operations of blocks and networks: sums against the closed forms, maps against the built network."""

from collections import Counter

import numpy as np
import pytest
import torch
from bare_network import bare, build_bare
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_spaces import space_documents
from torch import nn

from search_spaces.architecture import Architecture, cost
from search_spaces.document import load_architecture
from search_spaces.operations import (
    OPERATION_KINDS,
    Operation,
    convolution,
    linear,
    scale,
    total_macs,
    total_weights,
)
from search_spaces.physical import physical_feature_names
from search_spaces.registry import BLOCKS
from search_spaces.shipped import ARCHITECTURES, shipped_names
from search_spaces.space_document import load_space, space
from search_spaces.workload import MAC_KINDS, PHYSICAL_QUANTITIES, network_operations, physical_row


def assert_sums_are_costs(arch: Architecture, resolution: int, num_classes: int) -> None:
    found, expected = (
        network_operations(arch, resolution, num_classes),
        cost(arch, resolution, num_classes),
    )
    assert (total_macs(found), total_weights(found)) == (expected.macs, expected.params)


@pytest.mark.parametrize("name", shipped_names(ARCHITECTURES))
def test_macs_and_weights_of_shipped_architectures_are_those_of_the_cost(name):
    arch = load_architecture(name)
    for resolution, num_classes in ((arch.eval_resolution, 1000), (33, 7)):
        assert_sums_are_costs(arch, resolution, num_classes)


@given(space_documents(with_rules=False), st.integers(1, 70), st.integers(1, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_macs_and_weights_sum_to_the_cost(document, resolution, num_classes, seed):
    found = space(document)
    assert_sums_are_costs(found.decode(found.sample(np.random.default_rng(seed))), resolution, num_classes)


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_operations_of_a_block_are_of_known_kinds(name):
    spaces = [load_space(each) for each in ("tiny", "mnasnet", "coatnet", "parameternet")]
    members = [
        found.decode(genes) for found in spaces for genes in found.sample(np.random.default_rng(3), 100)
    ]
    blocks = {stage.block for arch in members for stage in arch.stages if stage.block.op == name}
    fields = BLOCKS[name].spec.model_fields
    blocks |= {BLOCKS[name].spec(**{key: 4 for key, field in fields.items() if field.is_required()})}
    for block in blocks:
        for stride, padding in ((1, "same"), (2, "symmetric"), (2, "same")):
            found = block.operations(32, 32, stride=stride, side=15, padding=padding)
            assert {each.kind for each in found} <= set(OPERATION_KINDS)
            assert all(min(each.macs, each.read, each.written, each.weights) >= 0 for each in found)
            expected = block.cost(32, 32, stride=stride, side=15, padding=padding)
            assert (total_macs(found), total_weights(found)) == (expected.macs, expected.params)
            assert {each.kind for each in found if each.macs} <= set(MAC_KINDS)


def executed(network: nn.Module, image: torch.Tensor) -> Counter[tuple[str, int, int, int]]:
    """Kind, elements read and written, and weights of every leaf that is a convolution, norm or linear."""
    seen: Counter[tuple[str, int, int, int]] = Counter()

    def record(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weights = sum(parameter.numel() for parameter in module.parameters())
        if isinstance(module, nn.Conv2d):
            on_vector = output.shape[-1] == 1 and module.bias is not None  # squeeze-and-excitation's
            kind = "linear" if on_vector else "depthwise" if module.groups > 1 else "conv"
            kind = "pointwise" if kind == "conv" and module.kernel_size == (1, 1) else kind
        else:
            kind = "linear" if isinstance(module, nn.Linear) else "norm"
        seen[kind, inputs[0].numel(), output.numel(), weights] += 1

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.register_forward_hook(record)  # type: ignore[arg-type]
    network(image)
    return seen


@pytest.mark.parametrize("name", ["tiny", "mnasnet", "effnetv2"])
def test_maps_are_those_of_the_built_network(name):
    found = load_space(name)
    with bare():
        for genes in found.sample(np.random.default_rng(11), 6):
            arch = found.decode(genes)
            network = build_bare(arch, num_classes=10).eval()
            expected = executed(network, torch.empty((1, 3, 47, 47), device="meta"))
            listed = Counter(
                (each.kind, each.read, each.written, each.weights)
                for each in network_operations(arch, 47, 10)
                if each.weights
            )
            assert listed == expected


def test_residual_additions_are_those_of_the_built_network():
    arch = load_architecture("efficientnetv2-s")
    additions = [each for each in network_operations(arch, 300) if each.kind == "add"]
    with bare():
        blocks = build_bare(arch).blocks
        assert isinstance(blocks, nn.Sequential)
        assert len(additions) == sum(bool(block.has_residual) for block in blocks)


def test_constructors():
    assert convolution(4, 8, kernel=3, area_in=16, area_out=4) == Operation("conv", 4 * 288, 64, 32, 288)
    assert convolution(8, 8, kernel=3, area_in=16, area_out=16, groups=8).macs == 16 * 9 * 8
    assert convolution(4, 8, kernel=1, area_in=16, area_out=16).kind == "pointwise"
    assert linear(3, 2) == Operation("linear", 6, 3, 2, 8)
    assert scale(8, 16) == Operation("scale", 0, 8 * 16 + 8, 8 * 16, 0)


@pytest.mark.parametrize(("resolution", "num_classes"), [(0, 10), (10, 0)])
def test_nothing_to_look_at_is_refused(resolution, num_classes):
    with pytest.raises(ValueError, match="must be at least 1"):
        network_operations(load_architecture("efficientnetv2-b0"), resolution, num_classes)


# --- physical features -----------------------------------------------------------------------------------


@given(space_documents(with_rules=False), st.integers(1, 70), st.integers(1, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_physical_features_of_a_population_are_those_of_its_members(document, resolution, num_classes, seed):
    found = space(document)
    assume(found.size)
    genes = found.sample(np.random.default_rng(seed), 20)
    features = found.physical_features(genes, resolution, num_classes)
    assert features.shape == (20, len(found.physical_feature_names))
    totals = features[:, : len(PHYSICAL_QUANTITIES)]
    for row, counted in zip(genes, totals, strict=True):
        arch = found.decode(row)
        operations = network_operations(arch, resolution, num_classes)
        assert tuple(counted) == physical_row(operations, cost(arch, resolution, num_classes))


def test_columns_of_a_run_are_of_that_run_alone():
    found = load_space("mnasnet")
    genes = found.sample(np.random.default_rng(5), 50)
    gene = next(index for index, each in enumerate(found.genes) if each.site.startswith("stages[6].depth"))
    other = genes.copy()
    other[:, gene] = (genes[:, gene] + 1) % len(found.genes[gene].labels)
    differs = (found.physical_features(genes) != found.physical_features(other)).any(axis=0)
    names = [name for name, is_other in zip(found.physical_feature_names, differs, strict=True) if is_other]
    assert {name.split(".")[0] for name in names if name.startswith("stages")} == {"stages[6]"}
    assert "operations" in names


def test_names_of_features_are_unique_and_stable():
    found = load_space("effnetv2")
    names = found.physical_feature_names
    assert names == physical_feature_names(found.slots)
    assert len(set(names)) == len(names) == (1 + len(found.slots)) * len(PHYSICAL_QUANTITIES)
    assert names[0] == "macs.conv"


def test_features_at_two_resolutions_do_not_disturb_each_other():
    found = load_space("tiny")
    genes = found.sample(np.random.default_rng(5), 20)
    small, large = found.physical_features(genes, 32), found.physical_features(genes, 64)
    assert (large[:, : len(MAC_KINDS)] >= small[:, : len(MAC_KINDS)]).all()
    assert (load_space("tiny").physical_features(genes, 64) == large).all()
    with pytest.raises(ValueError, match="must be at least 1"):
        found.physical_features(genes, 0)
