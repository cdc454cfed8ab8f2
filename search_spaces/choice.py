"""Choices as Python objects: the same tree a YAML document writes as `{one_of: [...]}`.

    width=one_of(16, 24)            {one_of: [16, 24]}
    depth=int_range(1, 4)           {int: [1, 4]}
    act=ref("act")                  {ref: act}         one draw, shared by all who refer to it
    block=use("block")              {use: block}       the same menu, drawn afresh at each use

A choice object that appears in two places is drawn twice; sharing is said with `ref`.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CHOICE_KEYS = ("one_of", "int", "ref", "use")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A choice between values of type `T`, written down but not yet checked."""

    key: str
    argument: Any

    def to_document(self) -> dict[str, Any]:
        """The mapping that a YAML document would hold; its content may hold further choices."""
        return {self.key: self.argument}


def one_of(*options: Any) -> Choice[Any]:
    """One of `options`: scalars, mappings, or anything that holds further choices."""
    return Choice("one_of", list(options))


def int_range(low: int, high: int, step: int = 1) -> Choice[int]:
    """An integer from `low` to `high`, both included, in steps that reach `high` exactly."""
    return Choice("int", [low, high] if step == 1 else [low, high, step])


def ref(name: str) -> Choice[Any]:
    """The shared choice `name`, or a field of its options: `ref("w.s1")`."""
    return Choice("ref", name)


def use(name: str) -> Choice[Any]:
    """The menu `name`, drawn afresh here."""
    return Choice("use", name)
