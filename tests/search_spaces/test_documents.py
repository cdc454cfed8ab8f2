"""What whole documents mean: plain values, canonical architectures, Python builders, text that reads back."""

import numpy as np
import pytest
from picky_block import PICKY

from search_spaces.architecture import Architecture, Head, Norm, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.builders import block_run, fused_mbconv, mbconv, squeeze_excite, stage, stage_of_runs
from search_spaces.choice import int_range, one_of, ref, use
from search_spaces.document import (
    architecture_from_document,
    architecture_names,
    load_architecture,
    read_architecture,
    read_yaml,
)
from search_spaces.nodes import parse_yaml, plain_value, to_python
from search_spaces.registry import BLOCKS, BlockKind, load_block_plugins
from search_spaces.shipped import ARCHITECTURES, SPACES, shipped_notes
from search_spaces.space_document import load_space, space, space_file, space_names
from search_spaces.text import dump

MB4 = {"op": "mbconv", "expand": 4}


def architecture(*stages, **extra):
    document = {
        "schema": "nas.architecture/1",
        "stem": {"width": 8},
        "head": {"width": 32},
        "stages": list(stages),
    }
    return architecture_from_document({**document, **extra})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("no", "no"), ("yes", "yes"), ("on", "on"), ("3:20", "3:20"), ("010", "010"), ("0x10", "0x10")),
        *(("1_000", "1_000"), ("2020-01-02", "2020-01-02"), ("+.e3", "+.e3"), ("-", "-"), ("1e", "1e")),
        *(("1e-3", 0.001), (".5", 0.5), ("3.0", 3.0), ("1.", 1.0), ("-2.5E+3", -2500.0)),
        *(("15e6", 15_000_000), ("1e3", 1_000), ("0", 0), ("-7", -7), ("+7", 7)),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("", None)),
    ],
)
def test_plain_values(text, value):
    """YAML 1.2's core rules where YAML 1.1 surprises, and numbers as people write them."""
    found = plain_value(text)
    assert (found, type(found)) == (value, type(value))
    if text:
        assert to_python(parse_yaml(f"[{text}, '{text}', \"{text}\"]", "f")) == [value, text, text]


# --- architectures ---------------------------------------------------------------------------------------


def test_absent_runs_are_dropped_and_equal_neighbours_merge():
    written = architecture(
        {
            "stride": 2,
            "runs": [block_run(depth=0, width=99, block=MB4), block_run(depth=2, width=16, block=MB4)],
        },
        {"depth": 0, "width": 77, "block": MB4},
        {"depth": 3, "width": 16, "block": {**MB4, "kernel": 3, "act": "silu", "se": "none"}},
        {"stride": 2, "depth": 1, "width": 16, "block": MB4},
    )
    block = MBConv(expand=4)
    assert written.stages == (
        Stage(stride=2, depth=5, width=16, block=block),
        Stage(stride=2, depth=1, width=16, block=block),
    )
    assert written.num_blocks == 6


def test_fields_exist_only_where_they_act():
    gated = {"ratio": 0.25, "from": "expanded"}
    first = architecture(stage(depth=1, width=8, block=fused_mbconv(expand=1, se=gated)))
    assert first == architecture(stage(depth=1, width=8, block=fused_mbconv(expand=1)))
    second = architecture(stage(depth=1, width=8, block=mbconv(expand=1, se=gated)))
    assert second == architecture(stage(depth=1, width=8, block=mbconv(expand=1, se={"ratio": 0.25})))
    assert architecture({"depth": 1, "width": 8, "block": MB4}, padding="same").padding == "same"
    still = architecture(
        {"depth": 1, "width": 8, "block": MB4}, padding="same", stem={"width": 8, "stride": 1}
    )
    assert still.padding == "symmetric"


def test_what_a_network_is_called_does_not_make_it_another():
    plain = architecture({"depth": 1, "width": 8, "block": MB4})
    named = architecture(
        {"depth": 1, "width": 8, "block": MB4},
        name="a",
        notes="b",
        recipe={"eval_resolution": 96, "dropout": 0.5},
    )
    assert named == plain
    assert hash(named) == hash(plain)
    assert named.digest == plain.digest
    assert (named.eval_resolution, plain.eval_resolution) == (96, 224)
    assert architecture({"depth": 1, "width": 8, "block": MB4}, norm={"eps": 1e-5}) != plain


def test_an_export_says_where_an_architecture_comes_from():
    document = load_architecture("efficientnetv2-b0").to_document()
    exported = {**document, "provenance": {"run": "r", "seed": 1}, "measurements": [{"step_ms": 12.5}]}
    assert architecture_from_document(exported) == load_architecture("efficientnetv2-b0")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"stride": 3}, "stage has stride 1 or 2"),
        ({"depth": -1}, "a depth of at least 0"),
        ({"width": 0}, "a width of at least 1"),
        ({"stride": 2, "depth": 0}, "stride 2 cannot be absent"),
    ],
)
def test_stages_refuse_nonsense(fields, text):
    with pytest.raises(ValueError, match=text):
        Stage(**{"stride": 1, "depth": 1, "width": 8, "block": MBConv(expand=1), **fields})


def test_a_network_has_blocks_and_a_size():
    block = MBConv(expand=1)
    with pytest.raises(ValueError, match="needs at least one stage of depth 1 or more"):
        Architecture(
            stem=Stem(width=8), head=Head(width=8), stages=(Stage(stride=1, depth=0, width=8, block=block),)
        )
    arch = architecture({"depth": 1, "width": 8, "block": MB4})
    for resolution, classes in ((0, 10), (32, 0)):
        with pytest.raises(
            ValueError, match=f"resolution {resolution} and num_classes {classes} must be at least 1"
        ):
            cost(arch, resolution, classes)
    with pytest.raises(ValueError, match="eps"):
        Norm(eps=0.0)


# --- text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", architecture_names())
def test_shipped_architectures_are_readable_and_complete(name, tmp_path):
    """Written out by `dump` they are the shipped files: every field is there, a stage takes one line."""
    arch = load_architecture(name)
    text = dump(arch.to_document())
    shipped = (SPACES.parent / "architectures" / f"{name}.yaml").read_text()
    assert text == shipped
    assert text.count("\n- {") == len(arch.stages)
    path = tmp_path / "copy.yaml"
    path.write_text(text)
    assert read_yaml(path) == arch.to_document()
    assert load_architecture(path).digest == arch.digest


@pytest.mark.parametrize(
    "text",
    [
        "1e5",
        "12e45678",
        "7e999",
        "010",
        "3:20",
        "no",
        "null",
        "",
        "~",
        "a: b",
        "# a",
        "é\nb",
        "0.5",
        "-",
        "true",
    ],
)
def test_text_reads_back_as_text(text):
    """A digest may look like a number, which PyYAML leaves unquoted."""
    document = {
        "schema": "x",
        "notes": text,
        "provenance": {"run": text, "list": [text, 1, 0.5, None, True, 1e-7]},
    }
    assert to_python(parse_yaml(dump(document), "f")) == document


# --- spaces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_are_whole_and_can_be_copied(name, tmp_path):
    copy = tmp_path / "mine.yaml"
    copy.write_bytes(space_file(name).read_bytes())
    assert load_space(copy) == load_space(name)
    assert load_space(name).name == name
    assert load_space(name).limits == ()
    assert shipped_notes(SPACES, name) == load_space(name).notes is not None


@pytest.mark.parametrize("name", architecture_names())
def test_notes_of_shipped_architectures_are_found_without_a_parser(name):
    assert shipped_notes(ARCHITECTURES, name) == load_architecture(name).notes is not None


def test_builders_write_what_a_document_says():
    built = space(
        {
            "name": "built",
            "choices": {"act": one_of("silu", "relu")},
            "menus": {
                "block": mbconv(expand=one_of(1, 4), se=one_of("none", squeeze_excite(0.25)), act=ref("act"))
            },
            "stem": {"width": one_of(8, 16)},
            "stages": [
                stage(depth=int_range(1, 4), width=16, block=use("block")),
                stage_of_runs(
                    block_run(
                        depth=int_range(0, 4, 2), width=24, block=fused_mbconv(expand=2, kernel=one_of(3, 5))
                    ),
                    block_run(depth=1, width=24, block=use("block")),
                    stride=2,
                ),
            ],
            "head": {"width": 64},
        }
    )
    text = """
        schema: nas.space/1
        name: built
        choices: {act: {one_of: [silu, relu]}}
        menus:
          block:
            op: mbconv
            kernel: 3
            expand: {one_of: [1, 4]}
            se: {one_of: [none, {ratio: 0.250, from: input}]}
            act: {ref: act}
        stem: {width: {one_of: [8, 16]}}
        stages:
          - {stride: 1, depth: {int: [1, 4]}, width: 16, block: {use: block}}
          - stride: 2
            runs:
              - depth: {int: [0, 4, 2]}
                width: 24
                block: {op: fused_mbconv, kernel: {one_of: [3, 5]}, expand: 2, se: none, act: silu}
              - {depth: 1, width: 24, block: {use: block}}
        head: {width: 64}
    """
    assert built == space(to_python(parse_yaml(text, "f.yaml")))
    assert built.size == 2 * 2 * 4 * 4 * (1 + 2 * 2) * 4  # act is shared: one draw for both menus


def test_places_of_choices_have_names():
    found = load_space("tiny")
    assert len({gene.site for gene in found.genes}) == len(found.genes)
    kernels = [gene for gene in found.genes if gene.column == "stages[1].block.kernel"]
    assert [gene.site for gene in kernels] == [
        "stages[1].block:fused_mbconv.kernel",
        "stages[1].block:mbconv.kernel",
    ]
    assert "stages[1].block.kernel=3" in found.feature_names
    assert "stages[3].block.se={ratio: 0.25}" in found.feature_names


def test_a_shared_choice_is_one_gene_and_a_menu_many():
    stages = [
        stage(depth=1, width=ref("w.a"), block=use("b")),
        stage(depth=1, width=ref("w.b"), block=use("b")),
    ]
    found = space(
        {
            "name": "x",
            "choices": {"w": one_of({"a": 8, "b": 16}, {"a": 16, "b": 8})},
            "menus": {"b": mbconv(expand=one_of(1, 2))},
            "stem": {"width": 8},
            "stages": stages,
            "head": {"width": 8},
        }
    )
    assert [(gene.site, gene.shared) for gene in found.genes] == [
        ("choices.w", True),
        ("stages[0].block.expand", False),
        ("stages[1].block.expand", False),
    ]
    widths = {
        tuple(s.width for s in found.decode(genes).stages)
        for genes in found.sample(np.random.default_rng(0), 50)
    }
    assert widths == {(8, 16), (16, 8)}


# --- plug-ins --------------------------------------------------------------------------------------------


class Entry:
    def __init__(self, name, kind):
        self.name, self.kind, self.value = name, kind, f"plugin:{name}"

    def load(self):
        return self.kind


@pytest.fixture
def own_blocks():
    """The registry, put back afterwards."""
    before = dict(BLOCKS)
    yield
    BLOCKS.clear()
    BLOCKS.update(before)


@pytest.mark.usefixtures("own_blocks")
def test_plugin_blocks_join_the_others(monkeypatch):
    offered = [Entry("picky", PICKY)]
    monkeypatch.setattr(
        "search_spaces.registry.entry_points", lambda group: offered if group == "nas.blocks" else []
    )
    assert load_block_plugins() == ["picky"]
    assert load_block_plugins() == ["picky"]
    arch = read_architecture(
        parse_yaml(
            "schema: nas.architecture/1\nstem: {width: 8}\nhead: {width: 8}\nrecipe: {eval_resolution: 16}\n"
            "stages: [{depth: 1, width: 8, block: {op: picky, group: 4}}]\n",
            "f",
        )
    )
    assert arch.stages[0].block.op == "picky"
    offered[:] = [Entry("mbconv", PICKY)]
    with pytest.raises(ValueError, match=r"plug-in block 'mbconv' \(plugin:mbconv\): this op exists already"):
        load_block_plugins()
    offered[:] = [Entry("other", object())]
    with pytest.raises(ValueError, match=r"plug-in block 'other' .* is not a BlockKind"):
        load_block_plugins()
    assert isinstance(PICKY, BlockKind)


def test_the_digest_keeps_the_op_and_leaves_out_defaults():
    block = FusedMBConv(expand=4, se=SqueezeExcite(ratio=0.25, source="input"), kernel=3)
    first = Architecture(
        stem=Stem(width=8, kernel=3),
        head=Head(width=8),
        stages=(Stage(stride=1, depth=1, width=8, block=block),),
    )
    document = first.to_document()
    for part in (document["stem"], document["head"]):
        del part["act"]
    del document["padding"], document["norm"], document["input"], document["stages"][0]["block"]["kernel"]
    assert architecture_from_document(document).digest == first.digest
