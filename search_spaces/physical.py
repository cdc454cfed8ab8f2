"""Physical features of genotypes: what predictors of step time, memory and accuracy stand on.

A device's time is nearly linear in multiply-adds and elements by kind of operation, and in their number, so a
handful of measured networks fixes a model on such features where one on choices (one-hot) needs hundreds. The
network's totals come first; the same quantities of each run follow, with which a predictor learns how a run
departs from the average (large early maps use a device otherwise than small late ones).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from search_spaces.architecture import Head, Stage, Stem, head_cost, stage_cost, stem_cost
from search_spaces.matching import Slot
from search_spaces.workload import (
    PHYSICAL_QUANTITIES,
    head_operations,
    physical_row,
    stage_operations,
    stem_operations,
)


class PhysicalCounter:
    """Counts `PHYSICAL_QUANTITIES`."""

    width = len(PHYSICAL_QUANTITIES)

    def stem(self, stem: Stem, channels: int, side: int, padding: str) -> tuple[Sequence[int], int]:
        """Of the stem, and the side of its output."""
        cost, out = stem_cost(stem, channels, side, padding)
        return physical_row(stem_operations(stem, channels, side).operations, cost), out

    def stage(self, stage: Stage, in_width: int, side: int, padding: str) -> tuple[Sequence[int], int]:
        """Of a stage, and the side of its output."""
        cost, out = stage_cost(stage, in_width, side, padding)
        return physical_row(stage_operations(stage, in_width, side, padding).operations, cost), out

    def head(self, head: Head, in_width: int, side: int, num_classes: int) -> Sequence[int]:
        """Of the head and the classifier."""
        cost = head_cost(head, in_width, side, num_classes)
        return physical_row(head_operations(head, in_width, side, num_classes), cost)


def physical_feature_names(slots: Sequence[Slot]) -> tuple[str, ...]:
    """Totals by quantity, then each quantity of each run: `macs.conv`, ..., `stages[0].macs.conv`, ..."""
    runs = (f"{slot.path}.{quantity}" for slot in slots for quantity in PHYSICAL_QUANTITIES)
    return (*PHYSICAL_QUANTITIES, *runs)


def physical_features(parts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Features of a population from its counts by part, (N, 1 + slots, quantities).

    Totals include stem and head, which have no columns of their own.
    """
    totals = parts.sum(axis=1)
    runs = parts[:, 1:].reshape(len(parts), -1)
    return np.concatenate([totals, runs], axis=1).astype(np.float64)
