"""What predictors see of a network: its choices, and the work that it and each of its runs are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from search_spaces.space import Genes, Space
from search_spaces.workload import PHYSICAL_QUANTITIES

Floats = npt.NDArray[np.float64]

STANDARD_SAMPLE = 512
"""Members, drawn once with a fixed seed, by which features are standardised."""


@dataclass(frozen=True, slots=True)
class Features:
    """Two views of N networks, (N, C) and (N, W), each scaled so that a random member has norm 1 or so."""

    choices: Floats
    work: Floats
    totals: Floats
    """What the whole network is in work, standardised but not taken the logarithm of, (N, T)."""

    def __len__(self) -> int:
        return len(self.choices)

    def rows(self, chosen: npt.NDArray[np.int64]) -> "Features":
        """Those of some networks."""
        return Features(self.choices[chosen], self.work[chosen], self.totals[chosen])

    def inner(self, other: "Features", view: float) -> Floats:
        """(N, M) inner products, `view` times those of choices and 1 - `view` times those of work."""
        found: Floats = view * (self.choices @ other.choices.T) + (1.0 - view) * (self.work @ other.work.T)
        return found

    def norms(self, view: float) -> Floats:
        """(N,) inner products of each network with itself."""
        found: Floats = view * (self.choices**2).sum(axis=1) + (1.0 - view) * (self.work**2).sum(axis=1)
        return found


class NetworkFeatures:
    """Standardised features of members of one space, the same in every search of it.

    Choices are one-hot; work is log(1 + x) of the physical features: multiply-adds and elements by kind of
    operation, of the whole network and of each run. A step time and an accuracy follow from the work more
    nearly than from how it is written down; both hold where the one or the other is new.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    def __call__(self, genes: Genes) -> Features:
        """Of zero mean over random members; constant columns left out."""
        return Features(
            *(
                (raw[:, kept] - mean) / scale
                for raw, (kept, mean, scale) in zip(self._raw(genes), self._standard, strict=True)
            )
        )

    @cached_property
    def _standard(self) -> list[tuple[npt.NDArray[np.bool_], Floats, Floats]]:
        # Limits are left out: they would make sampling slow, and the scale of a feature does not need them.
        free = self._space.without_limits() if self._space.limits else self._space
        standards = []
        for raw in self._raw(free.sample(np.random.default_rng(0), STANDARD_SAMPLE)):
            deviation = raw.std(axis=0)
            kept = deviation > 1e-9
            width = max(int(kept.sum()), 1)
            standards.append((kept, raw[:, kept].mean(axis=0), deviation[kept] * width**0.5))
        return standards

    def _raw(self, genes: Genes) -> tuple[Floats, Floats, Floats]:
        choices = self._space.features(genes).astype(np.float64)
        work = self._space.physical_features(genes)
        return choices, np.log1p(work), work[:, : len(PHYSICAL_QUANTITIES)]
