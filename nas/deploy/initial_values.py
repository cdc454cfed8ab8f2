"""What a network's parameters start from, watched while it is built and written down as code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.errors import ExportError

FILLED = {"zeros": 0.0, "ones": 1.0, "zeros_like": 0.0, "ones_like": 1.0}
OVERWRITES = frozenset({"normal_", "uniform_", "fill_", "zero_"})

Rule = tuple[tuple[str | float, ...], ...]
"""In-place tensor operations, one after another: (("normal_", 0.0, 0.02),)."""


@dataclass(slots=True)
class _Write:
    """An operation, and how many elements it has been applied to."""

    operation: tuple[str | float, ...]
    elements: int


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers for each storage how its content came about, in place operation by operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.writes: dict[int, list[_Write]] = {}
        self.kept: list[Tensor] = []
        """What was watched: a storage that is freed would give its address to another."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and take note if it made or changed a tensor."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("empty", "empty_like", "new_empty", "empty_strided"):
            self._start(result)
        elif name in FILLED:
            self._start(result, ("fill_", FILLED[name]))
        elif name == "full":
            self._start(result, ("fill_", float(args[1])))
        elif name in ("randn", "rand"):
            self._start(result, ("normal_", 0.0, 1.0) if name == "randn" else ("uniform_", 0.0, 1.0))
        elif name.endswith("_") and args and isinstance(args[0], Tensor):
            self._write(
                name, args[0], args[1:], {k: v for k, v in (kwargs or {}).items() if k != "generator"}
            )
        return result

    def _start(self, made: Tensor, *operations: tuple[str | float, ...]) -> None:
        self.kept.append(made)
        self.writes[_storage(made)] = [_Write(operation, made.numel()) for operation in operations]

    def _write(self, name: str, changed: Tensor, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        writes = self.writes.get(_storage(changed))
        if writes is None:
            return
        values = (*arguments, *named.values())
        if not all(isinstance(value, int | float) for value in values):
            name, values = "", ()  # the content of another tensor: nothing that a line of code could say
        operation: tuple[str | float, ...] = (name, *(float(value) for value in values))
        total = changed.untyped_storage().nbytes() // changed.element_size()
        last = writes[-1] if writes else None
        if last is not None and last.operation == operation and last.elements < total:
            last.elements += changed.numel()  # one part of a parameter after the other
            return
        if name in OVERWRITES and changed.numel() == total:
            writes.clear()
        writes.append(_Write(operation, changed.numel()))


def initial_values(make: Callable[[], nn.Module]) -> tuple[nn.Module, dict[str, Rule]]:
    """What `make` makes, without memory, and for each parameter the operations that its values come from.

    Raises:
        ExportError: a parameter's values cannot be said so: they are computed or copied, its parts differ, or
            nothing sets them.
    """
    watch = _Watch()
    with watch, torch.device("meta"):
        network = make()
    return network, {name: _rule(name, each, watch.writes) for name, each in network.named_parameters()}


def _rule(name: str, parameter: Tensor, writes: Mapping[int, list[_Write]]) -> Rule:
    found = writes.get(_storage(parameter), [])
    while len(found) > 1 and _is_overwritten(found[0], found[1], parameter.numel()):
        found = found[1:]
    if not found or any(not w.operation[0] or w.elements != parameter.numel() for w in found):
        raise ExportError(
            f"parameter {name} starts from values that are not written as one initialiser; its layer must set"
            " the whole of it in place, as nn.init.normal_, uniform_, constant_, kaiming_* and xavier_* do"
        )
    return tuple(write.operation for write in found)


def _is_overwritten(first: _Write, second: _Write, elements: int) -> bool:
    return second.operation[0] in OVERWRITES and second.elements == elements


def _storage(tensor: Tensor) -> int:
    storage = tensor.untyped_storage()
    # On the meta device nothing has an address; the storage object itself is what tensors share.
    return int(storage._cdata)  # noqa: SLF001 -- there is no public identity of a storage
