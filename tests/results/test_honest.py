"""Honest fronts: a planted table with planted noise, and laws."""

import numpy as np
import pytest
from reported import make_run

from results.confirmations import CONFIRMATIONS_NAME, honest, measured_networks
from results.entries import Record
from results.errors import RunError
from results.honest import Measured, honest_front, pooled_noise, to_confirm
from results.ledger import Ledger
from results.pareto import Objective, default_reference, hypervolume, non_dominated
from results.run import load_run

OBJECTIVES = tuple(Objective.parse(name) for name in ("accuracy", "step_ms", "params"))
NOISE = {"accuracy": 0.015, "step_ms": 0.04}
"""Standard deviation of one training, in accuracy; of one timing, as a part of it."""


class Table:
    """Networks with true values, and their measurements so far."""

    def __init__(self, seed, count=120):
        self.rng = rng = np.random.default_rng(seed)
        size, shape = rng.normal(size=(2, count))
        params, macs = np.exp(15 + 0.6 * size), np.exp(20 + 0.5 * size + 0.4 * shape)
        step = np.exp(3 + 0.4 * size + 0.3 * shape + 0.1 * rng.normal(size=count))
        accuracy = 0.6 + 0.05 * np.tanh(size) + 0.02 * shape + 0.02 * rng.normal(size=count)
        self.exact = [{"params": float(p), "macs": float(m)} for p, m in zip(params, macs, strict=True)]
        self.true = [
            {"accuracy": float(a), "step_ms": float(s), "params": e["params"]}
            for a, s, e in zip(accuracy, step, self.exact, strict=True)
        ]
        self.seen = [{"accuracy": [], "step_ms": []} for _ in range(count)]
        self.measure(range(count))

    def measure(self, chosen):
        for i in chosen:
            noise = self.rng.normal(size=2)
            self.seen[i]["accuracy"].append(self.true[i]["accuracy"] + NOISE["accuracy"] * noise[0])
            self.seen[i]["step_ms"].append(self.true[i]["step_ms"] * np.exp(NOISE["step_ms"] * noise[1]))

    def naive(self):
        first = [{name: values[0] for name, values in seen.items()} for seen in self.seen]
        return non_dominated([s | e for s, e in zip(first, self.exact, strict=True)], OBJECTIVES)

    def networks(self):
        return [
            Measured(id=i, exact=e, repeated={name: tuple(map(float, v)) for name, v in s.items()})
            for i, (e, s) in enumerate(zip(self.exact, self.seen, strict=True))
        ]

    def volume(self, chosen):
        """Of the true values."""
        corner = default_reference(self.true, OBJECTIVES)
        return hypervolume([self.true[i] for i in chosen], OBJECTIVES, corner)


def confirmed(seed, count=120):
    """A table, its naive front, and its honest one after two fresh measurements of as many networks."""
    table = Table(seed, count)
    naive = table.naive()
    chosen = to_confirm(honest_front(table.networks(), OBJECTIVES, noise=NOISE, seed=seed), len(naive))
    for _ in range(2):
        table.measure(chosen)
    return table, naive, honest_front(table.networks(), OBJECTIVES, seed=seed)


def campaign(seeds, count):
    """By which part the true volume of the honest front exceeds the naive one's, and whether claims held."""
    gains, claims = [], []
    for seed in seeds:
        table, naive, found = confirmed(seed, count)
        truly = set(non_dominated(table.true, OBJECTIVES))
        members = [each.id for each in found if each.is_member]
        gains.append(table.volume(members) / table.volume(naive) - 1.0)
        claims += [each.id in truly for each in found if each.probability >= 0.9]
    return np.array(gains), np.array(claims)


def test_the_honest_front_is_truly_better_and_its_claims_hold():
    gains, claims = campaign(range(6), 100)
    assert gains.mean() > 0.0
    assert len(claims) > 30
    assert claims.mean() >= 0.85


@pytest.mark.thorough
def test_over_fifty_seeds_the_winner_s_curse_is_broken():
    gains, claims = campaign(range(50), 200)
    assert (gains >= -1e-12).mean() >= 0.8
    assert len(claims) > 300
    assert claims.mean() >= 0.85


def test_naive_values_of_a_front_are_too_good_and_honest_ones_are_not():
    bias = {"naive": [], "honest": []}
    for seed in range(4):
        table = Table(seed, 100)
        naive = table.naive()
        of = {each.id: each for each in honest_front(table.networks(), OBJECTIVES, noise=NOISE)}
        for i in naive:
            bias["naive"].append(table.seen[i]["accuracy"][0] - table.true[i]["accuracy"])
            bias["honest"].append(of[i].values["accuracy"] - table.true[i]["accuracy"])
    assert np.mean(bias["naive"]) > 0.003, "else there is no curse to break"
    assert abs(np.mean(bias["honest"])) < np.mean(bias["naive"]) / 2


def test_intervals_cover_the_truth():
    inside = []
    for seed in range(2):
        table, _, found = confirmed(seed, 100)
        for each in found:
            for name in NOISE:
                inside.append(each.low[name] <= table.true[each.id][name] <= each.high[name])
    assert 0.9 <= np.mean(inside) <= 0.99


def test_without_noise_the_honest_front_is_the_front():
    table = Table(0, 60)
    networks = [
        Measured(id=i, exact=e, repeated={name: (t[name],) * 2 for name in NOISE})
        for i, (e, t) in enumerate(zip(table.exact, table.true, strict=True))
    ]
    found = honest_front(networks, OBJECTIVES)
    front = set(non_dominated(table.true, OBJECTIVES))
    assert {each.id for each in found if each.is_member} == front
    assert {each.probability for each in found} == {0.0, 1.0}
    for each in found:
        assert each.values == pytest.approx(table.true[each.id])


def test_more_measurements_make_surer_and_equal_seeds_equal_answers():
    table = Table(1, 60)
    before = honest_front(table.networks(), OBJECTIVES, noise=NOISE)
    assert before == honest_front(table.networks(), OBJECTIVES, noise=NOISE)
    for _ in range(8):
        table.measure(range(60))
    after = honest_front(table.networks(), OBJECTIVES)
    assert after[0].num_measurements == {"accuracy": 9, "step_ms": 9}
    for old, new in zip(before, after, strict=True):
        assert new.high["accuracy"] - new.low["accuracy"] < old.high["accuracy"] - old.low["accuracy"]
        assert new.low["params"] == new.high["params"] == new.values["params"]

    def doubt(found):
        return sum(each.probability * (1 - each.probability) for each in found)

    assert doubt(after) < doubt(before)


def test_the_likeliest_are_confirmed_first():
    table = Table(2, 60)
    found = honest_front(table.networks(), OBJECTIVES, noise=NOISE)
    chosen = to_confirm(found, 7)
    chances = {each.id: each.probability for each in found}
    assert len(chosen) == 7
    assert min(chances[i] for i in chosen) >= max(p for i, p in chances.items() if i not in chosen)
    assert len(to_confirm(found, 1000)) < 60, "who has no chance is not measured again"


def test_noise_is_pooled_over_networks_and_unknown_without_repeats():
    assert pooled_noise([(1.0, 3.0), (5.0,), (2.0, 2.0, 2.0)]) == pytest.approx((2 / 3) ** 0.5)
    assert pooled_noise([(1.0,), ()]) is None
    with pytest.raises(ValueError, match="no network has two independent measurements of accuracy"):
        honest_front(Table(0, 20).networks(), OBJECTIVES)
    assert honest_front([], OBJECTIVES) == ()


def test_few_networks_of_equal_cost_have_a_front_too():
    networks = [
        Measured(id=i, exact={"params": 5.0}, repeated={"accuracy": (a, a + 0.01)})
        for i, a in enumerate((0.1, 0.9))
    ]
    found = honest_front(networks, [Objective.parse("accuracy")])
    assert [each.is_member for each in found] == [False, True]
    assert found[1].probability > 0.9


# --- of a run ----------------------------------------------------------------------------------------------


def test_confirmations_are_told_together_with_the_run_and_leave_it_as_it_was(tmp_path):
    run = load_run(make_run(tmp_path / "a", count=15))
    with pytest.raises(RunError, match=r"a: no network has two independent measurements.*nas confirm"):
        honest(run)
    before = run.results
    member = run.pareto()[0]
    records: tuple[Record, ...] = run.records(member)
    with Ledger.create(run.path / CONFIRMATIONS_NAME) as ledger:
        for record in records:
            for repeat in range(2):
                metrics = {
                    name: value * (1.0 - 0.01 * repeat) for name, value in record.outcome.metrics.items()
                }
                key = f"{record.outcome.key[:-1]}{repeat}x"
                ledger.record(record.outcome.model_copy(update={"key": key, "metrics": metrics}))
    network = next(each for each in measured_networks(run, ["accuracy", "step_ms"]) if each.id == member.id)
    first = member.accuracy
    assert network.repeated["accuracy"] == pytest.approx((first, first, 0.99 * first))
    assert len(network.repeated["step_ms"]) == 3
    found = honest(run)
    assert len(found) == sum(each.is_measured for each in before)
    assert [each.is_member for each in found] == sorted((each.is_member for each in found), reverse=True)
    assert run.reload().results == before
    assert honest(run, ["params"])[0].probability == 1.0
