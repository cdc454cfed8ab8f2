"""Values kept once and named by their place, which is what makes a report of 10,000 networks small."""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Pool(Generic[T]):
    """Distinct values in the order of their first use."""

    def __init__(self) -> None:
        self._places: dict[T, int] = {}

    def place(self, value: T) -> int:
        """The value's place, the same for equal values."""
        return self._places.setdefault(value, len(self._places))

    def values(self) -> list[T]:
        """All values by place."""
        return list(self._places)
