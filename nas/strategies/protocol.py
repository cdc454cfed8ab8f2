"""The seam between the session and what proposes architectures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from search_spaces.space import Genes


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of one proposal.

    `values` holds the objectives and every other metric by name; it is empty where nothing was measured
    (a failure, a refusal). `genes` are canonical. A provisional value missed its tolerance.
    """

    index: int
    genes: Genes = field(compare=False)
    digest: str
    values: Mapping[str, float]
    is_provisional: bool = False

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to learn from but the failure itself."""
        return bool(self.values)


class Strategy(Protocol):
    """Proposes genotypes and learns from what came of them.

    A strategy is a function of its seed and of the evaluations told, in order: the same ones lead to the
    same proposals. The session tells evaluations in the order of proposal, whatever the order in which
    they finish, and may ask several times before it tells.
    """

    def ask(self, rng: np.random.Generator) -> Genes:
        """A genotype that obeys the space's rules and limits. All randomness comes from `rng`.

        The session asks again when the architecture is known already, so a repetition costs nothing.

        Raises:
            InfeasibleError: no member is within the limits.
        """

    def tell(self, evaluation: Evaluation) -> None:
        """Learn what came of a proposal, failures included."""
