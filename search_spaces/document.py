"""Documents in, values out: architectures, spaces, and any other specification written as YAML."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError

from search_spaces.architecture import (
    ARCHITECTURE_SCHEMA,
    DEFAULT_RESOLUTION,
    Architecture,
    Recipe,
    Stage,
)
from search_spaces.cost import output_side
from search_spaces.messages import explain_error, suggest
from search_spaces.nodes import (
    DocumentError,
    Fields,
    Items,
    Mark,
    Node,
    Problem,
    Scalar,
    from_python,
    parse_yaml,
    read_text,
    shorten,
    to_python,
)
from search_spaces.reader import Reader, choice_key
from search_spaces.rules import BlockRequirements, block_refusal, run_fields
from search_spaces.schema import FIXED, NAME, RECIPE, RUN, STRIDE, RunValue
from search_spaces.shipped import ARCHITECTURES, shipped_names
from search_spaces.spec import Spec
from search_spaces.tree import Record, Tree, build, picks_of

__all__ = [
    "DocumentError",
    "architecture_from_document",
    "architecture_names",
    "load_architecture",
    "read_spec",
    "read_yaml",
    "shipped_digests",
]

ARCHITECTURE_KEYS = ("schema", "name", "notes", *FIXED.fields, "stages", "recipe")
IGNORED_KEYS = ("provenance", "measurements", "estimates")
"""Keys that an export adds to an architecture; they say where it comes from, not what it is."""

SpecT = TypeVar("SpecT", bound=Spec)

MAX_RUNS = 256


def architecture_names() -> tuple[str, ...]:
    """The shipped architectures."""
    return shipped_names(ARCHITECTURES)


@cache
def shipped_digests() -> Mapping[str, str]:
    """The names of the shipped architectures by digest; reading them all takes a moment the first time."""
    return {load_architecture(name).digest: name for name in architecture_names()}


def load_architecture(name_or_path: str | Path) -> Architecture:
    """A shipped architecture by name, or one from a YAML file.

    Raises:
        DocumentError: no such name or file, or a document with problems; every problem is named.
    """
    return read_architecture(load_node(name_or_path, ARCHITECTURES, "architecture"))


def architecture_from_document(data: Mapping[str, Any]) -> Architecture:
    """An architecture from plain data, as `Architecture.to_document` writes it.

    Raises:
        DocumentError: every problem of the document.
    """
    return read_architecture(from_python(data))


def read_yaml(path: Path) -> Any:
    """Plain data from a YAML file, parsed as safely as a space: no anchors, tags or duplicate keys.

    Raises:
        DocumentError: unreadable, or not such a document.
    """
    return to_python(parse_yaml(read_text(path), str(path)))


def read_spec(path: Path, cls: type[SpecT]) -> SpecT:
    """A specification from a YAML file, every field checked at its own line.

    Fields whose type is itself a list or mapping of scalars are checked as a whole.

    Raises:
        DocumentError: every problem of the document.
    """
    return spec_from_node(parse_yaml(read_text(path), str(path)), cls)


def spec_from_node(node: Node, cls: type[SpecT]) -> SpecT:
    """A specification from nodes; see `read_spec`."""
    data = to_python(node)
    if not isinstance(data, dict):
        raise DocumentError(
            [Problem(node.mark, "", f"expected a mapping with the keys {', '.join(_keys(cls))}")]
        )
    try:
        return cls.model_validate(_tuples(data))
    except ValidationError as error:
        raise DocumentError(list(_spec_problems(error, node, cls))) from error


def _keys(cls: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in cls.model_fields.items()]


def _keys_at(cls: type[BaseModel], steps: Sequence[int | str]) -> list[str]:
    """The keys of the specification that stands under `steps` in `cls`; none when that is not one."""
    for step in (step for step in steps if isinstance(step, str)):  # a number is a place in a list
        info = next((info for name, info in cls.model_fields.items() if step in {name, info.alias}), None)
        candidates = [] if info is None else [info.annotation, *get_args(info.annotation)]
        specs = [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        if not specs:
            return []
        cls = specs[0]
    return _keys(cls)


def _tuples(data: Any) -> Any:
    """Lists as tuples: strict validation takes a tuple for a tuple, and documents write lists."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(_tuples(item) for item in data) if isinstance(data, list) else data


def _spec_problems(error: ValidationError, root: Node, cls: type[Spec]) -> Iterable[Problem]:
    fields: dict[int, dict[str, Node]] = {}  # a hostile document has thousands of them
    for detail in error.errors(include_url=False):
        node, steps, mark = root, [], root.mark
        for step in detail["loc"]:
            inner = None
            if isinstance(node, Fields):
                if id(node) not in fields:
                    fields[id(node)] = dict(node.fields)
                inner = fields[id(node)].get(str(step))
                mark = node.key_marks.get(str(step), mark)
            elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
                inner = node.items[step]
            steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
            if inner is None:
                break
            node = inner
        path = "".join(steps).lstrip(".")
        if detail["type"] == "missing":
            yield Problem(node.mark, path, f"the key {str(detail['loc'][-1])!r} is missing")
        elif detail["type"] == "extra_forbidden":
            name = str(detail["loc"][-1])
            known = _keys_at(cls, detail["loc"][:-1])
            yield Problem(
                mark, path, f"unknown key {shorten(name)!r}{suggest(name, known)}; known: {', '.join(known)}"
            )
        elif isinstance(node, Scalar):
            yield Problem(node.mark, path, explain_error([detail], node))
        else:
            yield Problem(node.mark, path, str(detail.get("ctx", {}).get("error", detail["msg"])))


# --- shared with space documents ---------------------------------------------------------------------------


def load_node(name_or_path: str | Path, folder: Path, what: str) -> Node:
    """The parsed document of a shipped name, or of a file.

    Raises:
        DocumentError: no such name or file (the nearest names are given), or not a document.
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    names = shipped_names(folder)
    if text in names:
        path = folder / f"{text}.yaml"
        return parse_yaml(read_text(path), path.name)
    if path.suffix not in {".yaml", ".yml"} and len(path.parts) < 2 and not _is_file(path):
        message = f"no {what} or file has this name{suggest(text, names)}; shipped: {', '.join(names)}"
        raise DocumentError([Problem(Mark(shorten(text, 80)), "", message)])
    return parse_yaml(read_text(path), str(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than any file's name
        return False


def check_header(reader: Reader, node: Fields, schema: str) -> None:
    """Report a wrong or missing schema.

    Raises:
        DocumentError: a schema of another kind, as nothing else would fit either.
    """
    found = node.get("schema")
    if found is None:
        reader.report(node.mark, "schema", f"the key 'schema' is missing; write schema: {schema}")
    elif not isinstance(found, Scalar) or found.value != schema:
        shown = f", got {shorten(found.text)!r}" if isinstance(found, Scalar) else ""
        problem = Problem(found.mark, "schema", f"expected {schema!r}{shown}")
        if isinstance(found, Scalar) and not str(found.value).startswith(schema.partition("/")[0]):
            raise DocumentError([problem])
        reader.problems.append(problem)


def read_text_field(reader: Reader, node: Fields, key: str) -> str | None:
    """A string under `key`, or None."""
    found = node.get(key)
    if found is None:
        return None
    if isinstance(found, Scalar) and isinstance(found.value, str):
        return None if key == "name" and reader.read(found, NAME, key) is None else found.value
    reader.report(
        found.mark, key, "expected a string" + (", which cannot be a choice" if choice_key(found) else "")
    )
    return None


def read_recipe(reader: Reader, node: Fields) -> Recipe:
    """The recipe; empty when there is none. It holds no choices."""
    found = node.get("recipe")
    if found is None:
        return Recipe()
    tree = reader.read(found, RECIPE, "recipe")
    if tree is not None and any(True for _ in picks_of(tree)):
        reader.report(found.mark, "recipe", "a recipe holds hints, not choices")
        return Recipe()
    return Recipe() if tree is None else cast("Recipe", build(tree, _no_choice))


def read_fixed(reader: Reader, node: Fields) -> Record | None:
    """Everything but the stages."""
    given = {key: value for key, value in node.fields if key in FIXED.fields}
    return reader.record(given, FIXED, "", "", node.mark)


class RunTree(NamedTuple):
    """One run as a document gives it."""

    path: str
    tree: Tree
    node: Node

    @property
    def depth_mark(self) -> Mark:
        """Where its depth is written, for what is wrong with being absent."""
        depth = self.node.get("depth") if isinstance(self.node, Fields) else None
        return (depth or self.node).mark


class StageTrees(NamedTuple):
    """One stage as a document gives it; without runs when one of them could not be read."""

    stride: int
    runs: tuple[RunTree, ...]


def read_stages(reader: Reader, node: Fields) -> list[StageTrees]:
    """Every stage; problems are reported."""
    found = node.get("stages")
    if found is None:
        reader.report(node.mark, "stages", "the key 'stages' is missing")
        return []
    if not isinstance(found, Items) or not found.items:
        hint = "; put choices inside the stages" if choice_key(found) else ""
        reader.report(found.mark, "stages", f"expected a list of at least one stage{hint}")
        return []
    stages = [_read_stage(reader, stage, f"stages[{index}]") for index, stage in enumerate(found.items)]
    num_runs = sum(len(stage.runs) for stage in stages)
    if num_runs > MAX_RUNS:
        reader.report(found.mark, "stages", f"{num_runs} runs; at most {MAX_RUNS} are allowed")
    return stages


def _read_stage(reader: Reader, node: Node, path: str) -> StageTrees:
    key = choice_key(node)
    if not isinstance(node, Fields) or key is not None:
        message = "expected a stage such as {stride: 2, depth: 2, width: 32, block: {...}}"
        if key is not None:
            message = f"a whole stage cannot be a choice ({key}); make its depth, width, block or runs one"
        reader.report(node.mark, path, message)
        return StageTrees(1, ())
    stride = _read_stride(reader, node, path)
    runs = node.get("runs")
    if runs is None:
        reader.unknown_keys(node, ("stride", "runs", *RUN.fields), path)
        tree = reader.record(dict(node.fields), RUN, path, path, node.mark)
        return StageTrees(stride, (RunTree(path, tree, node),) if tree is not None else ())
    reader.unknown_keys(node, ("stride", "runs"), path)
    if not isinstance(runs, Items) or not runs.items:
        hint = "; make each run a choice instead" if choice_key(runs) else ""
        reader.report(runs.mark, f"{path}.runs", f"expected a list of at least one run{hint}")
        return StageTrees(stride, ())
    paths = [f"{path}.runs[{index}]" for index in range(len(runs.items))]
    trees = [reader.read(run, RUN, run_path) for run, run_path in zip(runs.items, paths, strict=True)]
    read = [
        RunTree(run_path, tree, run)
        for run_path, tree, run in zip(paths, trees, runs.items, strict=True)
        if tree is not None
    ]
    return StageTrees(stride, tuple(read) if len(read) == len(trees) else ())


def _read_stride(reader: Reader, node: Fields, path: str) -> int:
    found = node.get("stride")
    if found is None:
        return 1
    if choice_key(found):
        message = "a stage's stride cannot be a choice, so that the resolution of every stage is known"
        reader.report(found.mark, f"{path}.stride", message)
        return 1
    tree = reader.read(found, STRIDE, f"{path}.stride")
    return 1 if tree is None else int(build(tree, _no_choice))


def _no_choice(gene: int) -> int:
    raise AssertionError(f"gene {gene} in a tree without choices")


def read_architecture(node: Node) -> Architecture:
    """An architecture from nodes.

    Raises:
        DocumentError: every problem of the document.
    """
    reader = Reader(allow_choices=False)
    if not isinstance(node, Fields):
        message = f"expected a mapping with the keys {', '.join(ARCHITECTURE_KEYS)}"
        raise DocumentError([Problem(node.mark, "", message)])
    check_header(reader, node, ARCHITECTURE_SCHEMA)
    reader.unknown_keys(node, (*ARCHITECTURE_KEYS, *IGNORED_KEYS), "")
    name = read_text_field(reader, node, "name")
    notes = read_text_field(reader, node, "notes")
    recipe = read_recipe(reader, node)
    fixed = read_fixed(reader, node)
    trees = read_stages(reader, node)
    if fixed is None:
        raise DocumentError(reader.problems)
    parts = build(fixed, _no_choice)
    side = output_side(recipe.eval_resolution or DEFAULT_RESOLUTION, parts["stem"].stride)
    stages = _present_stages(reader, trees, side)
    if not stages and not reader.problems:
        reader.report(node.mark, "stages", "an architecture needs at least one stage of depth 1 or more")
    if reader.problems:
        raise DocumentError(reader.problems)
    return Architecture(stages=tuple(stages), recipe=recipe, name=name, notes=notes, **parts)


def _present_stages(reader: Reader, trees: list[StageTrees], side: int) -> list[Stage]:
    """The runs that are present, as stages; `side` is that of the stem's output."""
    stages: list[Stage] = []
    for index, (stride, runs) in enumerate(trees):
        side = output_side(side, stride)
        pending = stride
        for found in runs:
            run: RunValue = build(found.tree, _no_choice)
            if run.depth == 0:
                continue
            refusal = block_refusal(run_fields(run, BlockRequirements().paths), side)
            if refusal is not None:
                reader.report(found.node.mark, f"{found.path}.block", refusal)
            stages.append(Stage(stride=pending, depth=run.depth, width=run.width, block=run.block))
            pending = 1
        if runs and pending != 1:
            message = "a stage of stride 2 cannot be absent, so its depth is at least 1"
            reader.report(runs[0].depth_mark, f"stages[{index}]", message)
    return stages
