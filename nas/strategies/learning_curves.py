"""What a training that was ended early would probably have come to."""

from collections.abc import Sequence

import numpy as np

from nas.strategies.protocol import Evaluation

FEWEST_CURVES = 4
FINEST = 1e-6
"""Accuracies that differ by less are taken for equal."""


def with_extrapolated_accuracy(evaluations: Sequence[Evaluation]) -> list[dict[str, float]]:
    """The values of each evaluation; those stopped early get an expected `accuracy`.

    Complete trainings that reported after the same step say how much accuracy is still gained from there: the
    line through their (accuracy then, accuracy at the end), its slope kept between 0 and 2, by Theil-Sen. Of
    fewer than four nothing is concluded, and the accuracy stays unknown.
    """
    complete = [each for each in evaluations if each.is_complete and "accuracy" in each.values]
    found = []
    for each in evaluations:
        values = dict(each.values)
        if each.ending == "stopped" and "accuracy" not in values and each.curve:
            step = max(each.curve)
            then = [
                (other.curve[step], other.values["accuracy"]) for other in complete if step in other.curve
            ]
            if len(then) >= FEWEST_CURVES:
                values["accuracy"] = _continued(each.curve[step], then)
        found.append(values)
    return found


def _continued(accuracy: float, then: Sequence[tuple[float, float]]) -> float:
    """The end of a curve at `accuracy`, from others' (accuracy then, at the end)."""
    before, after = np.array(then).T
    first, second = np.triu_indices(len(before), 1)
    apart = np.abs(before[second] - before[first]) > FINEST
    slopes = (after[second] - after[first])[apart] / (before[second] - before[first])[apart]
    slope = float(np.clip(np.median(slopes), 0.0, 2.0)) if len(slopes) else 1.0
    offset = float(np.median(after - slope * before))
    return float(np.clip(offset + slope * accuracy, 0.0, 1.0))
