"""Typed builders of document parts: what an editor completes and a type checker checks.

    space({"name": "mine", "stem": {"width": 16}, "head": {"width": 256}, "stages": [
        stage(depth=int_range(1, 3), width=16, block=fused_mbconv(expand=1)),
        stage(stride=2, depth=int_range(1, 4), width=one_of(24, 32), block=one_of(
            fused_mbconv(expand=one_of(2, 4)),
            mbconv(expand=one_of(4, 6), se=one_of("none", squeeze_excite(0.25))),
        )),
    ]})

Each returns the plain mapping that a YAML document would hold; it is checked when the document is read.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from search_spaces.choice import Choice
from search_spaces.spec import ActivationName

T = TypeVar("T")
Maybe: TypeAlias = T | Choice[T]
"""A value, or a choice between such values."""

Part: TypeAlias = dict[str, Any]


def squeeze_excite(ratio: Maybe[float], *, source: Maybe[Literal["input", "expanded"]] = "input") -> Part:
    """Squeeze-and-excitation of `ratio` times the block's input width, or times its expanded width."""
    return {"ratio": ratio, "from": source}


def mbconv(
    *,
    expand: Maybe[int],
    kernel: Maybe[int] = 3,
    se: Literal["none"] | Part | Choice[Any] = "none",
    act: Maybe[ActivationName] = "silu",
) -> Part:
    """An inverted residual bottleneck; see `search_spaces.blocks.mbconv`."""
    return {"op": "mbconv", "kernel": kernel, "expand": expand, "se": se, "act": act}


def fused_mbconv(
    *,
    expand: Maybe[int],
    kernel: Maybe[int] = 3,
    se: Literal["none"] | Part | Choice[Any] = "none",
    act: Maybe[ActivationName] = "silu",
) -> Part:
    """A bottleneck with one dense convolution; see `search_spaces.blocks.fused_mbconv`."""
    return {"op": "fused_mbconv", "kernel": kernel, "expand": expand, "se": se, "act": act}


def block_run(*, depth: Maybe[int], width: Maybe[int], block: Mapping[str, Any] | Choice[Any]) -> Part:
    """A run of `depth` equal blocks of `width` output channels; depth 0: absent."""
    return {"depth": depth, "width": width, "block": block}


def stage(
    *, stride: Literal[1, 2] = 1, depth: Maybe[int], width: Maybe[int], block: Mapping[str, Any] | Choice[Any]
) -> Part:
    """A resolution step of one run, whose first block takes the stride."""
    return {"stride": stride, **block_run(depth=depth, width=width, block=block)}


def stage_of_runs(*runs: Mapping[str, Any] | Choice[Any], stride: Literal[1, 2] = 1) -> Part:
    """A resolution step of several runs; the first that is present takes the stride."""
    return {"stride": stride, "runs": list(runs)}
