"""How a search stands: its front so far, kept up to date at the price of one comparison with the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from results.pareto import Objective, default_reference, hypervolume, non_dominated


@dataclass(slots=True)
class Standing:
    """The front of all values added. What is dominated once stays dominated and is forgotten."""

    objectives: tuple[Objective, ...]
    front: list[Mapping[str, float]] = field(default_factory=list)
    measured: int = 0
    _worst: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """Take in the values of one more candidate; it may lack some."""
        self.extend([values])

    def extend(self, several: Sequence[Mapping[str, float]]) -> None:
        """Take in those of several at once, which costs far less than one after another."""
        self.measured += len(several)
        members = [*self.front, *several]
        self.front = [members[position] for position in non_dominated(members, self.objectives)]
        for objective in self.objectives:
            worse = max if objective.direction == "minimize" else min
            found = [values[objective.name] for values in several if objective.name in values]
            if found:
                worst = worse(found)
                self._worst[objective.name] = worse(self._worst.get(objective.name, worst), worst)

    def hypervolume(self) -> float | None:
        """Volume between the front and the worst seen so far; None before anything is complete."""
        reference = default_reference([self._worst], self.objectives) if self.front else None
        return None if reference is None else hypervolume(self.front, self.objectives, reference)
