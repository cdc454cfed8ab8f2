"""The source of what a network's layers are made of, cut down to what runs after they are built.

A class of ours is written with every method but `__init__`: in the exported module its parts are given to it.
What its methods name is followed: functions and constants of ours are written too, torch and the standard
library are imported, anything else is refused.
"""

import ast
import builtins
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Literal, get_args, get_origin

from torch import nn

from nas.errors import ExportError

PART = "Part"
"""The base of exported classes: `__init__` sets what it is given as attributes."""


def is_torch(cls: type) -> bool:
    """Whether PyTorch itself has this class."""
    return cls.__module__.partition(".")[0] == "torch"


def plain_literal(value: Any) -> str | None:
    """Code for a plain value: numbers, text, None, and tuples, lists and mappings of them; else None."""
    if value is None or type(value) in (bool, int):
        return repr(value)
    if type(value) is str:
        return json.dumps(value, ensure_ascii=False)
    if type(value) is float:
        return repr(value) if value - value == 0.0 else None
    if isinstance(value, tuple | list):
        parts = [plain_literal(each) for each in value]
        if any(part is None for part in parts):
            return None
        inside = ", ".join(map(str, parts))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if type(value) is dict:
        pairs = [(plain_literal(key), plain_literal(each)) for key, each in value.items()]
        if any(part is None for pair in pairs for part in pair):
            return None
        return "{" + ", ".join(f"{key}: {each}" for key, each in pairs) + "}"
    return None


class SourceCode:
    """Definitions and imports, collected in the order in which they must stand."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.definitions: dict[str, str] = {}
        self._owners: dict[str, object] = {}
        self._read: dict[type[nn.Module], frozenset[str]] = {}

    def add_class(self, cls: type[nn.Module]) -> str:
        """Take in a class of ours with all that its methods need; returns its name.

        Raises:
            ExportError: its source cannot stand alone.
        """
        if self._is_known(cls.__name__, cls):
            return cls.__name__
        node, lines = _parsed(cls)
        has_init = any(isinstance(each, ast.FunctionDef) and each.name == "__init__" for each in node.body)
        if cls.__bases__ == (nn.Module,):
            base = PART
        elif len(cls.__bases__) == 1 and is_torch(cls.__bases__[0]) and not has_init:
            base = f"nn.{cls.__bases__[0].__name__}"
        else:
            raise ExportError(
                f"layer {cls.__name__} cannot be exported: it derives from"
                f" {', '.join(each.__name__ for each in cls.__bases__)}; derive it from nn.Module"
            )
        members = [each for each in node.body if getattr(each, "name", "") != "__init__"]
        for member in members:
            self._follow(member, sys.modules[cls.__module__], cls.__name__)
        body = "\n\n".join(textwrap.indent(_text(each, lines), "    ") for each in members)
        self.definitions[cls.__name__] = f"class {cls.__name__}({base}):\n{body}"
        return cls.__name__

    def attributes_read(self, cls: type[nn.Module]) -> frozenset[str]:
        """Names that the methods of a class of ours, but for `__init__`, read from or write to `self`."""
        if cls not in self._read:
            node, _ = _parsed(cls)
            self._read[cls] = frozenset(
                each.attr
                for member in node.body
                if getattr(member, "name", "") != "__init__"
                for each in ast.walk(member)
                if isinstance(each, ast.Attribute) and getattr(each.value, "id", None) == "self"
            )
        return self._read[cls]

    def _is_known(self, name: str, value: object) -> bool:
        if name in self._owners and self._owners[name] is not value:
            raise ExportError(f"two layers name different things {name!r}; rename one of them")
        known = name in self._owners
        self._owners[name] = value
        return known

    def _follow(self, node: ast.AST, module: ModuleType, owner: str) -> None:
        """Take in whatever global names `node` uses."""
        annotations = {id(each) for part in _annotations(node) for each in ast.walk(part)}
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and hasattr(module, each.id):
                value = getattr(module, each.id)
                if value is not getattr(builtins, each.id, None):
                    self._add(each.id, value, owner, is_annotation=id(each) in annotations)

    def _add(self, name: str, value: Any, owner: str, *, is_annotation: bool) -> None:
        literal = plain_literal(value)
        if isinstance(value, ModuleType) and _is_importable(value.__name__):
            self.imports.add(_module_import(name, value.__name__))
        elif literal is not None:
            if not self._is_known(name, value):
                self.definitions[name] = f"{name} = {literal}"
        elif get_origin(value) is Literal:
            self.imports.add("from typing import Literal")
            if not self._is_known(name, value):
                self.definitions[name] = f"{name} = Literal[{', '.join(map(repr, get_args(value)))}]"
        elif (owner_module := _module_of(value)) is not None:
            self.imports.add(f"from {owner_module} import {_imported(value, name)}")
        elif isinstance(value, FunctionType):
            self._add_function(value, name)
        elif isinstance(value, type) and issubclass(value, nn.Module):
            self.add_class(value)
        elif not is_annotation:
            raise ExportError(
                f"layer {owner} cannot be exported: its methods use {name}, which is neither PyTorch's nor"
                " Python's nor a function, layer or plain constant of its own"
            )

    def _add_function(self, function: FunctionType, name: str) -> None:
        if self._is_known(name, function):
            return
        node, lines = _parsed(function)
        self._follow(node, sys.modules[function.__module__], name)
        self.definitions[name] = _text(node, lines)


def _parsed(thing: Any) -> tuple[Any, list[str]]:
    """The syntax tree of a class or function, and the lines it was read from."""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError) as error:
        raise ExportError(f"{thing.__name__} cannot be exported: its source is not to be found") from error
    return ast.parse(source).body[0], source.splitlines()


def _text(node: Any, lines: list[str]) -> str:
    """The lines of a definition as they were written, decorators included."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    return textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno]))


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations: the exported module never evaluates them."""
    for each in ast.walk(node):
        if isinstance(each, ast.arg | ast.AnnAssign) and each.annotation is not None:
            yield each.annotation
        elif isinstance(each, ast.FunctionDef) and each.returns is not None:
            yield each.returns


def _is_importable(module: str) -> bool:
    root = module.partition(".")[0]
    return root == "torch" or root in sys.stdlib_module_names


def _module_of(value: Any) -> str | None:
    """Where PyTorch or the standard library has this class or function; None for what is not theirs."""
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__name__", None)
    if name is None or not _is_importable(module):
        return None
    return module if getattr(sys.modules.get(module), name, None) is value else None


def _module_import(name: str, module: str) -> str:
    parent, _, last = module.rpartition(".")
    if name == module:
        return f"import {module}"
    return f"from {parent} import {name}" if last == name else f"import {module} as {name}"


def _imported(value: Any, name: str) -> str:
    own = getattr(value, "__name__", name)
    return own if own == name else f"{own} as {name}"
