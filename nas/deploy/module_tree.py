"""A built network as one expression that builds it again: constructors of PyTorch, and parts put together."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from nas.deploy.initial_values import Rule, initial_values
from nas.deploy.source_code import SourceCode, is_torch, plain_literal
from nas.errors import ExportError

WIDTH = 110
"""Characters of a line; what is longer gets a line for each argument."""
MAX_BUFFER = 4096
"""Elements of a buffer that are written out as numbers."""
_NOT_ARGUMENTS = frozenset({"self", "device", "dtype"})
_MODULE_ATTRIBUTES = frozenset(nn.Module().__dict__)


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`; an argument is a name, or None where position tells, and its code."""

    function: str
    arguments: tuple[tuple[str | None, "Call | str"], ...]

    def text(self, indent: int = 0, room: int = WIDTH) -> str:
        """The code, on one line where it fits in `room` characters after `indent` spaces."""
        flat = f"{self.function}({', '.join(_flat(name, value) for name, value in self.arguments)})"
        if len(flat) + indent <= room or not self.arguments:
            return flat
        inner = indent + 4
        lines = []
        for name, value in self.arguments:
            key = "" if name is None else f"{name}="
            code = value if isinstance(value, str) else value.text(inner, room - len(key) - 1)
            lines.append(f"{' ' * inner}{key}{code},")
        return "\n".join([f"{self.function}(", *lines, f"{' ' * indent})"])


def _flat(name: str | None, value: Call | str) -> str:
    code = value if isinstance(value, str) else value.text(room=1_000_000)
    return code if name is None else f"{name}={code}"


def module_tree(
    network: nn.Module, rules: Mapping[str, Rule], code: SourceCode, buffer: Callable[[str], Tensor]
) -> Call:
    """The expression for `network`; classes that it needs are added to `code`.

    `rules` are the initial values of its parameters by name; see `initial_values`. `buffer` gives the values
    of a buffer by name, which a network without memory does not hold.

    Raises:
        ExportError: a layer holds what cannot be written down.
    """
    shared = [name for name, _ in network.named_modules(remove_duplicate=False)]
    if len(shared) != len(list(network.named_modules())):
        raise ExportError("two places of the network share one module; build one for each place")
    return _Tree(rules=rules, code=code, buffer=buffer).call(network, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    rules: Mapping[str, Rule]
    code: SourceCode
    buffer: Callable[[str], Tensor]
    leaves: dict[str, dict[str, Rule]] = field(default_factory=dict)
    """Initial values that constructors give, by their calls."""

    def call(self, module: nn.Module, path: str) -> Call:
        kind = type(module)
        if kind is nn.Sequential or kind is nn.ModuleList:
            return self._container(module, path)
        if is_torch(kind):
            return self._leaf(module, path, f"nn.{kind.__name__}")
        if kind.__bases__ == (nn.Module,):
            return Call(self.code.add_class(kind), tuple(self._parts(module, path)))
        return self._leaf(module, path, self.code.add_class(kind))

    def _container(self, module: nn.Module, path: str) -> Call:
        children = list(module.named_children())
        if [name for name, _ in children] != [str(index) for index in range(len(children))]:
            raise ExportError(f"{path}: a container whose parts have names of their own cannot be exported")
        calls = tuple((None, self.call(child, _join(path, name))) for name, child in children)
        if isinstance(module, nn.ModuleList):
            listed = ", ".join(_flat(None, each) for _, each in calls)
            return Call("nn.ModuleList", ((None, f"[{listed}]"),))
        return Call("nn.Sequential", calls)

    def _leaf(self, module: nn.Module, path: str, name: str) -> Call:
        """A module of PyTorch by its constructor's arguments, which it keeps as attributes of their names."""
        made = Call(name, tuple(_arguments(module, path)))
        key = made.text()
        if key not in self.leaves:
            self.leaves[key] = _made_again(module, path)
        plain = self.leaves[key]
        own = {each: self.rules[_join(path, each)] for each in plain}
        changed = tuple((each, _rule(rule)) for each, rule in own.items() if rule != plain[each])
        return Call("start", ((None, made), *changed)) if changed else made

    def _parts(self, module: nn.Module, path: str) -> Iterator[tuple[str, Call | str]]:
        """What a module of ours is made of: parameters, buffers, modules, and the values its methods read."""
        for name, parameter in module._parameters.items():  # noqa: SLF001 -- the only way to see those that are None
            yield name, self._parameter(parameter, _join(path, name))
        for name, _ in module.named_buffers(recurse=False):
            place = _join(path, name)
            yield name, _buffer(self.buffer(place), place, is_saved=name in module.state_dict())
        for name, child in module.named_children():
            yield name, self.call(child, _join(path, name))
        read = self.code.attributes_read(type(module))
        for name, value in vars(module).items():
            if name in _MODULE_ATTRIBUTES or name not in read:
                continue
            literal = plain_literal(value)
            if literal is None:
                raise ExportError(
                    f"{_join(path, name)}: a {type(value).__name__} cannot be exported;"
                    " a layer's methods may read modules, parameters, buffers and plain values"
                )
            yield name, literal

    def _parameter(self, parameter: nn.Parameter | None, path: str) -> Call | str:
        if parameter is None:
            return "None"
        rule = _rule(self.rules[path])
        return Call("parameter", ((None, repr(tuple(parameter.shape))), (None, rule)))


def _buffer(buffer: Tensor, path: str, *, is_saved: bool) -> Call:
    if buffer.numel() > MAX_BUFFER:
        raise ExportError(f"{path}: a buffer of {buffer.numel()} elements cannot be written out")
    saved = () if is_saved else (("persistent", "False"),)
    values = Call("torch.tensor", ((None, repr(buffer.tolist())), ("dtype", str(buffer.dtype))))
    return Call("nn.Buffer", ((None, values), *saved))


def _arguments(module: nn.Module, path: str) -> Iterator[tuple[str | None, str]]:
    for parameter in _constructor(type(module)):
        name = parameter.name
        if not hasattr(module, name):
            raise ExportError(f"{path}: {type(module).__name__} does not keep its argument {name!r}")
        value = _single(_argument(module, name))
        is_required = parameter.default is inspect.Parameter.empty
        if not is_required and value == _single(parameter.default) and type(value) is type(parameter.default):
            continue
        literal = plain_literal(value)
        if literal is None:
            raise ExportError(f"{path}.{name}: a {type(value).__name__} cannot be exported")
        yield (None if is_required else name), literal


def _made_again(module: nn.Module, path: str) -> dict[str, Rule]:
    """The rules of a module of this constructor and these arguments, which must be the same module."""
    kind = type(module)
    values = {parameter.name: _argument(module, parameter.name) for parameter in _constructor(kind)}
    again, rules = initial_values(lambda: kind(**values))
    if repr(again) != repr(module) or list(again.state_dict()) != list(module.state_dict()):
        raise ExportError(f"{path}: {module!r} cannot be written as a call of {kind.__name__}")
    return rules


def _argument(module: nn.Module, name: str) -> Any:
    """What a module was given under `name`; a bias is kept as a parameter, and was asked for."""
    value = getattr(module, name)
    return value is not None if name == "bias" else value


def _constructor(kind: type[nn.Module]) -> list[inspect.Parameter]:
    parameters = inspect.signature(kind.__init__).parameters.values()
    return [
        p
        for p in parameters
        if p.name not in _NOT_ARGUMENTS and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _single(value: Any) -> Any:
    """3 in place of (3, 3), as a person writes it and PyTorch reads it."""
    if isinstance(value, tuple) and value and len(set(value)) == 1 and type(value[0]) is int:
        return value[0]
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _rule(rule: Rule) -> str:
    """[("normal_", 0.0, 0.02)]."""
    operations = []
    for name, *values in rule:
        parts = [f'"{name}"', *map(repr, values)]
        operations.append(f"({', '.join(parts)}{',' if len(parts) == 1 else ''})")
    return f"[{', '.join(operations)}]"
