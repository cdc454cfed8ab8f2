"""Which choices explain a quantity: how much worse it is predicted when one of them is scrambled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from results.candidate import CandidateResult
from results.choices import Choices, choices
from search_spaces.space import Space

Floats = npt.NDArray[np.float64]

MIN_NETWORKS = 20
MAX_NETWORKS = 1000
NUM_FOLDS = 5
NUM_SHUFFLES = 5
NUM_TREES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much one choice explains of one quantity.

    `share` is the part of the quantity's variance, over networks held out of the fit, that a forest of
    regression trees no longer explains once the choice's column is shuffled; below 0 it is chance.
    `deviation` is its standard deviation over folds. `explained` is the part that the forest explains with
    all choices (R squared on held-out networks, 1 at most): where it is near 0 or below, no share says
    anything. Choices that always go together share what they explain.
    """

    quantity: str
    choice: str
    share: float
    deviation: float
    explained: float


def importances(
    results: Sequence[CandidateResult], quantities: Sequence[str], space: Space | None, *, seed: int
) -> list[Importance]:
    """Which choices explain each quantity, over an even selection of at most `MAX_NETWORKS` that have it.

    Raises:
        ValueError: too few have one.
    """
    found: list[Importance] = []
    seen: dict[tuple[int, ...], Choices] = {}
    for name in quantities:
        known = [(result, value) for result in results if (value := result.value(name)) is not None]
        if len(known) > MAX_NETWORKS:
            known = [known[index * len(known) // MAX_NETWORKS] for index in range(MAX_NETWORKS)]
        networks, values = [result for result, _ in known], [value for _, value in known]
        # Usually the same networks have all quantities, and reading their choices takes as long as the rest.
        ids = tuple(result.id for result in networks)
        if ids not in seen:
            seen[ids] = choices(networks, space)
        found += importance(name, values, seen[ids], seed=seed)
    return found


def importance(quantity: str, values: Sequence[float], chosen: Choices, *, seed: int) -> list[Importance]:
    """The importance of every choice for one quantity of the same networks, the greatest first.

    Permutation importance (Breiman 2001, "Random forests", sec. 10) on held-out networks in five folds.

    Raises:
        ValueError: too few networks to say anything.
    """
    if len(values) < MIN_NETWORKS:
        raise ValueError(
            f"{len(values)} networks have {quantity}, too few to explain it; measure {MIN_NETWORKS} or more"
        )
    names = list(chosen.columns)
    targets = np.asarray(values, dtype=np.float64)
    if not names or np.ptp(targets) == 0.0:
        return []
    rows = np.array([chosen.codes(name) for name in names], dtype=np.float64).T
    drops, scores = _held_out_drops(rows, targets, seed)
    found = [
        Importance(
            quantity=quantity,
            choice=name,
            share=float(drop.mean()),
            deviation=float(drop.std(ddof=1)),
            explained=float(scores.mean()),
        )
        for name, drop in zip(names, drops, strict=True)
    ]
    return sorted(found, key=lambda each: -each.share)


def _held_out_drops(rows: Floats, targets: Floats, seed: int) -> tuple[Floats, Floats]:
    """By how much R squared falls on held-out networks, (choices, folds), and what it was, (folds,)."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(seed)
    # The variance of all networks, for that of a small fold may be nothing.
    variance = float(targets.var())
    folds = KFold(NUM_FOLDS, shuffle=True, random_state=seed)
    drops, scores = [], []
    for fitted, held_out in folds.split(rows):
        forest = ExtraTreesRegressor(NUM_TREES, min_samples_leaf=2, random_state=seed)
        forest.fit(rows[fitted], targets[fitted])
        # In one call: a forest takes as long for one row as for hundreds.
        given = np.concatenate([rows[held_out], _shuffled(rows[held_out], rng)])
        errors = (forest.predict(given).reshape(-1, len(held_out)) - targets[held_out]) ** 2
        shares = errors.mean(axis=1) / variance
        scores.append(1.0 - shares[0])
        drops.append(shares[1:].reshape(-1, NUM_SHUFFLES).mean(axis=1) - shares[0])
    return np.array(drops).T, np.array(scores)


def _shuffled(rows: Floats, rng: np.random.Generator) -> Floats:
    """The rows again and again: for each column in turn, `NUM_SHUFFLES` times with it in another order."""
    copies = []
    for column in range(rows.shape[1]):
        for _ in range(NUM_SHUFFLES):
            copy = rows.copy()
            copy[:, column] = rng.permutation(copy[:, column])
            copies.append(copy)
    return np.concatenate(copies)
