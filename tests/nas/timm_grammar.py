"""timm's block strings read back into an architecture, by timm's documented grammar and without timm.

A string is a kind and settings in any order, joined by `_`: `r` blocks, `k` kernel, `s` stride of the first,
`e` expansion, `c` output channels, `se` ratio of squeeze-and-excitation (of the block's input), `n`
activation (`re`, `hs`, `sw`), `skip` and `noskip`. Source: docstring and code of `_decode_block_str` in
timm/models/_efficientnet_builder.py.
"""

import re

from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite

ACTIVATIONS = {"re": "relu", "hs": "hard_swish", "sw": "silu"}
KINDS = {"ir": "rksce", "ds": "rksc", "er": "rksce", "cn": "rksc"}
"""The settings without which timm cannot read a string of each kind."""


def settings(string):
    """The kind of a string, its settings by letter, and the words in it."""
    kind, *parts = string.split("_")
    values, words = {}, set()
    for part in parts:
        if part in ("skip", "noskip"):
            words.add(part)
        elif part[0] == "n":
            values["n"] = ACTIVATIONS[part[1:]]
        else:
            letters, number, rest = re.fullmatch(r"([a-z]+)([\d.]+)(.*)", part).groups()
            assert (letters in values, rest) == (False, ""), string
            values[letters] = float(number)
    assert set(KINDS[kind]) <= values.keys(), string
    return kind, values, words


def stage(string, act):
    """The run of equal blocks that a string names; `act` is the activation of the model."""
    kind, values, words = settings(string)
    depth, kernel, stride, width = (int(values[name]) for name in "rksc")
    ratio = values.get("se", 0.0)
    given = {"kernel": kernel, "act": values.get("n", act)}
    if kind == "cn":  # one convolution; timm adds its input only where the string says skip
        assert words == {"skip"}
        assert not ratio
        block = FusedMBConv(expand=1, **given)
    else:
        assert not words, "a residual wherever one is possible, as here"
        expand = 1 if kind == "ds" else int(values["e"])
        se = SqueezeExcite(ratio=ratio) if ratio else "none"
        block = (FusedMBConv if kind == "er" else MBConv)(expand=expand, se=se, **given)
    return Stage(depth=depth, stride=stride, width=width, block=block)


def architecture(strings, *, stem_size, num_features, act, like):
    """The architecture of block strings; what they do not say (norm, padding, channels) is that of `like`."""
    return Architecture(
        stem=Stem(width=stem_size, act=act),
        stages=tuple(stage(string, act) for string in strings),
        head=Head(width=num_features, act=act),
        input=like.input,
        norm=like.norm,
        padding=like.padding,
    )
