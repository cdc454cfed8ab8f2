"""The names that timm and torchvision give to the weights of EfficientNet and EfficientNetV2. No torch.

Names only: an architecture document says what the layers are. Shapes are the same everywhere, so a file of
weights is read by renaming. `padding: same` is what timm's `tf_` models have, `symmetric` what torchvision's
and timm's others have; it cannot be told from weights and is the document's to say, as `norm.eps` is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from search_spaces.architecture import Architecture, Stage
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

Names = Iterator[tuple[str, str]]
"""Pairs (name of a module in our networks, name of the same module in theirs)."""

CLASSIFIER = "classifier."


class LayoutError(ValueError):
    """Weights whose names are not those of the network: which, and what to do."""


def timm_names(arch: Architecture) -> Names:
    """timm's `efficientnet` family: `conv_stem`, `blocks.<stage>.<block>`, `conv_head`, `classifier`."""
    yield from (("stem.0", "conv_stem"), ("stem.1", "bn1"))
    for number, (index, block, stage) in enumerate(_blocks(arch)):
        ours, theirs = f"blocks.{number}", f"blocks.{index}.{block}"
        expand = _expand(stage)
        if isinstance(stage.block, FusedMBConv):
            convolutions = [("fused", "conv" if expand == 1 else "conv_exp")]
            convolutions += [("project", "conv_pwl")] if expand != 1 else []
        elif expand == 1:
            convolutions = [("depthwise", "conv_dw"), ("project", "conv_pw")]
        else:
            convolutions = [("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl")]
        for place, (part, name) in enumerate(convolutions, start=1):
            yield f"{ours}.{part}.0", f"{theirs}.{name}"
            yield f"{ours}.{part}.1", f"{theirs}.bn{place}"
        yield f"{ours}.excite.reduce", f"{theirs}.se.conv_reduce"
        yield f"{ours}.excite.restore", f"{theirs}.se.conv_expand"
    yield from (("head.0", "conv_head"), ("head.1", "bn2"), ("classifier", "classifier"))


def torchvision_names(arch: Architecture) -> Names:
    """torchvision's EfficientNets: `features.<stage + 1>.<block>.block.<part>`, `classifier.1`."""
    yield from (("stem.0", "features.0.0"), ("stem.1", "features.0.1"))
    for number, (index, block, stage) in enumerate(_blocks(arch)):
        ours, theirs = f"blocks.{number}", f"features.{index + 1}.{block}.block"
        expand = _expand(stage)
        if isinstance(stage.block, FusedMBConv):
            parts = ["fused", *(["project"] if expand != 1 else [])]
        else:
            parts = [*(["expand"] if expand != 1 else []), "depthwise", "excite", "project"]
        for place, part in enumerate(parts):
            if part == "excite":
                yield f"{ours}.excite.reduce", f"{theirs}.{place}.fc1"
                yield f"{ours}.excite.restore", f"{theirs}.{place}.fc2"
                continue
            yield f"{ours}.{part}.0", f"{theirs}.{place}.0"
            yield f"{ours}.{part}.1", f"{theirs}.{place}.1"
    last = f"features.{len(arch.stages) + 1}"
    yield from (("head.0", f"{last}.0"), ("head.1", f"{last}.1"), ("classifier", "classifier.1"))


LAYOUTS: dict[str, tuple[str, Callable[[Architecture], Names]]] = {
    "timm": ("conv_stem.weight", timm_names),
    "torchvision": ("features.0.0.weight", torchvision_names),
}
"""Layout -> a name that only its files have, and its names."""


def our_names(arch: Architecture, theirs: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The layout of a file that holds tensors called `theirs`, and our name for each of them.

    Raises:
        LayoutError: a network that the layout has no names for, or tensors that the network has not.
    """
    names = sorted(theirs)
    layout = next((name for name, (mark, _) in LAYOUTS.items() if mark in names), "nas")
    if layout == "nas":
        return layout, {name: name for name in names}
    refused = {s.block.op for s in arch.stages if not isinstance(s.block, FusedMBConv | MBConv)}
    if refused or arch.stem.depth > 1 or arch.head.form != "convolution" or arch.head.linear != "none":
        what = ", ".join(sorted(refused)) or "its stem or head"
        raise LayoutError(
            f"weights named as {layout} names them are of EfficientNets; this network has {what}"
        )
    modules = {their: our for our, their in LAYOUTS[layout][1](arch)}
    found, unknown = {}, []
    for name in names:
        module, _, tensor = name.rpartition(".")
        if module in modules:
            found[name] = f"{modules[module]}.{tensor}"
        else:
            unknown.append(name)
    if unknown:
        raise LayoutError(
            f"{len(unknown)} tensors ({layout} names) have no place in this network, such as {unknown[0]}; "
            "give the architecture that the weights are of"
        )
    return layout, found


def check_names(
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    *,
    theirs: Mapping[str, str],
    is_new_head: bool,
) -> None:
    """Refuse weights that are not exactly the network's; both maps are our name -> shape.

    Counts of batches may be missing, as other programs leave them out, and so may a classifier that is made
    anew. `theirs`: our name -> the file's own.

    Raises:
        LayoutError: the first tensor that is missing, surplus or of another shape, and how many there are.
    """
    free = {name for name in wanted if name.endswith("num_batches_tracked")}
    if is_new_head:
        free |= {name for name in wanted if name.startswith(CLASSIFIER)}
    missing = [name for name in wanted if name not in given and name not in free]
    surplus = [name for name in given if name not in wanted]
    differing = [
        name for name, shape in given.items() if name in wanted and wanted[name] != shape and name not in free
    ]
    problems = [
        *(f"{theirs.get(n, n)} is {given[n]} and the network's {n} is {wanted[n]}" for n in differing[:1]),
        *(f"{n} is missing" for n in missing[:1]),
        *(f"{theirs.get(n, n)} has no place in it" for n in surplus[:1]),
    ]
    if problems:
        count = len(missing) + len(surplus) + len(differing)
        raise LayoutError(
            f"{count} tensors do not fit the network: {'; '.join(problems)}; "
            "give the architecture that the weights are of"
        )


def _blocks(arch: Architecture) -> Iterator[tuple[int, int, Stage]]:
    """Every block as (stage, place in it, the stage)."""
    for index, stage in enumerate(arch.stages):
        for block in range(stage.depth):
            yield index, block, stage


def _expand(stage: Stage) -> int:
    block = stage.block
    return block.expand if isinstance(block, FusedMBConv | MBConv) else 0
