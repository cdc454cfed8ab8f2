"""timm's block strings: the published ones, and twins built from them that compute the same."""

from dataclasses import replace

import pytest
import torch
from exported import CLASSES, members, with_statistics
from timm_grammar import architecture, settings, stage
from timm_twin import twin

import nas
from nas.deploy.timm_file import timm_strings, timm_text
from nas.errors import ExportError
from results.anchors import IMAGENET_TOP1
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.attention import Attention
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.document import load_architecture
from search_spaces.network import build
from search_spaces.seal import is_broken
from search_spaces.shipped import SPACES, shipped_names

# As in timm/models/efficientnet.py.
PUBLISHED = {
    "efficientnetv2-s": [
        "cn_r2_k3_s1_e1_c24_skip",
        "er_r4_k3_s2_e4_c48",
        "er_r4_k3_s2_e4_c64",
        "ir_r6_k3_s2_e4_c128_se0.25",
        "ir_r9_k3_s1_e6_c160_se0.25",
        "ir_r15_k3_s2_e6_c256_se0.25",
    ],
    "efficientnetv2-b0": [
        "cn_r1_k3_s1_e1_c16_skip",
        "er_r2_k3_s2_e4_c32",
        "er_r2_k3_s2_e4_c48",
        "ir_r3_k3_s2_e4_c96_se0.25",
        "ir_r5_k3_s1_e6_c112_se0.25",
        "ir_r8_k3_s2_e6_c192_se0.25",
    ],
    "efficientnet-b0": [
        "ds_r1_k3_s1_e1_c16_se0.25",
        "ir_r2_k3_s2_e6_c24_se0.25",
        "ir_r2_k5_s2_e6_c40_se0.25",
        "ir_r3_k3_s2_e6_c80_se0.25",
        "ir_r3_k5_s1_e6_c112_se0.25",
        "ir_r4_k5_s2_e6_c192_se0.25",
        "ir_r1_k3_s1_e6_c320_se0.25",
    ],
}
STAGE = Stage(stride=2, depth=2, width=16, block=MBConv(expand=4))
ARCH = Architecture(stem=Stem(width=8), stages=(STAGE,), head=Head(width=32))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_timms_own_strings(name):
    assert timm_strings(load_architecture(name)) == PUBLISHED[name]


def assert_twins(arch):
    text = timm_text(arch, name="twin", params=0)
    theirs, ours = twin(text, CLASSES), with_statistics(build(arch, CLASSES))
    state, own = theirs.state_dict(), ours.state_dict()
    assert [tensor.shape for tensor in state.values()] == [tensor.shape for tensor in own.values()]
    theirs.load_state_dict(dict(zip(state, own.values(), strict=True)))
    images = torch.rand(2, arch.input.channels, 64, 64)
    with torch.no_grad():
        difference = (theirs.eval()(images) - ours.eval()(images)).abs().max()
    assert difference <= 1e-5


@pytest.mark.parametrize("space", ["tiny", "mnasnet"])
def test_random_members_have_twins(space):
    found = 0
    for arch in members(space, 4, seed=3):
        try:
            timm_strings(arch)
        except ExportError:
            continue
        assert_twins(arch)
        found += 1
    assert found >= 2


def read_back(arch, strings):
    return architecture(
        strings, stem_size=arch.stem.width, num_features=arch.head.width, act=arch.stem.act, like=arch
    )


@pytest.mark.parametrize("name", sorted(IMAGENET_TOP1))
def test_published_networks_are_read_back_from_their_strings(name):
    arch = load_architecture(name)
    try:
        strings = timm_strings(arch)
    except ExportError as error:
        pytest.fail(f"{name}: {error}")
    assert read_back(arch, strings).digest == arch.digest


@pytest.mark.parametrize("space", shipped_names(SPACES))
def test_random_members_are_read_back_to_the_same_digest_or_refused(space):
    expressed = refused = 0
    for arch in members(space, 40, seed=5):
        try:
            strings = timm_strings(arch)
        except ExportError:
            refused += 1
            continue
        expressed += 1
        assert read_back(arch, strings).digest == arch.digest, strings
    assert (expressed > 20) == (space in ("effnetv2", "mnasnet", "tiny")), (expressed, refused)


def test_a_gate_of_the_expanded_width_is_read_back_as_the_same_gate_of_the_input():
    gate = SqueezeExcite(ratio=0.125, source="expanded")
    arch = replace(ARCH, stages=(replace(STAGE, block=MBConv(expand=4, se=gate, act="hard_swish")),))
    (string,) = timm_strings(arch)
    block = stage(string, "silu").block
    assert (block.se.ratio, block.se.source, block.act) == (0.5, "input", "hard_swish")
    assert block.se.reduced_width(16, 64) == gate.reduced_width(16, 64) == 8


def test_settings_may_stand_in_any_order_and_none_may_be_missing():
    given = stage("ir_r2_k3_s2_e4_c48_se0.25", "silu")
    assert stage("ir_se0.25_c48_e4_s2_k3_r2", "silu") == given
    for broken in ("ir_r2_k3_s2_c48", "cn_r1_k3_s1", "xx_r1_k3_s1_c8"):
        with pytest.raises((AssertionError, KeyError)):
            settings(broken)


@pytest.mark.parametrize(
    "block",
    [
        MBConv(expand=1, kernel=5, se=SqueezeExcite(ratio=0.25)),
        MBConv(expand=4, se=SqueezeExcite(ratio=0.25, source="expanded"), act="relu"),
        FusedMBConv(expand=2, se=SqueezeExcite(ratio=0.5), act="hard_swish"),
        FusedMBConv(expand=1, kernel=5),
    ],
)
def test_every_setting_has_a_twin(block):
    assert_twins(replace(ARCH, stages=(STAGE, Stage(stride=1, depth=2, width=24, block=block))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": Stem(width=8, kernel=5)}, "the stem is 1 convolution.s. of kernel 5, stride 2"),
        ({"stem": Stem(width=8, depth=2)}, "the stem is 2 convolution"),
        ({"head": Head(width=32, form="pooled")}, "the head is 'pooled'"),
        ({"head": Head(width=32, act="relu")}, "the stem's activation is silu and the head's relu"),
        ({"stages": (replace(STAGE, block=Attention(head_dim=8)),)}, r"stages\[0\]: .* no block attention"),
        ({"stages": (replace(STAGE, block=MBConv(expand=4, act="gelu")),)}, r"stages\[0\]: .* no gelu"),
        (
            {"stem": Stem(width=10), "stages": (replace(STAGE, block=MBConv(expand=3)),)},
            "10 channels expanded by 3",
        ),
        (
            {"stages": (replace(STAGE, block=MBConv(expand=4, se=SqueezeExcite(ratio=0.19))),)},
            r"squeeze-and-excitation by 0\.19 of 8 channels has 1, and timm's 2",
        ),
        ({"stages": tuple(replace(STAGE, width=16 + 8 * i) for i in range(5))}, "more than 5 strides"),
    ],
)
def test_what_timm_cannot_express_is_refused_with_the_reason(changes, message):
    assert timm_strings(ARCH) == ["ir_r2_k3_s2_e4_c16"]
    with pytest.raises(ExportError, match=f"timm's block strings cannot express.*{message}"):
        timm_strings(replace(ARCH, **changes))


def test_the_file_is_sealed_and_says_of_what(tmp_path):
    (file,) = nas.export("efficientnetv2-b0", out=tmp_path, format="timm")
    assert file.name == "efficientnetv2_b0_timm.py"
    text = file.read_text()
    assert not is_broken(text)
    arch = load_architecture("efficientnetv2-b0")
    assert arch.digest in text
    assert f"{cost(arch, 224).params:,} parameters" in text
    same = timm_text(replace(arch, padding="same"), name="x", params=0)
    assert 'pad_type="same"' in same


def test_timm_itself_builds_the_same_network(tmp_path):
    pytest.importorskip("timm", reason="timm is not installed; its reading of the strings is in timm_twin.py")
    from exported import imported

    (file,) = nas.export("efficientnetv2-b0", out=tmp_path, format="timm")
    arch = load_architecture("efficientnetv2-b0")
    params = sum(parameter.numel() for parameter in imported(file).build(1000).parameters())
    assert params == cost(arch, 224).params
