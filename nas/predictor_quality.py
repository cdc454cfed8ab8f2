"""How well a run's measurements can be predicted from one another: what its strategy had to stand on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.features import NetworkFeatures
from nas.objective_models import Predictor
from nas.strategies.protocol import Evaluation
from results.pareto import Objective
from search_spaces.limits import COST_NAMES
from search_spaces.space import Space

FOLDS = 5
FEWEST = 10
MOST = 500
"""Only the last so many candidates are looked at; a fit costs the square of their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Five-fold cross-validation of the model of one quantity over `rows` candidates.

    `kendall_tau` compares predicted and measured order; `median_error` is in the objective's own unit;
    `spread`, the standard deviation of what was measured, is what it is to be compared with.
    """

    rows: int
    kendall_tau: float
    median_error: float
    spread: float


def predictor_quality(
    space: Space, objectives: Sequence[Objective], evaluations: Sequence[Evaluation]
) -> dict[str, Quality]:
    """The quality for every measured objective; those with under ten values, or equal ones, are left out.

    Folds are drawn with a fixed seed; models, their hyperparameters included, see nothing of what they are
    tested on.
    """
    from scipy.stats import kendalltau

    found = {}
    for objective in objectives:
        rows = [each for each in evaluations if objective.name in each.values][-MOST:]
        measured = np.array([each.values[objective.name] for each in rows])
        if objective.name in COST_NAMES or len(rows) < FEWEST or np.ptp(measured) == 0.0:
            continue
        features = NetworkFeatures(space)(np.stack([each.genes for each in rows]))
        predicted = np.empty_like(measured)
        order = np.random.default_rng(0).permutation(len(rows))
        for held_out in np.array_split(order, FOLDS):
            seen = np.setdiff1d(order, held_out)
            model = Predictor.fitted(
                features.rows(seen), measured[seen], is_ratio=objective.direction == "minimize"
            )
            predicted[held_out] = model.value(features.rows(held_out))
        found[objective.name] = Quality(
            rows=len(rows),
            kendall_tau=float(np.nan_to_num(kendalltau(predicted, measured).statistic)),
            median_error=float(np.median(np.abs(predicted - measured))),
            spread=float(measured.std()),
        )
    return found
