"""Scaling one architecture to others: rules as data, applied in closed form. No torch."""

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from nas.errors import NasError
from search_spaces.architecture import Architecture, Recipe, Stage
from search_spaces.blocks.protocol import Block
from search_spaces.document import architecture_from_document, read_spec
from search_spaces.messages import suggest
from search_spaces.nodes import DocumentError
from search_spaces.spec import Depth, Name, Probability, Ratio, Resolution, Spec, Stride, Width

RULES = Path(__file__).with_name("scaling_rules")
Factor = Annotated[float, Field(gt=0.0, le=100.0)]
Divisor = Annotated[int, Field(ge=1, le=1024)]
Exponent = Annotated[float, Field(ge=0.0, le=4.0)]
StageIndex = Annotated[int, Field(ge=0)]


class ScalingError(NasError, ValueError):
    """A rule that does not fit the architecture, or is not known."""


class StageOverride(Spec):
    """What a stage (counted from 0) of a listed size has in place of what the rule gives."""

    stage: StageIndex
    depth: Depth | None = None
    width: Width | None = None


class AppendedStage(Spec):
    """A stage after the last, before scaling; its block is the last stage's, with this expansion."""

    stride: Stride = 1
    depth: Annotated[int, Field(ge=1)]
    width: Width
    expand: Annotated[int, Field(ge=1, le=64)] | None = None


class ExtraDepth(Spec):
    """Blocks that a stage (counted from 0) gets before scaling."""

    stage: StageIndex
    depth: Depth


class LateLayers(Spec):
    """Layers that are added to the base before it is scaled, from the depth factor `from_depth` on."""

    from_depth: Factor = 1.0
    extra_depth: tuple[ExtraDepth, ...] = ()
    append: AppendedStage | None = None


class Compound(Spec):
    """depth = alpha^phi, width = beta^phi, resolution = gamma^phi, with alpha * beta^2 * gamma^2 near 2.

    Source: Tan & Le 2019, arXiv:1905.11946, equation 3.
    """

    alpha: Factor = 1.2
    beta: Factor = 1.1
    gamma: Factor = 1.15

    def factors(self, phi: float) -> "Factors":
        """The three factors at `phi`; 0 is the base itself."""
        return Factors(depth=self.alpha**phi, width=self.beta**phi, resolution=self.gamma**phi)


class Size(Spec):
    """A published member of a family: its factors, image sizes in pixels, dropout, and where it departs."""

    width: Factor
    depth: Factor
    train_resolution: Resolution | None = None
    eval_resolution: Resolution | None = None
    dropout: Probability | None = None
    overrides: tuple[StageOverride, ...] = ()


class ScalingRule(Spec):
    """How a network is scaled, as its YAML file says it.

    Depth of stage i: ceil(base * depth^e_i), with e_i from `depth_exponents` (1 where none are given).
    Width of stage i: base * width^w_i, rounded half up to a multiple of `divisor` (`first_divisor` in the
    first stage) and to at least one; one more where that would be below `keep_fraction` of the exact value.
    Hidden widths that blocks state themselves (GhostNet's) grow like their stage's.
    `stem` and `head` are scaled likewise, kept (`fixed`), or as wide as the first or the last stage. Images
    are never larger than `max_resolution` pixels, except in a listed size. `late` are extra layers.
    """

    schema_version: Literal["nas.scaling/1"] = Field(alias="schema")
    name: Name
    notes: str = ""
    divisor: Divisor = 8
    first_divisor: Divisor | None = None
    keep_fraction: Ratio | None = None
    stem: Literal["scaled", "first_stage", "fixed"] = "scaled"
    head: Literal["scaled", "last_stage", "fixed"] = "scaled"
    depth_exponents: tuple[Exponent, ...] | None = None
    width_exponents: tuple[Exponent, ...] | None = None
    max_resolution: Resolution | None = None
    late: LateLayers | None = None
    compound: Compound | None = None
    sizes: dict[str, Size] = Field(default_factory=dict)


class Factors(NamedTuple):
    """By how much depth, width and resolution grow."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0


def rule_names() -> list[str]:
    """The shipped rules."""
    return sorted(path.stem for path in RULES.glob("*.yaml"))


def load_rule(name_or_path: str | Path) -> ScalingRule:
    """A shipped rule by name, or one from a YAML file.

    Raises:
        ScalingError: no rule has this name; the nearest is given.
        DocumentError: the file cannot be read as a rule.
    """
    text, path = str(name_or_path), Path(name_or_path)
    if text in rule_names():
        path = RULES / f"{text}.yaml"
    elif path.suffix not in {".yaml", ".yml"} and len(path.parts) == 1:
        known = rule_names()
        raise ScalingError(f"rule {text!r} is unknown{suggest(text, known)}; known: {', '.join(known)}")
    return read_spec(path, ScalingRule)


def scale(
    arch: Architecture,
    rule: ScalingRule,
    factors: Factors,
    *,
    resolution: int | None = None,
    name: str | None = None,
) -> Architecture:
    """`arch` grown by `factors` under `rule`; `resolution` (pixels) takes the place of the scaled one.

    Raises:
        ScalingError: a factor or a rule that does not fit `arch`.
    """
    if min(factors) <= 0.0:
        raise ScalingError(f"factors {tuple(factors)}: depth, width and resolution must be above 0")
    base = _with_late_layers(arch, rule, factors.depth)
    count = len(base.stages)
    depths = _exponents(rule.depth_exponents, count, rule, "depth_exponents")
    widths = _exponents(rule.width_exponents, count, rule, "width_exponents")
    stages = tuple(
        replace(
            stage,
            depth=_scaled_depth(stage.depth, factors.depth**depth),
            width=_scaled_width(stage.width, factors.width**width, rule, is_first=index == 0),
            block=_scaled_block(stage.block, factors.width**width, rule),
        )
        for index, (stage, depth, width) in enumerate(zip(base.stages, depths, widths, strict=True))
    )
    grown = replace(
        _with_ends(base, stages, rule, factors.width),
        name=name or f"{(arch.name or 'network')[:80]}-scaled",
        notes=f"{arch.name or 'a network'} scaled by {rule.name}: width {factors.width:g}, depth"
        f" {factors.depth:g}",
        recipe=_scaled_recipe(arch.recipe, rule, factors.resolution, resolution),
    )
    return _checked(grown, rule)


def scale_to_size(
    arch: Architecture, rule: ScalingRule, size: str, *, name: str | None = None
) -> Architecture:
    """`arch` scaled to a size that the rule lists, with the size's overrides and image sizes.

    Raises:
        ScalingError: the rule lists no such size, or does not fit `arch`.
    """
    if size not in rule.sizes:
        listed = f"known: {', '.join(rule.sizes)}" if rule.sizes else "it lists none"
        raise ScalingError(f"rule {rule.name}: size {size!r} is unknown{suggest(size, rule.sizes)}; {listed}")
    found = rule.sizes[size]
    scaled = scale(arch, rule, Factors(depth=found.depth, width=found.width), name=name)
    stages = list(scaled.stages)
    for override in found.overrides:
        index = override.stage
        if index >= len(stages):
            raise ScalingError(
                f"rule {rule.name}: size {size} overrides stage {index}, and {arch.name} has {len(stages)}"
            )
        stages[index] = replace(stages[index], **override.model_dump(exclude_none=True, exclude={"stage"}))
    told = found.model_dump(include={"train_resolution", "eval_resolution", "dropout"}, exclude_none=True)
    sized = replace(
        scaled,
        stages=tuple(stages),
        name=name or f"{(arch.name or 'network')[:80]}-{size}",
        notes=f"{arch.name or 'a network'} scaled by {rule.name} to size {size}",
        recipe=arch.recipe.model_copy(update=told),
    )
    return _checked(sized, rule)


def _with_late_layers(arch: Architecture, rule: ScalingRule, depth: float) -> Architecture:
    late = rule.late
    if late is None or depth < late.from_depth:
        return arch
    stages = list(arch.stages)
    for extra in late.extra_depth:
        index = extra.stage
        if index >= len(stages):
            raise ScalingError(
                f"rule {rule.name} adds layers to stage {index}, and {arch.name} has {len(stages)} stages"
            )
        stages[index] = replace(stages[index], depth=stages[index].depth + extra.depth)
    if late.append is not None:
        stages.append(_appended(stages[-1], late.append))
    return replace(arch, stages=tuple(stages))


def _appended(last: Stage, added: AppendedStage) -> Stage:
    block = last.block
    if added.expand is not None:
        if not hasattr(block, "expand"):
            raise ScalingError(f"the last stage's {block.op} has no expansion, which the appended stage sets")
        block = block.model_copy(update={"expand": added.expand})  # type: ignore[attr-defined]
    return Stage(stride=added.stride, depth=added.depth, width=added.width, block=block)


def _exponents(
    given: tuple[float, ...] | None, count: int, rule: ScalingRule, field: str
) -> tuple[float, ...]:
    if given is None:
        return (1.0,) * count
    if len(given) != count:
        raise ScalingError(
            f"rule {rule.name}: {field} are for {len(given)} stages, and this network has {count}"
        )
    return given


def _scaled_depth(depth: int, factor: float) -> int:
    # 2.2 * 25 is 55.00000000000001: a billionth above a whole number is that number.
    return max(1, ceil(depth * factor - 1e-9))


def _scaled_width(width: int, factor: float, rule: ScalingRule, *, is_first: bool = False) -> int:
    divisor = rule.first_divisor if is_first and rule.first_divisor is not None else rule.divisor
    exact = width * factor
    if factor == 1.0:
        return width
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    if rule.keep_fraction is not None and rounded < rule.keep_fraction * exact:
        rounded += divisor
    return rounded


def _scaled_block(block: Block, factor: float, rule: ScalingRule) -> Block:
    """A width that a block states itself, and not as an expansion, grows like the stage's."""
    hidden = getattr(block, "hidden", None)
    if hidden is None or factor == 1.0:
        return block
    grown: Block = block.model_copy(update={"hidden": _scaled_width(hidden, factor, rule)})  # type: ignore[attr-defined]
    return grown


def _with_ends(
    base: Architecture, stages: tuple[Stage, ...], rule: ScalingRule, width: float
) -> Architecture:
    stem = {
        "scaled": _scaled_width(base.stem.width, width, rule),
        "first_stage": stages[0].width,
        "fixed": base.stem.width,
    }[rule.stem]
    head = {
        "scaled": _scaled_width(base.head.width, width, rule),
        "last_stage": stages[-1].width,
        "fixed": base.head.width,
    }[rule.head]
    return replace(
        base,
        stages=stages,
        stem=base.stem.model_copy(update={"width": stem}),
        head=base.head.model_copy(update={"width": head}),
    )


def _checked(arch: Architecture, rule: ScalingRule) -> Architecture:
    """The architecture, if its blocks accept their new widths (attention wants whole heads)."""
    try:
        return architecture_from_document(arch.to_document())
    except DocumentError as error:
        raise ScalingError(f"rule {rule.name} does not fit this network: {error}") from error


def _scaled_recipe(recipe: Recipe, rule: ScalingRule, factor: float, resolution: int | None) -> Recipe:
    """Image sizes grown by one factor, evaluation's as asked for, and never above the rule's largest."""
    if resolution is not None and recipe.eval_resolution:
        factor = resolution / recipe.eval_resolution
    given = {key: getattr(recipe, key) for key in ("train_resolution", "eval_resolution")}
    sizes = {key: max(1, round(side * factor)) for key, side in given.items() if side}
    if resolution is not None:
        sizes["eval_resolution"] = resolution
    cap = rule.max_resolution
    return recipe.model_copy(update={key: min(side, cap or side) for key, side in sizes.items()})
