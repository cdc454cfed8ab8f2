"""Fronts without the winner's curse: what each network likely is, and its chance of being on the true front.

The best of many noisy measurements is too good to be true. Here each network has a posterior instead: its
measurements, weighed by how much repeats of one network differ, are drawn towards what networks of its costs
are like (empirical Bayes; Efron & Morris 1975). A posterior does not depend on why a network was looked at,
so selection does no harm to it, as far as the prior holds. The chance of a place on the front is counted over
draws of all networks from their posteriors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from results.pareto import Objective, non_dominated

Floats = npt.NDArray[np.float64]

DRAWS = 1000
LIKELY = 0.5
MIN_CHANCE = 0.1
"""Below this a network is no member: it is dominated as surely as can be told."""
MIN_FITTED = 10
"""Of fewer networks no trend is fitted; their mean is the prior's."""
RIDGE = 1e-3
NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A network: what is known exactly of it, and every independent measurement of the rest."""

    id: int
    exact: Mapping[str, float] = field(hash=False)
    repeated: Mapping[str, tuple[float, ...]] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """A network's likely values with 95 % intervals, and the probability that no other truly dominates it.

    `is_member`: the probability is a half or more; or it is 0.1 or more, and no other network dominates the
    likely values. `num_measurements` is by quantity.
    """

    id: int
    values: Mapping[str, float] = field(hash=False)
    low: Mapping[str, float] = field(hash=False)
    high: Mapping[str, float] = field(hash=False)
    probability: float
    is_member: bool
    num_measurements: Mapping[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class _Posterior:
    """Normal posteriors of one quantity, (N,), perhaps of its logarithm."""

    means: Floats
    deviations: Floats
    is_log: bool

    def natural(self, values: Floats) -> Floats:
        result: Floats = np.exp(values) if self.is_log else values
        return result


def honest_front(
    networks: Sequence[Measured],
    objectives: Sequence[Objective],
    *,
    noise: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[Honest, ...]:
    """Every network with its chance of a place on the true front, in their order.

    `noise` gives the standard deviation of one measurement (relative for what is positive in all networks but
    accuracy and other fractions) where no network was measured twice; else it is pooled over repeats.

    Raises:
        ValueError: no network was measured twice in some quantity and `noise` does not give it.
    """
    if not networks:
        return ()
    names = [objective.name for objective in objectives]
    rng = np.random.default_rng(seed)
    posteriors = {
        name: _posterior(networks, name, (noise or {}).get(name))
        for name in names
        if any(name in network.repeated for network in networks)
    }
    likely = _columns(networks, names, {name: each.natural(each.means) for name, each in posteriors.items()})
    signs = np.array([objective.sign for objective in objectives])
    points = [dict(zip(names, row, strict=True)) for row in likely.tolist()]
    members = set(non_dominated(points, objectives))
    chances = _chances(networks, names, posteriors, signs, rng)
    found = []
    for index, network in enumerate(networks):
        ends = [_ends(posteriors, name, network, index) for name in names]
        found.append(
            Honest(
                id=network.id,
                values=points[index],
                low={name: low for name, (low, _) in zip(names, ends, strict=True)},
                high={name: high for name, (_, high) in zip(names, ends, strict=True)},
                probability=float(chances[index]),
                is_member=bool(chances[index] >= (MIN_CHANCE if index in members else LIKELY)),
                num_measurements={name: len(network.repeated.get(name, ())) for name in posteriors},
            )
        )
    return tuple(found)


def to_confirm(found: Sequence[Honest], count: int) -> list[int]:
    """Whom to measure again: the `count` networks likeliest to be on the true front, of those that may be."""
    ranked = sorted(found, key=lambda each: (-each.probability, not each.is_member, each.id))
    return [each.id for each in ranked[:count] if each.probability > 0.0 or each.is_member]


def pooled_noise(groups: Sequence[Sequence[float] | Floats]) -> float | None:
    """The standard deviation of one measurement, pooled over networks with two or more; None without any."""
    squares = sum(
        float(np.sum((np.asarray(group) - np.mean(group)) ** 2)) for group in groups if len(group) > 1
    )
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    return (squares / freedom) ** 0.5 if freedom else None


def _noise(groups: list[Floats]) -> float | None:
    """As `pooled_noise`, without first measurements where there are enough others.

    A network is measured again because its first measurement was good, by luck too; that luck would count as
    noise.
    """
    return pooled_noise([group[1:] for group in groups]) or pooled_noise(groups)


def _posterior(networks: Sequence[Measured], name: str, given: float | None) -> _Posterior:
    groups = [network.repeated[name] for network in networks]
    # Times and sizes err by a part of themselves, fractions by an amount.
    is_log = min(min(group) for group in groups) > 0.0 and not _are_fractions(groups)
    values = [np.log(group) if is_log else np.asarray(group, dtype=np.float64) for group in groups]
    deviation = _noise(values) if given is None else given
    if deviation is None:
        raise ValueError(
            f"no network has two independent measurements of {name}, so its noise is not known;"
            " measure the front again (nas confirm)"
        )
    means = np.array([float(np.mean(group)) for group in values])
    errors = deviation**2 / np.array([len(group) for group in values])
    trend, doubt, spread = _prior(_features(networks), means, errors)
    weight = spread / np.maximum(spread + errors, np.finfo(np.float64).tiny)
    return _Posterior(
        means=trend + weight * (means - trend),
        deviations=np.sqrt(weight * errors + (1.0 - weight) ** 2 * doubt),
        is_log=is_log,
    )


def _are_fractions(groups: Sequence[Sequence[float]]) -> bool:
    return all(0.0 <= value <= 1.0 for group in groups for value in group)


def _features(networks: Sequence[Measured]) -> Floats:
    """Standardised logarithms of the exact costs, their squares and products, (N, F)."""
    names = sorted(set.intersection(*(set(network.exact) for network in networks)))
    rows = np.log1p(
        np.array([[network.exact[name] for name in names] for network in networks], dtype=np.float64)
    )
    rows = rows[:, np.ptp(rows, axis=0) > 1e-9]
    if rows.shape[1] == 0:
        return np.zeros((len(networks), 0))
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    pairs = [rows[:, i] * rows[:, j] for i in range(rows.shape[1]) for j in range(i, rows.shape[1])]
    return np.column_stack([rows, *pairs])


def _prior(features: Floats, means: Floats, errors: Floats) -> tuple[Floats, Floats, float]:
    """What networks of such costs are like, (N,), the variance of that, (N,), and the variance of networks
    around it beyond the noise.

    The spread is the excess of the residuals' variance over the measurements', with the degrees of freedom
    that the trend takes counted off.
    """
    count = len(means)
    if count < MIN_FITTED:
        features = features[:, :0]
    design = np.column_stack([np.ones(count), features])
    penalty = RIDGE * count * np.eye(design.shape[1])
    penalty[0, 0] = 0.0
    hat = design @ np.linalg.solve(design.T @ design + penalty, design.T)
    trend: Floats = hat @ means
    freedom = max(count - float(np.trace(hat)), 1.0)
    scatter = float(((means - trend) ** 2).sum()) / freedom
    doubt: Floats = (hat**2).sum(axis=1) * scatter
    # The scatter itself is known to within its standard error only; no less than that may be spread.
    return trend, doubt, max(scatter - float(errors.mean()), scatter * (2.0 / freedom) ** 0.5)


def _columns(networks: Sequence[Measured], names: Sequence[str], values: Mapping[str, Floats]) -> Floats:
    """(N, K) values: the given ones, and exact ones for the other names."""
    return np.column_stack(
        [
            values[name] if name in values else np.array([network.exact[name] for network in networks])
            for name in names
        ]
    )


def _chances(
    networks: Sequence[Measured],
    names: Sequence[str],
    posteriors: Mapping[str, _Posterior],
    signs: Floats,
    rng: np.random.Generator,
) -> Floats:
    """In which part of the draws each network is not dominated, (N,)."""
    import moocore

    counts = np.zeros(len(networks))
    for _ in range(DRAWS):
        drawn = {
            name: each.natural(each.means + each.deviations * rng.standard_normal(len(networks)))
            for name, each in posteriors.items()
        }
        counts += moocore.is_nondominated(_columns(networks, names, drawn) * signs, keep_weakly=True)
    return counts / DRAWS


def _ends(
    posteriors: Mapping[str, _Posterior], name: str, network: Measured, index: int
) -> tuple[float, float]:
    if name not in posteriors:
        return network.exact[name], network.exact[name]
    each = posteriors[name]
    reach = NORMAL_95 * each.deviations[index]
    low, high = each.natural(np.array([each.means[index] - reach, each.means[index] + reach])).tolist()
    return low, high
