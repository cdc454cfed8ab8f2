"""Documents in, values out: architectures, spaces, and any other specification written as YAML."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from search_spaces.architecture import ARCHITECTURE_SCHEMA, Architecture, Recipe, Stage
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
from search_spaces.reader import Reader, choice_key, suggest
from search_spaces.schema import FIXED, RECIPE, RUN, STRIDE, RunValue
from search_spaces.spec import Spec
from search_spaces.tree import Record, Tree, build

__all__ = [
    "DocumentError",
    "architecture_from_document",
    "architecture_names",
    "load_architecture",
    "read_spec",
    "read_yaml",
]

ARCHITECTURE_KEYS = ("schema", "name", "notes", *FIXED.fields, "stages", "recipe")
IGNORED_KEYS = ("provenance", "measurements")
"""Keys that an export adds to an architecture; they say where it comes from, not what it is."""

_ARCHITECTURES = Path(__file__).parent / "architectures"
SpecT = TypeVar("SpecT", bound=Spec)


def architecture_names() -> tuple[str, ...]:
    """The shipped architectures."""
    return tuple(sorted(path.stem for path in _ARCHITECTURES.glob("*.yaml")))


def load_architecture(name_or_path: str | Path) -> Architecture:
    """A shipped architecture by name, or one from a YAML file.

    Raises:
        DocumentError: no such name or file, or a document with problems; every problem is named.
    """
    return read_architecture(load_node(name_or_path, _ARCHITECTURES, "architecture"))


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
    from pydantic import ValidationError

    data = to_python(node)
    if not isinstance(data, dict):
        raise DocumentError(
            [Problem(node.mark, "", f"expected a mapping with the keys {', '.join(_keys(cls))}")]
        )
    try:
        return cls.model_validate(_tuples(data))
    except ValidationError as error:
        raise DocumentError(list(_spec_problems(error, node, cls))) from error


def _keys(cls: type[Spec]) -> list[str]:
    return [info.alias or name for name, info in cls.model_fields.items()]


def _tuples(data: Any) -> Any:
    """Lists as tuples: strict validation takes a tuple for a tuple, and documents write lists."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(_tuples(item) for item in data) if isinstance(data, list) else data


def _spec_problems(error: Any, root: Node, cls: type[Spec]) -> Iterable[Problem]:
    from search_spaces.reader import explain_error

    for detail in error.errors(include_url=False):
        node, steps, mark = root, [], root.mark
        for step in detail["loc"]:
            inner = None
            if isinstance(node, Fields):
                inner = node.get(str(step))
                mark = node.key_marks.get(str(step), mark)
            elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
                inner = node.items[step]
            steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
            if inner is None:
                break
            node = inner
        path = "".join(steps).lstrip(".")
        if detail["type"] == "missing":
            yield Problem(node.mark, path, "missing")
        elif detail["type"] == "extra_forbidden":
            name = str(detail["loc"][-1])
            known = _keys(cls)
            yield Problem(
                mark, path, f"unknown key {shorten(name)!r}{suggest(name, known)}; known: {', '.join(known)}"
            )
        elif isinstance(node, Scalar):
            yield Problem(node.mark, path, explain_error(_Single(detail), node))
        else:
            yield Problem(node.mark, path, str(detail["msg"]))


class _Single:
    """One detail of a validation error, read like the error."""

    def __init__(self, detail: Any) -> None:
        self._detail = detail

    def errors(self, *, include_url: bool) -> list[Any]:
        return [self._detail]


# --- shared with space documents ---------------------------------------------------------------------------


def load_node(name_or_path: str | Path, folder: Path, what: str) -> Node:
    """The parsed document of a shipped name, or of a file.

    Raises:
        DocumentError: no such name or file (the nearest names are given), or not a document.
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if text in names:
        path = folder / f"{text}.yaml"
        return parse_yaml(read_text(path), path.name)
    looks_like_path = path.suffix in {".yaml", ".yml"} or len(path.parts) > 1
    if not looks_like_path and not path.is_file():
        message = f"no {what} or file has this name{suggest(text, names)}; shipped: {', '.join(names)}"
        raise DocumentError([Problem(Mark(shorten(text, 80)), "", message)])
    return parse_yaml(read_text(path), str(path))


def check_header(reader: Reader, node: Fields, schema: str) -> None:
    """Report a wrong or missing schema, and a choice where none can be."""
    found = node.get("schema")
    if not isinstance(found, Scalar) or found.value != schema:
        mark = found.mark if found is not None else node.mark
        reader.report(mark, "schema", f"expected {schema!r}")


def read_text_field(reader: Reader, node: Fields, key: str) -> str | None:
    """A string under `key`, or None."""
    found = node.get(key)
    if found is None:
        return None
    if isinstance(found, Scalar) and isinstance(found.value, str):
        return found.value
    reader.report(
        found.mark, key, "expected a string" + (", which cannot be a choice" if choice_key(found) else "")
    )
    return None


def read_recipe(reader: Reader, node: Fields) -> Recipe:
    """The recipe; empty when there is none. It holds no choices."""
    found = node.get("recipe")
    if found is None:
        return Recipe()
    before = len(reader.genes)
    tree = reader.read(found, RECIPE, "recipe")
    if len(reader.genes) > before:
        reader.report(found.mark, "recipe", "a recipe holds hints, not choices")
        return Recipe()
    return build(tree, lambda _: 0) if tree is not None else Recipe()  # type: ignore[no-any-return]


def read_fixed(reader: Reader, node: Fields) -> Record | None:
    """Everything but the stages."""
    given = {key: value for key, value in node.fields if key in FIXED.fields}
    return reader.record(given, FIXED, "", "", node.mark)


def read_stages(reader: Reader, node: Fields) -> list[tuple[int, list[tuple[str, Tree, Node]]]]:
    """For each stage its stride, and path, tree and node of each of its runs; broken ones are left out."""
    found = node.get("stages")
    if found is None:
        reader.report(node.mark, "stages", "missing")
        return []
    if not isinstance(found, Items) or not found.items:
        hint = "; put choices inside the stages" if choice_key(found) else ""
        reader.report(found.mark, "stages", f"expected a list of at least one stage{hint}")
        return []
    return [_read_stage(reader, stage, f"stages[{index}]") for index, stage in enumerate(found.items)]


def _read_stage(reader: Reader, node: Node, path: str) -> tuple[int, list[tuple[str, Tree, Node]]]:
    if not isinstance(node, Fields):
        reader.report(
            node.mark, path, "expected a stage such as {stride: 2, depth: 2, width: 32, block: {...}}"
        )
        return 1, []
    key = choice_key(node)
    if key is not None:
        message = (
            f"a whole stage cannot be a choice ({key}); give the choice to its depth, width, block or runs"
        )
        reader.report(node.mark, path, message)
        return 1, []
    stride = _read_stride(reader, node, path)
    runs = node.get("runs")
    if runs is None:
        reader.unknown_keys(node, ("stride", "runs", *RUN.fields), path)
        fields = tuple((name, value) for name, value in node.fields if name in RUN.fields)
        tree = reader.record(dict(fields), RUN, path, path, node.mark)
        return stride, [] if tree is None else [(path, tree, node)]
    reader.unknown_keys(node, ("stride", "runs"), path)
    if not isinstance(runs, Items) or not runs.items:
        reader.report(runs.mark, f"{path}.runs", "expected a list of at least one run")
        return stride, []
    read = [
        (f"{path}.runs[{index}]", reader.read(run, RUN, f"{path}.runs[{index}]"), run)
        for index, run in enumerate(runs.items)
    ]
    return stride, [(run_path, tree, run) for run_path, tree, run in read if tree is not None]


def _read_stride(reader: Reader, node: Fields, path: str) -> int:
    found = node.get("stride")
    if found is None:
        return 1
    if choice_key(found):
        message = "a stage's stride cannot be a choice, so that the resolution of every stage is known"
        reader.report(found.mark, f"{path}.stride", message)
        return 1
    tree = reader.read(found, STRIDE, f"{path}.stride")
    return 1 if tree is None else int(build(tree, lambda _: 0))


def read_architecture(node: Node) -> Architecture:
    """An architecture from nodes.

    Raises:
        DocumentError: every problem of the document.
    """
    reader = Reader(allow_choices=False)
    if not isinstance(node, Fields):
        raise DocumentError(
            [Problem(node.mark, "", f"expected a mapping with the keys {', '.join(ARCHITECTURE_KEYS)}")]
        )
    check_header(reader, node, ARCHITECTURE_SCHEMA)
    reader.unknown_keys(node, (*ARCHITECTURE_KEYS, *IGNORED_KEYS), "")
    name = read_text_field(reader, node, "name")
    notes = read_text_field(reader, node, "notes")
    recipe = read_recipe(reader, node)
    fixed = read_fixed(reader, node)
    stages = []
    for index, (stride, runs) in enumerate(read_stages(reader, node)):
        pending = stride
        for _, tree, _ in runs:
            run: RunValue = build(tree, lambda _: 0)
            if run.depth:
                stages.append(Stage(stride=pending, depth=run.depth, width=run.width, block=run.block))
                pending = 1
        if pending != 1:
            reader.report(node.mark, f"stages[{index}]", "a stage of stride 2 cannot be absent")
    if not stages and not reader.problems:
        reader.report(node.mark, "stages", "an architecture needs at least one stage of depth 1 or more")
    if reader.problems or fixed is None:
        raise DocumentError(reader.problems)
    parts = build(fixed, lambda _: 0)
    return Architecture(stages=tuple(stages), recipe=recipe, name=name, notes=notes, **parts)
