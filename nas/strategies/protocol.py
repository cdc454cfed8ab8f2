"""The seam between the session and what proposes architectures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from search_spaces.space import Genes

Ending = Literal["complete", "refused", "gated", "predicted", "stopped", "failed"]
"""How the evaluation of a candidate ended.

    complete   everything was measured
    refused    timed, and a measured limit is broken
    gated      timed, and not worth training
    predicted  trained, its step time predicted and not measured: it is on no front either way
    stopped    its training was ended early
    failed     something broke
"""


class DeferredGenes:
    """A field for a genotype, or for a function that finds it when it is first asked for.

    Reading an architecture back and finding its genes takes a millisecond. A search that is resumed has
    tens of thousands, of which most strategies look at a few.
    """

    def __get__(self, instance: "Evaluation", owner: type) -> Genes:
        """The genotype; found at most once."""
        genes = instance.__dict__["genes"]
        if callable(genes):
            genes = instance.__dict__["genes"] = genes()
        return genes  # type: ignore[no-any-return]

    def __set__(self, instance: "Evaluation", value: Genes | Callable[[], Genes]) -> None:
        """Keep it as it is given; `dataclass` lets only its own `__init__` come here."""
        if isinstance(value, DeferredGenes):  # the field's default: none was given
            raise TypeError("an evaluation needs genes")
        instance.__dict__["genes"] = value


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came of one proposal.

    `values` holds what was measured and the exact costs, by name: all objectives of a complete one, what was
    known when it ended of a refused, gated or stopped one, nothing of a failed one. `curve` is the accuracy
    by step of its training, as far as that went. `genes` are canonical. A provisional value missed its
    tolerance. Evaluations of earlier runs have a negative index.
    """

    index: int
    genes: DeferredGenes = field(default=DeferredGenes(), compare=False, repr=False)
    digest: str
    values: Mapping[str, float]
    ending: Ending = "complete"
    curve: Mapping[int, float] = field(default_factory=dict)
    is_provisional: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether it may stand on a front; of others only single values count."""
        return self.ending == "complete"


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
