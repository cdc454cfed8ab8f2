"""Strategies replayed against tables with a planted law."""

from dataclasses import replace

import numpy as np
import pytest
from planted_table import planted, write_planted
from scipy.stats import kendalltau

from nas.errors import ConfigError
from nas.oracle import ModelOracle, TableOracle
from nas.strategy_bench import (
    BenchPlan,
    Trace,
    checkpoints,
    compare,
    default_box,
    evaluations_to_reach,
    interval,
    replay,
    significance,
)
from results.pareto import Objective
from results.table import TableError, read_table
from search_spaces.space_document import load_space

SPACE = load_space("mnasnet")
TWO = (Objective(name="accuracy", direction="maximize"), Objective(name="seconds", direction="minimize"))
THREE = (*TWO, Objective(name="params", direction="minimize"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "table.csv"
    write_planted(path, SPACE, 400, noise=0.1)
    return read_table(path, SPACE)


@pytest.fixture(scope="module")
def model(table):
    return ModelOracle(table, SPACE, THREE)


def plan_of(oracle, table, objectives=TWO, **changes):
    reference, ideal = default_box(oracle, objectives, table)
    settings = {"strategies": ("random", "surrogate"), "budget": 30, "seeds": 2} | changes
    return BenchPlan(objectives=objectives, reference=tuple(reference), ideal=tuple(ideal), **settings)


def test_the_model_knows_the_law_and_how_well(model):
    genes = SPACE.sample(np.random.default_rng(99), 200)
    answers = [model.values(row) for row in genes]
    truth = planted(SPACE, genes)
    for name in ("accuracy", "seconds"):
        tau = kendalltau([each[name] for each in answers], truth[name]).statistic
        assert tau > 0.75
        assert 0.6 < model.fits[name].kendall_tau < 1.0
        assert model.scatter(name) > 0
    assert [each["params"] for each in answers] == SPACE.costs(genes).params.tolist()
    assert model.scatter("params") == 0.0


def test_a_shuffled_table_cannot_be_modelled(table):
    """Negative control of the held-out rank."""
    cells = list(table.texts["accuracy"])
    np.random.default_rng(0).shuffle(cells)
    shuffled = replace(table, texts={**table.texts, "accuracy": tuple(cells)})
    assert abs(ModelOracle(shuffled, SPACE, TWO[:1]).fits["accuracy"].kendall_tau) < 0.3


def test_rows_answer_for_themselves_only(table):
    oracle = TableOracle(table, SPACE, TWO)
    assert oracle.values(table.genes[3])["accuracy"] == float(table.texts["accuracy"][3])
    strange = SPACE.sample(np.random.default_rng(12345))
    assert oracle.values(strange) is None
    trace = replay(oracle, plan_of(oracle, table, budget=25), "evolution", 0)
    assert (np.diff(trace.hypervolume) >= 0).all()
    assert trace.hypervolume[-1] > 0


def test_a_small_table_is_used_up_and_not_more(tmp_path):
    path = tmp_path / "few.csv"
    write_planted(path, SPACE, 12)
    few = read_table(path, SPACE)
    oracle = TableOracle(few, SPACE, TWO)
    plan = plan_of(oracle, few, budget=20)
    ends = {name: replay(oracle, plan, name, 0).hypervolume[-1] for name in plan.strategies}
    assert ends["random"] == pytest.approx(ends["surrogate"]), "both have seen every row"
    with pytest.raises(ConfigError, match="12 rows have a value; 50 are needed"):
        ModelOracle(few, SPACE, TWO)


def test_replays_are_repeatable_in_any_number_of_processes(model, table):
    plan = plan_of(model, table, strategies=("random", "nsga2"), budget=12)
    alone, together = compare(model, plan), compare(model, plan, jobs=2)
    for name in plan.strategies:
        assert len(alone[name]) == 2
        for one, other in zip(alone[name], together[name], strict=True):
            assert np.array_equal(one.hypervolume, other.hypervolume)
    assert not np.array_equal(alone["random"][0].hypervolume, alone["random"][1].hypervolume)


def test_noise_misleads_the_strategy_and_not_the_score(model, table):
    """Random search does not listen, so noise changes nothing; one that listens goes elsewhere."""
    plan = plan_of(model, table, THREE, budget=30)
    noisy = replace(plan, noise=3.0)
    assert np.array_equal(
        replay(model, plan, "random", 1).hypervolume, replay(model, noisy, "random", 1).hypervolume
    )
    assert not np.array_equal(
        replay(model, plan, "surrogate", 1).hypervolume, replay(model, noisy, "surrogate", 1).hypervolume
    )


def test_the_default_finds_more_than_chance(model, table):
    traces = compare(model, plan_of(model, table, budget=40, seeds=2))
    ends = {name: [trace.hypervolume[-1] for trace in found] for name, found in traces.items()}
    assert min(ends["surrogate"]) > max(ends["random"])
    assert evaluations_to_reach(traces["surrogate"], float(np.mean(ends["random"]))) < 40
    assert evaluations_to_reach(traces["random"], 1.01) is None


def test_what_is_said_of_seeds():
    def traces(*ends):
        return [Trace(hypervolume=np.array([0.1, end]), seconds_per_proposal=0.0) for end in ends]

    better, worse = traces(0.7, 0.8, 0.9, 0.85, 0.75, 0.8), traces(0.6, 0.5, 0.7, 0.7, 0.6, 0.5)
    found = significance({"a": better, "b": worse})
    assert (found["a"].baseline, found["a"].at, found["a"].wins) == ("b", 2, 6)
    assert found["a"].p == pytest.approx(1 / 64)
    assert found["b"].p > 0.9
    assert significance({"a": traces(0.5)}) == {}
    few = significance({"a": traces(0.5, 0.6), "b": traces(0.5, 0.6)})
    assert few["a"].p is None
    single, several = interval(np.array([0.5])), interval(np.array([0.4, 0.5, 0.6]))
    assert (single.low, single.mean, single.high) == (0.5, 0.5, 0.5)
    assert several.mean == pytest.approx(0.5)
    assert several.high - several.mean == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert checkpoints(120) == [50, 100, 120]
    assert checkpoints(30) == [30]


def test_a_box_that_is_none_is_refused(model, table):
    plan = plan_of(model, table)
    with pytest.raises(ConfigError, match="accuracy: the ideal 40 is not better than the reference 60"):
        replace(plan, reference=(60.0, plan.reference[1]), ideal=(40.0, plan.ideal[1]))
    with pytest.raises(ConfigError, match="did you mean 'surrogate'"):
        replace(plan, strategies=("surogate",))
    with pytest.raises(TableError, match="no column 'acuracy'; did you mean 'accuracy'"):
        ModelOracle(table, SPACE, (Objective(name="acuracy", direction="maximize"),))
