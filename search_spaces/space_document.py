"""Search spaces from documents: YAML files, shipped names, or Python dicts with choice objects in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.cost import output_side
from search_spaces.document import (
    ARCHITECTURE_KEYS,
    check_header,
    load_architecture,
    load_node,
    read_fixed,
    read_recipe,
    read_stages,
    read_text_field,
)
from search_spaces.limits import COST_NAMES, Limit
from search_spaces.matching import Slot
from search_spaces.nodes import DocumentError, Fields, Items, Node, Problem, Scalar, from_python, shorten
from search_spaces.reader import Reader, choice_key, suggest
from search_spaces.registry import BLOCKS
from search_spaces.rules import (
    BlockRequirements,
    Forbid,
    Increasing,
    Monotone,
    Rule,
    SomePresent,
    block_is_constrained,
)
from search_spaces.schema import LeafOrRecord, RecordType, record_type
from search_spaces.space import Space
from search_spaces.tree import Const, Pick, Record, Tree, overlap, picks_of

SPACE_SCHEMA = "nas.space/1"
SPACE_KEYS = (*ARCHITECTURE_KEYS, "choices", "menus", "rules", "limits", "seeds")

_SPACES = Path(__file__).parent / "spaces"


def space_names() -> tuple[str, ...]:
    """The shipped spaces."""
    return tuple(sorted(path.stem for path in _SPACES.glob("*.yaml")))


def space_file(name: str) -> Path:
    """The document of a shipped space, to be copied and edited."""
    return _SPACES / f"{name}.yaml"


def load_space(name_or_path: str | Path) -> Space:
    """A shipped space by name, or one from a YAML file.

    Raises:
        DocumentError: no such name or file, or a document with problems; every problem is named.
    """
    return _read_space(load_node(name_or_path, _SPACES, "space"))


def space(document: Mapping[str, Any]) -> Space:
    """A space from Python: the document as dicts and lists, with `one_of(...)` and the like in it.

    `schema` may be left out.

    Raises:
        DocumentError: every problem of the document.
    """
    return _read_space(from_python({"schema": SPACE_SCHEMA, **document}))


def _read_space(node: Node) -> Space:
    if not isinstance(node, Fields):
        raise DocumentError(
            [Problem(node.mark, "", f"expected a mapping with the keys {', '.join(SPACE_KEYS)}")]
        )
    choices, choice_problems = _section(node, "choices", must_be_choices=True)
    menus, menu_problems = _section(node, "menus", must_be_choices=False)
    reader = Reader(choices=choices, menus=menus)
    reader.problems += choice_problems + menu_problems
    check_header(reader, node, SPACE_SCHEMA)
    reader.unknown_keys(node, SPACE_KEYS, "")
    name = read_text_field(reader, node, "name")
    notes = read_text_field(reader, node, "notes")
    recipe = read_recipe(reader, node)
    fixed = read_fixed(reader, node)
    stages = read_stages(reader, node)
    slots = _slots(stages, fixed, recipe.eval_resolution or 224)
    rules = [*_presence(reader, slots, stages), *_rules(reader, node, slots)]
    limits = _limits(reader, node)
    if name is None and not any(problem.path == "name" for problem in reader.problems):
        reader.report(node.mark, "name", "missing")
    if not reader.problems:
        _check_names_are_used(
            reader, choices, menus, [*(slot.tree for slot in slots), *([fixed] if fixed else [])]
        )
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
        seeds=(seeds := _seeds(reader, node)),
    )
    _check_seeds(reader, node, found, seeds)
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


def _slots(
    stages: list[tuple[int, list[tuple[str, Tree, Node]]]], fixed: Record | None, resolution: int
) -> tuple[Slot, ...]:
    side = output_side(resolution, _stem_stride(fixed))
    slots: list[Slot] = []
    for stage, (stride, runs) in enumerate(stages):
        side = output_side(side, stride)
        for path, tree, _ in runs:
            slots.append(Slot(slot=len(slots), stage=stage, stride=stride, side=side, path=path, tree=tree))
    return tuple(slots)


def _stem_stride(fixed: Record | None) -> int:
    stem = fixed.get("stem") if fixed is not None else None
    while isinstance(stem, Pick):
        stem = stem.options[0]
    stride = stem.get("stride") if isinstance(stem, Record) else None
    return int(stride.value) if isinstance(stride, Const) else 2


def _presence(
    reader: Reader, slots: tuple[Slot, ...], stages: list[tuple[int, list[tuple[str, Tree, Node]]]]
) -> list[Rule]:
    """A stage of stride 2 never vanishes, nor does the whole network; blocks get what they require."""
    rules: list[Rule] = []
    for index, (stride, runs) in enumerate(stages):
        members = [slot for slot in slots if slot.stage == index]
        optional = [slot for slot in members if _may_be_absent(slot.tree)]
        if stride == 1 or not members or len(optional) < len(members):
            continue
        if len(members) == 1:
            path, _, node = runs[0]
            message = "a stage of stride 2 cannot be absent, so its depth starts at 1"
            reader.report(node.mark, f"{path}.depth", message)
        else:
            slots_of_stage = frozenset(slot.slot for slot in members)
            rules.append(SomePresent(slots=slots_of_stage, what=f"stages[{index}]"))
    if slots and all(_may_be_absent(slot.tree) for slot in slots) and not rules:
        rules.append(SomePresent(slots=frozenset(slot.slot for slot in slots), what="the network"))
    ops = {op for slot in slots for op in _ops(slot.tree)}
    if any(block_is_constrained(op) for op in ops):
        rules.append(BlockRequirements())
    return rules


def _may_be_absent(tree: Tree) -> bool:
    if isinstance(tree, Pick):
        return any(_may_be_absent(option) for option in tree.options)
    return isinstance(tree, Record) and overlap(tree.get("depth"), Const(0))


def _ops(tree: Tree) -> set[str]:
    if isinstance(tree, Pick):
        return set().union(*(_ops(option) for option in tree.options))
    if isinstance(tree, Record):
        inner = set().union(*(_ops(subtree) for _, subtree in tree.fields)) if tree.fields else set()
        return inner | ({tree.tag} if tree.tag else set())
    return set()


# --- rules ---------------------------------------------------------------------------------------------------


def _rules(reader: Reader, node: Fields, slots: tuple[Slot, ...]) -> list[Rule]:
    found = node.get("rules")
    if found is None:
        return []
    if not isinstance(found, Items):
        reader.report(found.mark, "rules", "expected a list of rules")
        return []
    stages = 1 + max((slot.stage for slot in slots), default=0)
    rules = [_rule(reader, rule, f"rules[{index}]", stages) for index, rule in enumerate(found.items)]
    return [rule for rule in rules if rule is not None]


def _rule(reader: Reader, node: Node, path: str, stages: int) -> Rule | None:
    kinds = {
        "monotone": ("monotone", "order", "free"),
        "increasing": ("increasing", "strict"),
        "forbid": ("forbid", "stages"),
    }
    keys = [key for key, _ in node.fields] if isinstance(node, Fields) else []
    kind = next((key for key in keys if key in kinds), None)
    if not isinstance(node, Fields) or kind is None:
        near = suggest(keys[0], kinds) if keys else ""
        reader.report(node.mark, path, f"expected a rule{near}; known: {', '.join(kinds)}")
        return None
    before = len(reader.problems)
    reader.unknown_keys(node, kinds[kind], path)
    rule: Rule | None = None
    if kind == "monotone":
        field = _run_path(reader, node.get("monotone"), f"{path}.monotone")
        order = _scalars(reader, node.get("order"), f"{path}.order", node)
        free = _scalars(reader, node.get("free"), f"{path}.free") if node.get("free") else ()
        if field == "block.op":
            _check_ops(reader, node, ("order", "free"), path)
        rule = Monotone(path=field, order=order, free=free)
    elif kind == "increasing":
        field = _run_path(reader, node.get("increasing"), f"{path}.increasing")
        strict = node.get("strict")
        if strict is not None and (not isinstance(strict, Scalar) or not isinstance(strict.value, bool)):
            reader.report(strict.mark, f"{path}.strict", "expected true or false")
        rule = Increasing(path=field, strict=isinstance(strict, Scalar) and strict.value is True)
    else:
        rule = _forbid(reader, node, path, stages)
    return rule if len(reader.problems) == before else None


def _forbid(reader: Reader, node: Fields, path: str, stages: int) -> Forbid | None:
    values = node.get("forbid")
    if not isinstance(values, Fields) or not values.fields:
        reader.report(
            values.mark if values else node.mark, f"{path}.forbid", "expected values by field of a run"
        )
        return None
    pairs = []
    for field, value in values.fields:
        name = Scalar(field, field, values.key_marks[field])
        known = _run_path(reader, name, f"{path}.forbid")
        if not isinstance(value, Scalar):
            reader.report(value.mark, f"{path}.forbid.{field}", "expected a single value")
        else:
            if field == "block.op":
                _check_op(reader, value, f"{path}.forbid.{field}")
            pairs.append((known, value.value))
    where = node.get("stages")
    if where is None:
        return Forbid(values=tuple(pairs))
    indices = _scalars(reader, where, f"{path}.stages")
    if any(type(index) is not int or not 0 <= index < stages for index in indices):
        reader.report(where.mark, f"{path}.stages", f"expected indices of stages, 0 to {stages - 1}")
        return None
    return Forbid(values=tuple(pairs), stages=frozenset(indices))


def _run_path(reader: Reader, node: Node | None, path: str) -> str:
    known = ["width", "depth", "block.op", *sorted(_block_paths())]
    if isinstance(node, Scalar) and node.value in known:
        return str(node.value)
    shown = shorten(node.text) if isinstance(node, Scalar) else "this"
    mark = node.mark if node is not None else None
    if mark is not None:
        reader.report(
            mark, path, f"{shown!r} is not a field of a run{suggest(shown, known)}; known: {', '.join(known)}"
        )
    return "width"


def _block_paths() -> set[str]:
    paths: set[str] = set()

    def visit(type_: RecordType, prefix: str) -> None:
        for key, field in type_.fields.items():
            paths.add(f"{prefix}.{key}")
            inner = field.type.record if isinstance(field.type, LeafOrRecord) else field.type
            if isinstance(inner, RecordType):
                visit(inner, f"{prefix}.{key}")

    for op, kind in BLOCKS.items():
        visit(record_type(kind.spec, op), "block")
    return paths


def _scalars(reader: Reader, node: Node | None, path: str, parent: Fields | None = None) -> tuple[Any, ...]:
    if isinstance(node, Items) and node.items and all(isinstance(item, Scalar) for item in node.items):
        return tuple(item.value for item in node.items if isinstance(item, Scalar))
    mark = node.mark if node is not None else parent.mark if parent is not None else None
    if mark is not None:
        reader.report(mark, path, "expected a list of values" if node is not None else "missing")
    return ()


def _check_ops(reader: Reader, node: Fields, keys: tuple[str, ...], path: str) -> None:
    for key in keys:
        found = node.get(key)
        for item in found.items if isinstance(found, Items) else ():
            _check_op(reader, item, f"{path}.{key}")


def _check_op(reader: Reader, node: Node, path: str) -> None:
    shown = shorten(node.text) if isinstance(node, Scalar) else "this"
    if shown not in BLOCKS:
        reader.report(
            node.mark, path, f"no op is named {shown!r}{suggest(shown, BLOCKS)}; known: {', '.join(BLOCKS)}"
        )


# --- limits, seeds, names ------------------------------------------------------------------------------------


def _limits(reader: Reader, node: Fields) -> tuple[Limit, ...]:
    found = node.get("limits")
    if found is None:
        return ()
    if not isinstance(found, Fields):
        reader.report(found.mark, "limits", "expected bounds by cost, such as {params: {max: 30e6}}")
        return ()
    reader.unknown_keys(found, COST_NAMES, "limits")
    limits = []
    for name in COST_NAMES:
        bounds = found.get(name)
        if bounds is None:
            continue
        path = f"limits.{name}"
        if not isinstance(bounds, Fields) or not (bounds.get("min") or bounds.get("max")):
            reader.report(bounds.mark, path, "expected {min: ..., max: ...} with at least one of them")
            continue
        reader.unknown_keys(bounds, ("min", "max", "resolution", "num_classes"), path)
        numbers = {key: _number(reader, value, f"{path}.{key}") for key, value in bounds.fields}
        low, high = numbers.get("min"), numbers.get("max")
        if low is not None and high is not None and low > high:
            reader.report(bounds.mark, path, f"min {low:,.0f} is above max {high:,.0f}")
            continue
        resolution, classes = numbers.get("resolution"), numbers.get("num_classes")
        limits.append(
            Limit(
                cost=name,
                low=low,
                high=high,
                resolution=int(resolution) if resolution else None,
                num_classes=int(classes) if classes else 1000,
            )
        )
    return tuple(limits)


def _number(reader: Reader, node: Node, path: str) -> float | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return value
    reader.report(node.mark, path, "expected a number above 0")
    return None


def _seeds(reader: Reader, node: Fields) -> tuple[Architecture, ...]:
    found = node.get("seeds")
    if found is None:
        return ()
    seeds = []
    for index, name in enumerate(_scalars(reader, found, "seeds")):
        try:
            seeds.append(load_architecture(str(name)))
        except DocumentError as error:
            mark = found.items[index].mark if isinstance(found, Items) else found.mark
            reader.report(mark, f"seeds[{index}]", str(error).splitlines()[0])
    return tuple(seeds)


def _check_seeds(reader: Reader, node: Fields, found: Space, seeds: tuple[Architecture, ...]) -> None:
    section = node.get("seeds")
    for index, seed in enumerate(seeds):
        reason = found.explain(seed)
        if reason is not None and isinstance(section, Items):
            message = f"{seed.name} is not a member of this space: {reason}"
            reader.report(section.items[index].mark, f"seeds[{index}]", message)


def _check_names_are_used(
    reader: Reader, choices: Fields | None, menus: Fields | None, trees: list[Tree]
) -> None:
    for section, key, used in (
        (choices, "choices", reader.used_choices),
        (menus, "menus", reader.used_menus),
    ):
        for name, _ in section.fields if section is not None else ():
            if section is not None and name not in used:
                reader.report(
                    section.key_marks[name], f"{key}.{name}", "is never used; remove it or refer to it"
                )
    picks = [pick for tree in trees for pick in picks_of(tree)]
    for index, gene in enumerate(reader.genes):
        if not gene.shared:
            continue
        uses = [pick for pick in picks if pick.gene == index]
        for later in range(len(gene.labels)):
            for earlier in range(later):
                if uses and all(pick.options[earlier] == pick.options[later] for pick in uses):
                    name = gene.site.removeprefix("choices.").split(":")[0].split(".")[0]
                    mark = (
                        choices.key_marks.get(name, choices.mark)
                        if choices is not None
                        else reader.problems[0].mark
                    )
                    message = f"options {earlier + 1} and {later + 1} differ in nothing that is used"
                    reader.report(mark, gene.site, message)
