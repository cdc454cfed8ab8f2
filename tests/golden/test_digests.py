"""Digests of all shipped architectures: sha256 of canonical JSON. They never change; old runs hold them."""

import hashlib
import json
from pathlib import Path

import pytest

from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.document import architecture_from_document, architecture_names, load_architecture

GOLDEN: dict[str, str] = json.loads(Path(__file__).with_name("digests.json").read_text())


def test_every_shipped_architecture_has_a_golden_digest():
    assert set(GOLDEN) == set(architecture_names())
    assert len(set(GOLDEN.values())) == len(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_digest(name: str):
    arch = load_architecture(name)
    assert arch.digest == GOLDEN[name]
    assert architecture_from_document(arch.to_document()).digest == GOLDEN[name]


def test_digest_is_the_hash_of_what_differs_from_the_defaults():
    arch = Architecture(
        stem=Stem(width=24, act="relu"),
        stages=(
            Stage(stride=1, depth=2, width=24, block=FusedMBConv(expand=1)),
            Stage(
                stride=2, depth=4, width=48, block=MBConv(expand=4, kernel=5, se=SqueezeExcite(ratio=0.25))
            ),
        ),
        head=Head(width=1280),
        name="told apart by nothing but its structure",
    )
    canonical = (
        '{"head":{"width":1280},"stages":[{"block":{"expand":1,"op":"fused_mbconv"},"depth":2,"width":24},'
        '{"block":{"expand":4,"kernel":5,"op":"mbconv","se":{"ratio":0.25}},"depth":4,"stride":2,"width":48}],'
        '"stem":{"act":"relu","width":24}}'
    )
    assert arch.digest == hashlib.sha256(canonical.encode()).hexdigest()
