"""One network, as a value: input, stem, stages, head. Its canonical form, digest, document and cost."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from search_spaces.blocks.protocol import Block
from search_spaces.blocks.weight import Weight, weight_cost
from search_spaces.cost import (
    Cost,
    kept_by_activation,
    kept_input_area,
    output_side,
    static_cost,
)
from search_spaces.spec import (
    ActivationName,
    HeadActivationName,
    Kernel,
    Padding,
    Probability,
    Ratio,
    Resolution,
    Spec,
    StemDepth,
    Stride,
    Width,
)

ARCHITECTURE_SCHEMA = "nas.architecture/1"

DEFAULT_RESOLUTION = 224
"""Pixels at which costs are stated where a recipe names no evaluation resolution."""


class Input(Spec):
    """What the network reads: square images of this many channels."""

    channels: Width = 3


class Stem(Spec):
    """The first convolution: kxk, batch norm, activation; at depth 2 a bare kxk convolution follows.

    The second one has neither norm nor activation, because pre-activation blocks begin with a norm (CoAtNet).
    `weight` says how each of them comes by its weights.
    """

    width: Width
    kernel: Kernel = 3
    stride: Stride = 2
    act: ActivationName = "silu"
    depth: StemDepth = 1
    weight: Weight = "static"


class HeadLinear(Spec):
    """A linear layer with bias on the pooled vector, followed by the head's activation (MobileNetV3)."""

    width: Width


class Head(Spec):
    """What makes the classifier's features of the last map; dropout and a linear classifier follow.

    `convolution`: 1x1 convolution, batch norm, activation, global average pooling (EfficientNet).
    `pooled`: global average pooling, layer norm, linear layer, activation (CoAtNet, with tanh).
    `linear`: a further linear layer and activation after either (GhostNet). `weight` is that of the
    convolution; what works on the pooled vector is static, since there each expert would cost as much as the
    layer itself.
    """

    width: Width
    act: HeadActivationName = "silu"
    form: Literal["convolution", "pooled"] = "convolution"
    linear: Literal["none"] | HeadLinear = "none"
    weight: Weight = "static"

    @property
    def features(self) -> int:
        """Width of what the classifier reads."""
        return self.width if self.linear == "none" else self.linear.width


class Norm(Spec):
    """Batch normalisation everywhere. `momentum` is PyTorch's: the weight of the new batch."""

    eps: Ratio = 1e-3
    momentum: Ratio = 0.1


class Recipe(Spec):
    """Hints for training and evaluation. Not part of what the network is: outside digest and membership."""

    train_resolution: Resolution | None = None
    eval_resolution: Resolution | None = None
    dropout: Probability | None = None
    drop_path: Probability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A run of `depth` equal blocks; only the first applies `stride` and changes the width.

    Depth 0: the run is absent, and an architecture drops it.
    """

    stride: int
    depth: int
    width: int
    block: Block

    def __post_init__(self) -> None:
        if self.stride not in {1, 2} or self.depth < 0 or self.width < 1:
            raise ValueError(
                f"stride {self.stride}, depth {self.depth}, width {self.width}: a stage has stride 1 or 2,"
                " a depth of at least 0 and a width of at least 1"
            )
        if self.stride == 2 and self.depth == 0:
            raise ValueError("a stage of stride 2 cannot be absent, so its depth is at least 1")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network. Equal values are equal networks: stages are merged, absent ones and inert fields dropped.

    `name`, `notes` and `recipe` travel along but take no part in equality, hash or digest.
    """

    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    input: Input = field(default_factory=Input)
    padding: Padding = "symmetric"
    norm: Norm = field(default_factory=Norm)
    name: str | None = field(default=None, compare=False)
    notes: str | None = field(default=None, compare=False)
    recipe: Recipe = field(default_factory=Recipe, compare=False)

    def __post_init__(self) -> None:
        stages = tuple(_maximal_runs(self.stages, self.stem.width))
        if not stages:
            raise ValueError("an architecture needs at least one stage of depth 1 or more")
        object.__setattr__(self, "stages", stages)
        if not self.is_strided:
            object.__setattr__(self, "padding", "symmetric")
        if self.head.form == "pooled" and self.head.weight != "static":
            object.__setattr__(self, "head", self.head.model_copy(update={"weight": "static"}))

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical JSON: 64 hexadecimal digits.

        A field equal to its default is left out (`op` never is), so a field added later, whose default
        means the old behaviour, changes no digest.
        """
        canonical = json.dumps(_structure(self, complete=False), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """Plain data that reads back to an equal architecture, every field written out."""
        document: dict[str, Any] = {"schema": ARCHITECTURE_SCHEMA}
        if self.name is not None:
            document["name"] = self.name
        if self.notes is not None:
            document["notes"] = self.notes
        document |= _structure(self, complete=True)
        recipe = self.recipe.model_dump(exclude_none=True)
        if recipe:
            document["recipe"] = recipe
        return document

    @property
    def eval_resolution(self) -> int:
        """Pixels at which costs are stated when nothing else is said: the recipe's, else 224."""
        return self.recipe.eval_resolution or DEFAULT_RESOLUTION

    @property
    def is_strided(self) -> bool:
        """Whether any convolution has stride 2; the two paddings differ only there."""
        return self.stem.stride > 1 or any(stage.stride > 1 for stage in self.stages)

    @property
    def num_blocks(self) -> int:
        """Blocks in all stages."""
        return sum(stage.depth for stage in self.stages)


def cost(arch: Architecture, resolution: int, num_classes: int = 1000) -> Cost:
    """Exact cost of `arch` for one square image of `resolution` pixels; see `search_spaces.cost`.

    Raises:
        ValueError: a resolution or class count below 1.
    """
    if resolution < 1 or num_classes < 1:
        raise ValueError(f"resolution {resolution} and num_classes {num_classes} must be at least 1")
    total, side = stem_cost(arch.stem, arch.input.channels, resolution, arch.padding)
    in_width = arch.stem.width
    for stage in arch.stages:
        stage_total, side = stage_cost(stage, in_width, side, arch.padding)
        total += stage_total
        in_width = stage.width
    return total + head_cost(arch.head, in_width, side, num_classes)


def stem_cost(stem: Stem, channels: int, side: int, padding: str) -> tuple[Cost, int]:
    """Cost of the stem on a `side` x `side` image, and the side of its output."""
    out = output_side(side, stem.stride)
    weights = stem.kernel**2 * channels * stem.width
    kept = channels * kept_input_area(side, stem.kernel, stem.stride, padding)
    kept += kept_by_activation(stem.act) * stem.width * out**2
    total = static_cost(params=weights + 2 * stem.width, macs=weights * out**2, kept=kept)
    total += weight_cost(stem.weight, channels, stem.width, kernel=stem.kernel)
    if stem.depth > 1:
        weights = stem.kernel**2 * stem.width**2
        kept = stem.width * kept_input_area(out, stem.kernel, 1, padding)
        total += static_cost(params=weights, macs=weights * out**2, kept=kept)
        total += weight_cost(stem.weight, stem.width, stem.width, kernel=stem.kernel)
    return total, out


def stage_cost(stage: Stage, in_width: int, side: int, padding: str) -> tuple[Cost, int]:
    """Cost of a stage that reads `in_width` channels of `side` pixels, and the side of its output."""
    block, width = stage.block, stage.width
    total = block.cost(in_width, width, stride=stage.stride, side=side, padding=padding)
    side = output_side(side, stage.stride)
    if stage.depth > 1:
        rest = block.cost(width, width, stride=1, side=side, padding=padding)
        total += rest.times(stage.depth - 1)
    return total, side


def head_cost(head: Head, in_width: int, side: int, num_classes: int) -> Cost:
    """Cost of the head and the classifier.

    Kept for backward: the convolution's input, the norm's input, one map of the activation (its input, or
    ReLU's output) and the pooled vector. Pooling itself needs only the size of what it pools. In the pooled
    form: the pooled vector, its mean and deviation, the normed vector, and what the activation keeps.
    """
    keeps_input = head.act not in {"relu", "tanh"}
    total = _head_features_cost(head, in_width, side, act_maps=2 if keeps_input else 1)
    if head.linear != "none":
        width = head.linear.width
        weights = head.width * width
        kept = (2 if keeps_input else 1) * width
        total += static_cost(params=weights + width, macs=weights, kept=kept)
    classifier = head.features * num_classes
    return total + static_cost(params=classifier + num_classes, macs=classifier, kept=0)


def _head_features_cost(head: Head, in_width: int, side: int, *, act_maps: int) -> Cost:
    """With i in, w width, A area; what is kept includes the vector that the next layer reads.

    convolution: params = i w + 2 w;       macs = A i w
    pooled:      params = 2 i + i w + w;   macs = i w
    """
    weights = in_width * head.width
    if head.form == "pooled":
        kept = 2 * in_width + 2 + act_maps * head.width
        return static_cost(params=weights + 2 * in_width + head.width, macs=weights, kept=kept)
    area = side * side
    kept = in_width * area + 2 * head.width * area + head.width
    total = static_cost(params=weights + 2 * head.width, macs=weights * area, kept=kept)
    return total + weight_cost(head.weight, in_width, head.width, kernel=1)


def _maximal_runs(stages: Iterable[Stage], in_width: int) -> Iterator[Stage]:
    """Drop absent stages, reset inert fields, and merge each stage that continues the one before it."""
    current: Stage | None = None
    for stage in stages:
        if stage.depth == 0:
            continue
        if current is not None and continues(current, stage):
            current = Stage(
                stride=current.stride,
                depth=current.depth + stage.depth,
                width=current.width,
                block=current.block,
            )
            continue
        if current is not None:
            yield current
            in_width = current.width
        block = stage.block.canonical(in_width, stage.width, stride=stage.stride)
        current = stage
        if block is not stage.block:
            current = Stage(stride=stage.stride, depth=stage.depth, width=stage.width, block=block)
    if current is not None:
        yield current


def continues(before: Stage, stage: Stage) -> bool:
    """Whether `stage` only adds blocks to `before`: same width, no stride, same block at that width."""
    width = stage.width
    return (
        stage.stride == 1
        and before.width == width
        and before.block.canonical(width, width, stride=1) == stage.block.canonical(width, width, stride=1)
    )


def _structure(arch: Architecture, *, complete: bool) -> dict[str, Any]:
    return {
        **_fields({"input": arch.input}, complete=complete),
        "stem": spec_document(arch.stem, complete=complete),
        "stages": [
            {
                **({"stride": stage.stride} if complete or stage.stride != 1 else {}),
                "depth": stage.depth,
                "width": stage.width,
                "block": spec_document(stage.block, complete=complete),
            }
            for stage in arch.stages
        ],
        "head": spec_document(arch.head, complete=complete),
        **({"padding": arch.padding} if complete or arch.padding != "symmetric" else {}),
        **_fields({"norm": arch.norm}, complete=complete),
    }


def _fields(parts: dict[str, Spec], *, complete: bool) -> dict[str, Any]:
    documents = {key: spec_document(part, complete=complete) for key, part in parts.items()}
    return {key: document for key, document in documents.items() if document}


def spec_document(spec: Any, *, complete: bool) -> dict[str, Any]:
    """A specification as plain data under its document keys; defaults written out when `complete`."""
    document: dict[str, Any] = {}
    for name, info in type(spec).model_fields.items():
        value = getattr(spec, name)
        if name != "op" and not complete and value == info.default:
            continue
        if isinstance(value, BaseModel):
            value = spec_document(value, complete=complete)
        document[info.alias or name] = value
    return document
