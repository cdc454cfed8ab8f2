"""Search spaces from documents: YAML files, shipped names, or Python dicts with choice objects in them."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from search_spaces.architecture import DEFAULT_RESOLUTION, Architecture
from search_spaces.cost import output_side
from search_spaces.document import (
    ARCHITECTURE_KEYS,
    StageTrees,
    check_header,
    load_architecture,
    load_node,
    read_fixed,
    read_recipe,
    read_stages,
    read_text_field,
)
from search_spaces.limits import COST_NAMES, CostName, Limit
from search_spaces.matching import Slot
from search_spaces.nodes import DocumentError, Fields, Items, Node, Problem, Scalar, from_python, shorten
from search_spaces.reader import Reader, choice_key
from search_spaces.rule_reader import read_rules
from search_spaces.rules import (
    BlockRequirements,
    Rule,
    SomePresent,
    block_is_constrained,
    block_refusal,
)
from search_spaces.schema import RESOLUTION, WIDTH, Leaf
from search_spaces.shipped import SPACES, shipped_names
from search_spaces.space import Space
from search_spaces.tree import Const, Pick, Record, Tree, constants_at, picks_of

SPACE_SCHEMA = "nas.space/1"
SPACE_KEYS = (*ARCHITECTURE_KEYS, "choices", "menus", "rules", "limits", "seeds")
MAX_SEEDS = 100
MAX_REQUIREMENTS_TRIED = 10_000


def space_names() -> tuple[str, ...]:
    """The shipped spaces."""
    return shipped_names(SPACES)


def space_file(name: str) -> Path:
    """The document of a shipped space, to be copied and edited."""
    return SPACES / f"{name}.yaml"


def load_space(name_or_path: str | Path) -> Space:
    """A shipped space by name, or one from a YAML file.

    Raises:
        DocumentError: no such name or file, or a document with problems; every problem is named.
    """
    return _read_space(load_node(name_or_path, SPACES, "space"))


def space(document: Mapping[str, Any]) -> Space:
    """A space from Python: the document as dicts and lists, with `one_of(...)` and the like in it.

    `schema` may be left out.

    Raises:
        DocumentError: every problem of the document.
    """
    return _read_space(from_python({"schema": SPACE_SCHEMA, **document}))


def _read_space(node: Node) -> Space:
    if not isinstance(node, Fields):
        message = f"expected a mapping with the keys {', '.join(SPACE_KEYS)}"
        raise DocumentError([Problem(node.mark, "", message)])
    choices, choice_problems = _section(node, "choices", must_be_choices=True)
    menus, menu_problems = _section(node, "menus", must_be_choices=False)
    reader = Reader(choices=choices, menus=menus)
    reader.problems += choice_problems + menu_problems
    check_header(reader, node, SPACE_SCHEMA)
    reader.unknown_keys(node, SPACE_KEYS, "")
    if node.get("name") is None:
        reader.report(node.mark, "name", "the key 'name' is missing")
    name = read_text_field(reader, node, "name")
    notes = read_text_field(reader, node, "notes")
    recipe = read_recipe(reader, node)
    fixed = read_fixed(reader, node)
    stages = read_stages(reader, node)
    slots = _slots(stages, fixed, recipe.eval_resolution or DEFAULT_RESOLUTION)
    rules = [*_presence(reader, slots, stages), *_requirements(reader, node, slots, fixed)]
    rules += read_rules(reader, node, stages)
    limits = _limits(reader, node)
    seeds = _seeds(reader, node)
    _check_names_are_used(reader, choices, menus, [slot.tree for slot in slots], fixed)
    if reader.problems or fixed is None or name is None:
        raise DocumentError(reader.problems)
    found = Space(
        name=name,
        notes=notes,
        fixed=fixed,
        slots=slots,
        genes=tuple(reader.genes),
        rules=tuple(rules),
        limits=limits,
        recipe=recipe,
        seeds=tuple(seed for seed, _ in seeds),
    )
    for index, (seed, seed_node) in enumerate(seeds):
        reason = found.explain(seed)
        if reason is not None:
            message = f"{seed.name or 'this seed'} is not a member of this space: {reason}"
            reader.report(seed_node.mark, f"seeds[{index}]", message)
    if reader.problems:
        raise DocumentError(reader.problems)
    return found


def _section(node: Fields, key: str, *, must_be_choices: bool) -> tuple[Fields | None, list[Problem]]:
    found = node.get(key)
    if found is None:
        return None, []
    if not isinstance(found, Fields) or choice_key(found):
        return None, [Problem(found.mark, key, "expected a mapping from names to choices")]
    problems = [
        Problem(value.mark, f"{key}.{name}", "a named choice must be a choice: one_of, int, ref or use")
        for name, value in found.fields
        if must_be_choices and choice_key(value) is None
    ]
    problems += [
        Problem(
            found.key_marks[name], f"{key}.{shorten(name)}", "a name may not be empty or contain '.' or ':'"
        )
        for name, _ in found.fields
        if not name or "." in name or ":" in name
    ]
    return found, problems


# --- runs and the rules that hold without being written -----------------------------------------------------


def _slots(stages: Sequence[StageTrees], fixed: Record | None, resolution: int) -> tuple[Slot, ...]:
    side = output_side(resolution, min(_stem_strides(fixed), default=1))
    slots: list[Slot] = []
    for stage, (stride, runs) in enumerate(stages):
        side = output_side(side, stride)
        for path, tree, _ in runs:
            slots.append(Slot(slot=len(slots), stage=stage, stride=stride, side=side, path=path, tree=tree))
    return tuple(slots)


def _stem_strides(fixed: Record | None) -> set[int]:
    return set() if fixed is None else set(constants_at(fixed, ("stem", "stride")))


def _presence(reader: Reader, slots: tuple[Slot, ...], stages: Sequence[StageTrees]) -> list[Rule]:
    """A stage of stride 2 never vanishes, nor does the whole network."""
    rules: list[Rule] = []
    for index, (stride, runs) in enumerate(stages):
        if stride == 1 or not runs or not all(_may_be_absent(run.tree) for run in runs):
            continue
        if len(runs) == 1:
            message = "a stage of stride 2 cannot be absent, so its depth is at least 1"
            reader.report(runs[0].depth_mark, f"{runs[0].path}.depth", message)
        else:
            members = frozenset(slot.slot for slot in slots if slot.stage == index)
            rules.append(SomePresent(slots=members, what=f"stages[{index}]"))
    if slots and all(_may_be_absent(slot.tree) for slot in slots) and not rules:
        rules.append(SomePresent(slots=frozenset(slot.slot for slot in slots), what="the network"))
    return rules


def _requirements(reader: Reader, node: Fields, slots: tuple[Slot, ...], fixed: Record | None) -> list[Rule]:
    """Blocks get the width and resolution that they themselves require; no rule where none can refuse.

    Without rules a population is drawn at once and not one genotype after another.
    """
    ops = {op for slot in slots for op in constants_at(slot.tree, ("block", "op"))}
    if not any(block_is_constrained(op) for op in ops):
        return []
    if len(_stem_strides(fixed)) > 1:
        names = ", ".join(sorted(op for op in ops if block_is_constrained(op)))
        message = f"the stem's stride cannot be a choice beside {names}, which depends on the resolution"
        reader.report((node.get("stem") or node).mark, "stem.stride", message)
    return [BlockRequirements()] if any(_may_refuse(slot) for slot in slots) else []


def _may_refuse(slot: Slot) -> bool:
    """Whether a block of this run can refuse; each field is taken as free, so yes may be said needlessly."""
    paths = sorted(BlockRequirements().paths)
    options = [set(constants_at(slot.tree, path.split("."))) or {None} for path in paths]
    if prod(map(len, options)) > MAX_REQUIREMENTS_TRIED:
        return True
    runs = (dict(zip(paths, values, strict=True)) for values in product(*options))
    return any(block_refusal(run, slot.side) is not None for run in runs)


def _may_be_absent(tree: Tree) -> bool:
    return 0 in constants_at(tree, ("depth",))


# --- limits, seeds, names -------------------------------------------------------------------------------


def _limits(reader: Reader, node: Fields) -> tuple[Limit, ...]:
    found = node.get("limits")
    if found is None:
        return ()
    if not isinstance(found, Fields):
        reader.report(found.mark, "limits", "expected bounds by cost, such as {params: {max: 30e6}}")
        return ()
    reader.unknown_keys(found, COST_NAMES, "limits")
    limits: list[Limit] = []
    for name in COST_NAMES:
        bounds = found.get(name)
        if bounds is None:
            continue
        path = f"limits.{name}"
        if not isinstance(bounds, Fields) or (bounds.get("min") is None and bounds.get("max") is None):
            reader.report(bounds.mark, path, "expected {min: ..., max: ...} with at least one of them")
            continue
        reader.unknown_keys(bounds, ("min", "max", "resolution", "num_classes"), path)
        limits += _limit(reader, name, bounds, path)
    return tuple(limits)


def _limit(reader: Reader, name: CostName, bounds: Fields, path: str) -> list[Limit]:
    low, high = (_bound(reader, bounds.get(key), f"{path}.{key}") for key in ("min", "max"))
    resolution = _whole(reader, bounds.get("resolution"), RESOLUTION, f"{path}.resolution")
    classes = _whole(reader, bounds.get("num_classes"), WIDTH, f"{path}.num_classes")
    if low is not None and high is not None and low > high:
        reader.report(bounds.mark, path, f"min {low:,.0f} is above max {high:,.0f}")
    return [Limit(cost=name, low=low, high=high, resolution=resolution, num_classes=classes or 1000)]


def _bound(reader: Reader, node: Node | None, path: str) -> float | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return value
    if node is not None:
        got = f", got {shorten(node.text)!r}" if isinstance(node, Scalar) else ""
        reader.report(node.mark, path, f"expected a number above 0, such as 30e6{got}")
    return None


def _whole(reader: Reader, node: Node | None, type_: Leaf, path: str) -> int | None:
    tree = None if node is None else reader.read(node, type_, path)
    if tree is not None and not isinstance(tree, Const) and node is not None:
        reader.report(node.mark, path, "a limit holds no choices")
    return tree.value if isinstance(tree, Const) else None


def _seeds(reader: Reader, node: Fields) -> list[tuple[Architecture, Node]]:
    """The seeds that can be read, with their nodes. A file is looked for beside the document."""
    found = node.get("seeds")
    if found is None:
        return []
    if not isinstance(found, Items) or len(found.items) > MAX_SEEDS:
        reader.report(found.mark, "seeds", f"expected a list of at most {MAX_SEEDS} architectures")
        return []
    seeds: list[tuple[Architecture, Node]] = []
    for index, item in enumerate(found.items):
        if not isinstance(item, Scalar) or not isinstance(item.value, str):
            reader.report(item.mark, f"seeds[{index}]", "expected an architecture's name, or a .yaml file")
            continue
        path = Path(item.value)
        is_file = path.suffix in {".yaml", ".yml"}
        try:
            if not is_file and len(path.parts) > 1:
                raise DocumentError([Problem(item.mark, "", "the file of a seed ends in .yaml")])
            place = Path(node.mark.source).parent / path if is_file else item.value
            seeds.append((load_architecture(place), item))
        except DocumentError as error:
            reader.report(item.mark, f"seeds[{index}]", str(error).splitlines()[0])
    return seeds


def _check_names_are_used(
    reader: Reader, choices: Fields | None, menus: Fields | None, runs: list[Tree], fixed: Tree | None
) -> None:
    """Report names that nothing refers to, and shared choices whose options make no difference."""
    if reader.problems or fixed is None:
        return
    for section, key, used in (
        (choices, "choices", reader.used_choices),
        (menus, "menus", reader.used_menus),
    ):
        for name, _ in section.fields if section is not None else ():
            if section is not None and name not in used:
                message = "is never used; remove it or refer to it"
                reader.report(section.key_marks[name], f"{key}.{name}", message)
    uses: dict[int, list[Pick]] = {}
    for pick in (pick for tree in (fixed, *runs) for pick in picks_of(tree)):
        uses.setdefault(pick.gene, []).append(pick)
    for index, gene in enumerate(reader.genes):
        if not gene.shared or choices is None:
            continue
        seen: dict[tuple[Tree, ...], int] = {}
        for option in range(len(gene.labels)):
            first = seen.setdefault(tuple(pick.options[option] for pick in uses[index]), option)
            if first != option:
                name = gene.site.removeprefix("choices.").split(":")[0].split(".")[0]
                message = (
                    f"options {first + 1} ({gene.labels[first]}) and {option + 1} ({gene.labels[option]})"
                    " differ in nothing that is used; remove one"
                )
                reader.report(choices.key_marks[name], gene.site, message)
