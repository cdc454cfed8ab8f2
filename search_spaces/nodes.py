"""From text to a tree of plain nodes with marks. Knows YAML, knows nothing of architectures.

The text is scanned as events, so that a hostile document is refused before anything is built from it:
its size and depth are capped, anchors, aliases, tags, merge keys, duplicate keys and further documents are
errors. Plain scalars are read by YAML 1.2's core rules rather than YAML 1.1's: `no` is a string, `1e-3` and
`15e6` are numbers, `3:20` and `010` are strings (and so refused where a number belongs).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from search_spaces.choice import Choice
from search_spaces.seal import is_broken

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_ERRORS = 50

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_MAX_DIGITS = 18
_MAX_FLOAT_LENGTH = 64


class Mark(NamedTuple):
    """Where something stands: file and, for text, line and column counted from 1."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """One thing that is wrong with a document."""

    mark: Mark
    path: str
    message: str

    def __str__(self) -> str:
        return printable(": ".join(part for part in (str(self.mark), self.path, self.message) if part))


class DocumentError(ValueError):
    """A document that cannot be used. Its text has one line a problem, in the order of the document."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        # A menu's options are read at each of its uses, yet one line of text is reported once. Python data
        # has no lines: there the path tells problems apart.
        unique = list({(p.mark, p.message, None if p.mark.line else p.path): p for p in problems}.values())
        unique.sort(key=lambda p: (p.mark.source, p.mark.line or 0, p.mark.column or 0))
        self.problems = tuple(unique)
        lines = [str(problem) for problem in unique[:MAX_ERRORS]]
        if len(unique) > MAX_ERRORS:
            lines.append(f"... and {len(unique) - MAX_ERRORS} more problems")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type["DocumentError"], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf: None, bool, int, float or str; `text` is what was written."""

    value: Any
    text: str = field(compare=False)
    mark: Mark = field(compare=False)


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence of nodes."""

    items: tuple["Node", ...]
    mark: Mark = field(compare=False)


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping from unique strings to nodes, in document order."""

    fields: tuple[tuple[str, "Node"], ...]
    key_marks: Mapping[str, Mark] = field(compare=False)
    mark: Mark = field(compare=False)

    def get(self, key: str) -> "Node | None":
        """The node under `key`."""
        return next((node for name, node in self.fields if name == key), None)


Node = Scalar | Items | Fields


def read_text(path: Path) -> str:
    """The text of a document.

    Raises:
        DocumentError: unreadable, too large, not UTF-8, or sealed and changed since.
    """
    mark = Mark(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise DocumentError([Problem(mark, "", f"cannot be read: {reason}")]) from error
    if len(data) > MAX_BYTES:
        message = f"larger than {MAX_BYTES // 1024} KiB, which no document of this kind needs"
        raise DocumentError([Problem(mark, "", message)])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError([Problem(mark, "", f"not UTF-8 text (byte {error.start})")]) from error
    if is_broken(text):
        message = "changed since it was written; restore it, or delete its last line, the checksum, to use it"
        raise DocumentError([Problem(mark, "", message)])
    return text


def parse_yaml(text: str, source: str) -> Node:
    """Parse one YAML document into nodes.

    Raises:
        DocumentError: not YAML, or YAML that is refused here; see the module's docstring.
    """
    if len(text) > MAX_BYTES:
        message = f"larger than {MAX_BYTES // 1024} KiB, which no document of this kind needs"
        raise DocumentError([Problem(Mark(source), "", message)])
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unprintable:
        before = text[: unprintable.start()]
        mark = Mark(source, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the character U+{ord(unprintable.group()):04X} cannot stand in a document; remove it"
        raise DocumentError([Problem(mark, "", message)])
    try:
        return _Composer(source).compose(text)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(source, place.line + 1, place.column + 1) if place else Mark(source)
        is_tab = (
            place is not None
            and text.splitlines()[place.line : place.line + 1]
            and (text.splitlines()[place.line][place.column : place.column + 1] == "\t")
        )
        message = (
            f"not YAML: {error.problem or error.context}{'; indent with spaces, not tabs' if is_tab else ''}"
        )
        raise DocumentError([Problem(mark, "", message)]) from error
    except yaml.YAMLError as error:
        raise DocumentError([Problem(Mark(source), "", f"not YAML: {shorten(str(error), 200)}")]) from error


def from_python(data: Any, source: str = "<python>") -> Node:
    """The same nodes from dicts, lists, scalars and choice objects.

    Raises:
        DocumentError: another type, a key that is not a string, or too deep a nesting.
    """
    return _from_python(data, Mark(source), "", 0)


def _from_python(data: Any, mark: Mark, path: str, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise DocumentError([Problem(mark, path, f"nested deeper than {MAX_DEPTH} levels")])
    if isinstance(data, Choice):
        data = data.to_document()
    if isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, str):
                raise DocumentError([Problem(mark, path, f"the key {shorten(repr(key))} is not a string")])
        fields = tuple(
            (key, _from_python(value, mark, f"{path}.{key}".lstrip("."), depth + 1))
            for key, value in data.items()
        )
        return Fields(fields, dict.fromkeys(data, mark), mark)
    if isinstance(data, (list, tuple)):
        items = tuple(
            _from_python(value, mark, f"{path}[{index}]", depth + 1) for index, value in enumerate(data)
        )
        return Items(items, mark)
    is_integer = isinstance(data, int) and abs(data) < 10**_MAX_DIGITS
    is_fraction = isinstance(data, float) and math.isfinite(data)
    if data is None or isinstance(data, (bool, str)) or is_integer or is_fraction:
        return Scalar(data, str(data), mark)
    shown = shorten(repr(data)) if not isinstance(data, int) else "an integer of many digits"
    message = f"{shown} is not document data; use mappings, lists, finite numbers, strings or choices"
    raise DocumentError([Problem(mark, path, message)])


def to_python(node: Node) -> Any:
    """Plain data from nodes."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [to_python(item) for item in node.items]
    return {key: to_python(value) for key, value in node.fields}


class _Composer:
    """Builds nodes from YAML events."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0

    def compose(self, text: str) -> Node:
        events = iter(yaml.parse(text, Loader=_Loader))
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self.refuse(event, "a second document; one file holds one document")
                root = self.node(next(events), events, 0)
        if root is None:
            raise DocumentError([Problem(Mark(self.source), "", "the document is empty")])
        return root

    def node(self, event: Any, events: Any, depth: int) -> Node:
        self.count += 1
        if depth > MAX_DEPTH:
            self.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if self.count > MAX_NODES:
            self.refuse(event, f"more than {MAX_NODES} values, which no document of this kind needs")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self.refuse(
                event, "anchors and aliases are not allowed; use `choices` with `ref`, or `menus` with `use`"
            )
        if event.tag is not None:
            self.refuse(event, f"the tag {event.tag} is not allowed; documents are plain data")
        mark = self.mark(event)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, mark)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            for child in events:
                if isinstance(child, yaml.SequenceEndEvent):
                    break
                items.append(self.node(child, events, depth + 1))
            return Items(tuple(items), mark)
        return self.mapping(events, mark, depth)

    def mapping(self, events: Any, mark: Mark, depth: int) -> Fields:
        fields: list[tuple[str, Node]] = []
        key_marks: dict[str, Mark] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                self.refuse(event, "a key must be a plain string")
            if event.anchor is not None or event.tag is not None:
                self.refuse(event, "anchors, aliases and tags are not allowed")
            key = event.value
            if key == "<<":
                self.refuse(
                    event, "merge keys are not allowed; use `choices` with `ref`, or `menus` with `use`"
                )
            if key in key_marks:
                self.refuse(event, f"the key {shorten(key)!r} is already given on line {key_marks[key].line}")
            key_marks[key] = self.mark(event)
            fields.append((key, self.node(next(events), events, depth + 1)))
        return Fields(tuple(fields), key_marks, mark)

    def scalar(self, event: Any, mark: Mark) -> Scalar:
        text = event.value
        if not event.implicit[0]:  # quoted or a block: always a string
            return Scalar(text, text, mark)
        try:
            return Scalar(plain_value(text), text, mark)
        except ValueError as error:
            self.refuse(event, str(error))

    def mark(self, event: Any) -> Mark:
        return Mark(self.source, event.start_mark.line + 1, event.start_mark.column + 1)

    def refuse(self, event: Any, message: str) -> NoReturn:
        raise DocumentError([Problem(self.mark(event), "", message)])


def plain_value(text: str) -> Any:
    """What an unquoted scalar means: None, bool, int, float, or the text itself.

    Raises:
        ValueError: a number that is not finite, or longer than any document needs.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"the number {shorten(text)} is too large")
        return int(text)
    if len(text) > _MAX_FLOAT_LENGTH or not _FLOAT.fullmatch(text) or _LEADING_ZERO.match(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    is_whole = "." not in text and number.is_integer() and abs(number) < 10**_MAX_DIGITS
    return int(number) if is_whole else number


def printable(text: str) -> str:
    """`text` with control characters escaped, so that a hostile value cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shorten(text: str, limit: int = 40) -> str:
    """`text`, cut so that a hostile value cannot flood a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
