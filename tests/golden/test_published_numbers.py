"""Counts of the published networks.

Source: the authors' released code (google/automl, efficientnetv2), whose own test file asserts the Keras
totals (trainable parameters and two moving statistics for each batch-norm channel); multiply-adds as in
torchvision's metadata and fvcore's conv + linear. Papers: arXiv:2104.00298 (V2), arXiv:1905.11946 (V1).
"""

import pytest
from torch import nn

from search_spaces.architecture import (
    Architecture,
    cost,
    head_cost,
    stage_cost,
    stem_cost,
)
from search_spaces.cost import output_side
from search_spaces.document import architecture_names, load_architecture
from search_spaces.network import build
from search_spaces.space_document import load_space

PARAMS = {
    "efficientnetv2-s": 21_458_488,
    "efficientnetv2-m": 54_139_356,
    "efficientnetv2-l": 118_515_272,
    "efficientnetv2-b0": 7_139_704,
    "efficientnetv2-b1": 8_141_052,
    "efficientnetv2-b3": 14_358_406,
    "efficientnet-b0": 5_288_548,
    "efficientnet-b1": 7_794_184,
    "efficientnet-b3": 12_233_232,
    "efficientnet-b4": 19_341_616,
    "efficientnet-b7": 66_347_960,
}
KERAS_TOTAL = {
    "efficientnetv2-s": (21_612_360, 76_936),
    "efficientnetv2-m": (54_431_388, 146_016),
    "efficientnetv2-l": (119_027_848, 256_288),
    "efficientnetv2-b0": (7_200_312, 30_304),
    "efficientnetv2-b3": (14_467_622, 54_608),
}
MACS = {
    ("efficientnetv2-s", 384): 8_365_617_152,
    ("efficientnetv2-s", 300): 5_307_561_248,
    ("efficientnetv2-s", 224): 2_849_895_872,
    ("efficientnetv2-s", 128): 933_908_480,
    ("efficientnetv2-m", 480): 24_582_460_384,
    ("efficientnetv2-m", 384): 15_736_775_680,
    ("efficientnetv2-m", 224): 5_362_207_200,
    ("efficientnetv2-l", 480): 56_079_699_008,
    ("efficientnetv2-l", 384): 35_899_418_624,
    ("efficientnetv2-l", 224): 12_231_188_544,
    ("efficientnetv2-b0", 224): 718_086_176,
    ("efficientnetv2-b3", 300): 3_011_458_816,
}
GIGA_MACS = {  # printed to this many digits
    ("efficientnetv2-b0", 192): (0.5282, 4),
    ("efficientnetv2-b1", 240): (1.1968, 4),
    ("efficientnetv2-b3", 240): (1.9080, 4),
    ("efficientnetv2-xl", 512): (93.35, 2),
    ("efficientnet-b0", 224): (0.386, 3),
    ("efficientnet-b1", 240): (0.687, 3),
    ("efficientnet-b3", 300): (1.827, 3),
    ("efficientnet-b4", 380): (4.394, 3),
    ("efficientnet-b7", 600): (37.746, 3),
}
MEGA_PARAMS = {  # the README of the released code; Table 2 of the V1 paper
    "efficientnetv2-b1": (8.1, 1),
    "efficientnetv2-b2": (10.1, 1),
    "efficientnetv2-xl": (208, 0),
    "efficientnet-b2": (9.1, 1),
    "efficientnet-b5": (30, 0),
    "efficientnet-b6": (43, 0),
}
STAGE_PARAMS = {
    "efficientnetv2-s": (696, 10_464, 303_552, 589_184, 917_680, 3_463_840, 14_561_832, 330_240, 1_281_000),
    "efficientnetv2-m": (
        *(696, 15_696, 396_192, 1_126_048, 1_686_340, 6_650_852, 24_627_064, 17_697_548),
        *(657_920, 1_281_000),
    ),
}
STAGES = {  # (channels, layers) of each stage: Table 4 and the released configurations
    "efficientnetv2-s": [(24, 2), (48, 4), (64, 4), (128, 6), (160, 9), (256, 15)],
    "efficientnetv2-m": [(24, 3), (48, 5), (80, 5), (160, 7), (176, 14), (304, 18), (512, 5)],
    "efficientnetv2-l": [(32, 4), (64, 7), (96, 7), (192, 10), (224, 19), (384, 25), (640, 7)],
    "efficientnetv2-xl": [(32, 4), (64, 8), (96, 8), (192, 16), (256, 24), (512, 32), (640, 8)],
    "efficientnetv2-b0": [(16, 1), (32, 2), (48, 2), (96, 3), (112, 5), (192, 8)],
    "efficientnetv2-b1": [(16, 2), (32, 3), (48, 3), (96, 4), (112, 6), (192, 9)],
    "efficientnetv2-b2": [(16, 2), (32, 3), (56, 3), (104, 4), (120, 6), (208, 10)],
    "efficientnetv2-b3": [(16, 2), (40, 3), (56, 3), (112, 5), (136, 7), (232, 12)],
    "efficientnet-b0": [(16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1)],
}
SIDES = {
    ("efficientnetv2-s", 384): [192, 96, 48, 24, 24, 12],
    ("efficientnetv2-s", 300): [150, 75, 38, 19, 19, 10],
    ("efficientnetv2-m", 480): [240, 120, 60, 30, 30, 15, 15],
    ("efficientnetv2-l", 480): [240, 120, 60, 30, 30, 15, 15],
    ("efficientnetv2-xl", 512): [256, 128, 64, 32, 32, 16, 16],
    ("efficientnetv2-b0", 224): [112, 56, 28, 14, 14, 7],
    ("efficientnetv2-b3", 300): [150, 75, 38, 19, 19, 10],
}
STEM_HEAD = {
    "efficientnetv2-s": (24, 1280),
    "efficientnetv2-m": (24, 1280),
    "efficientnetv2-l": (32, 1280),
    "efficientnetv2-xl": (32, 1280),
    "efficientnetv2-b0": (32, 1280),
    "efficientnetv2-b1": (32, 1280),
    "efficientnetv2-b2": (32, 1408),
    "efficientnetv2-b3": (40, 1536),
    "efficientnet-b0": (32, 1280),
}
RECIPES = {  # train and eval resolution, dropout
    "efficientnetv2-s": (300, 384, 0.2),
    "efficientnetv2-m": (384, 480, 0.3),
    "efficientnetv2-l": (384, 480, 0.4),
    "efficientnetv2-xl": (384, 512, 0.4),
    "efficientnetv2-b0": (192, 224, 0.2),
    "efficientnetv2-b1": (192, 240, 0.2),
    "efficientnetv2-b2": (208, 260, 0.3),
    "efficientnetv2-b3": (240, 300, 0.3),
}


def test_every_published_network_is_shipped():
    v2 = {f"efficientnetv2-{size}" for size in ("b0", "b1", "b2", "b3", "s", "m", "l", "xl")}
    v1 = {f"efficientnet-b{number}" for number in range(8)}
    coatnet = {f"coatnet-{number}" for number in range(8)}
    ghost = {f"ghostnet-{size}" for size in ("1.0", "1.3", "300m", "600m")}
    dynamic = {f"parameternet-{size}-m{experts}" for size in ("300m", "600m") for experts in (2, 4, 8)}
    assert set(architecture_names()) == v1 | v2 | coatnet | ghost | dynamic


@pytest.mark.parametrize("name", PARAMS)
def test_params(name: str):
    arch = load_architecture(name)
    counted = cost(arch, arch.eval_resolution)
    assert counted.params == counted.active_params == PARAMS[name]


@pytest.mark.parametrize("name", KERAS_TOTAL)
def test_keras_total_counts_the_moving_statistics_too(name: str):
    import torch

    total, channels = KERAS_TOTAL[name]
    with torch.device("meta"):
        network = build(load_architecture(name))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sum(norm.num_features for norm in norms) == channels
    assert sum(parameter.numel() for parameter in network.parameters()) + 2 * channels == total


@pytest.mark.parametrize(("name", "resolution"), MACS)
def test_macs(name: str, resolution: int):
    assert cost(load_architecture(name), resolution).macs == MACS[name, resolution]


@pytest.mark.parametrize(("name", "resolution"), GIGA_MACS)
def test_macs_to_the_printed_digits(name: str, resolution: int):
    expected, digits = GIGA_MACS[name, resolution]
    assert round(cost(load_architecture(name), resolution).macs / 1e9, digits) == expected


@pytest.mark.parametrize("name", MEGA_PARAMS)
def test_params_to_the_printed_digits(name: str):
    expected, digits = MEGA_PARAMS[name]
    assert round(cost(load_architecture(name), 224).params / 1e6, digits) == expected


@pytest.mark.parametrize("name", STAGE_PARAMS)
def test_params_by_stage(name: str):
    assert tuple(_params_by_part(load_architecture(name))) == STAGE_PARAMS[name]


def _params_by_part(arch: Architecture) -> list[int]:
    stem, side = stem_cost(arch.stem, 3, 224, arch.padding)
    parts, width = [stem.params], arch.stem.width
    for stage in arch.stages:
        found, side = stage_cost(stage, width, side, arch.padding)
        width = stage.width
        parts.append(found.params)
    classifier = arch.head.width * 1000 + 1000
    return [*parts, head_cost(arch.head, width, side, 1000).params - classifier, classifier]


@pytest.mark.parametrize("name", STAGES)
def test_widths_and_depths(name: str):
    arch = load_architecture(name)
    assert [(stage.width, stage.depth) for stage in arch.stages] == STAGES[name]
    assert (arch.stem.width, arch.head.width) == STEM_HEAD[name]


@pytest.mark.parametrize(("name", "resolution"), SIDES)
def test_spatial_sizes(name: str, resolution: int):
    arch = load_architecture(name)
    side, sides = output_side(resolution, arch.stem.stride), []
    for stage in arch.stages:
        side = output_side(side, stage.stride)
        sides.append(side)
    assert sides == SIDES[name, resolution]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str):
    recipe = load_architecture(name).recipe
    assert (recipe.train_resolution, recipe.eval_resolution, recipe.dropout) == RECIPES[name]
    assert recipe.drop_path == 0.2


@pytest.mark.parametrize(
    ("name", "blocks", "residual"),
    [("s", 40, 35), ("m", 57, 51), ("l", 79, 73), ("xl", 100, 94), ("b0", 21, 15), ("b1", 27, None)],
)
def test_blocks_and_residual_connections(name: str, blocks: int, residual: int | None):
    arch = load_architecture(f"efficientnetv2-{name}")
    widths = [arch.stem.width, *(stage.width for stage in arch.stages)]
    first = sum(
        stage.stride == 1 and stage.width == before
        for before, stage in zip(widths, arch.stages, strict=False)
    )
    assert arch.num_blocks == blocks
    if residual is not None:
        assert first + sum(stage.depth - 1 for stage in arch.stages) == residual


@pytest.mark.parametrize("size", ["b0", "b1", "b2", "b3", "s", "m"])
def test_effnetv2_holds_the_published_networks_with_a_round_trip(size: str):
    space, arch = load_space("effnetv2"), load_architecture(f"efficientnetv2-{size}")
    assert space.contains(arch)
    assert space.explain(arch) is None
    assert space.decode(space.encode(arch)) == arch
    assert arch in space.seeds


@pytest.mark.parametrize("size", ["l", "xl"])
def test_effnetv2_stops_below_l(size: str):
    arch = load_architecture(f"efficientnetv2-{size}")
    assert not load_space("effnetv2").contains(arch)
    assert load_space("effnetv2").explain(arch) == "stages[0].width: 32 is not among 12, 16, 20, 24"


def test_space_sizes():
    """Options multiplied by hand: per stage depths x widths x (2 ops x 2 kernels x 4 expansions x 2 SE)."""
    widths = (4, 4, 6, 7, 7, 7, 3)
    depths = (5, 5, 5, 6, 11, 12, 7)
    effnetv2 = 3 * 3  # stem and head
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        present = width * 2 * 2 * 4 * 2
        effnetv2 *= 1 + (depth - 1) * present if number in {0, 6} else depth * present
    assert load_space("effnetv2").size == effnetv2 == 14_569_885_248_999_181_516_800
    assert load_space("mnasnet").size == (3 * 3 * 2 * 2) ** 6 * (4 * 3 * 2 * 2) == 104_485_552_128
    assert load_space("tiny").size == 3 * 3 * (1 + 2 * 72) ** 2 * (3 * 72) ** 2
