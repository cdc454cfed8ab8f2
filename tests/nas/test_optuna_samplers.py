"""Optuna's samplers as strategies: a study in memory in which nothing is left running."""

import numpy as np
import optuna
import pytest

from nas.objectives import parse_bounds
from nas.strategies.optuna_samplers import OptunaStrategy, nsga2, tpe
from nas.strategies.protocol import Evaluation
from results.pareto import Objective
from search_spaces.choice import int_range, one_of
from search_spaces.space_document import space

OBJECTIVES = (
    Objective(name="accuracy", direction="maximize"),
    Objective(name="step_ms", direction="minimize"),
)
BLOCKS = one_of(
    {"op": "mbconv", "expand": one_of(1, 4)},
    {"op": "fused_mbconv", "expand": one_of(1, 2), "kernel": one_of(3, 5)},
)
SPACE = space(
    {
        "name": "conditional",
        "stem": {"width": 8},
        "stages": [
            {"stride": 2, "depth": int_range(1, 3), "width": one_of(8, 16, 24), "block": BLOCKS},
            {"stride": 1, "depth": int_range(0, 2), "width": one_of(16, 32), "block": BLOCKS},
        ],
        "head": {"width": 16},
    }
)


def law(genes):
    """Planted: the more work, the more accurate and the slower."""
    macs = float(SPACE.costs(genes[None]).macs[0])
    return {"accuracy": float(np.log(macs)), "step_ms": macs / 1e5}


def told(strategy, count, *, value=law):
    for index in range(count):
        genes = strategy.ask(np.random.default_rng([1, index]))
        strategy.tell(Evaluation(index=index, genes=genes, digest=str(index), values=value(genes)))
    return strategy._study.get_trials(deepcopy=False)


@pytest.mark.parametrize("make", [nsga2(4), tpe])
def test_no_trial_is_left_running(make):
    trials = told(OptunaStrategy(SPACE, OBJECTIVES, make), 20)
    states = [trial.state for trial in trials]
    assert optuna.trial.TrialState.RUNNING not in states
    assert optuna.trial.TrialState.WAITING not in states
    assert states.count(optuna.trial.TrialState.COMPLETE) == 20


def test_what_is_told_is_what_the_study_knows():
    strategy = OptunaStrategy(SPACE, OBJECTIVES, tpe)
    trials = told(strategy, 15)
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    for index, trial in enumerate(complete):
        genes = strategy.ask(np.random.default_rng([1, index]))  # of any kind: the study is not asked again
        assert genes.shape == (len(SPACE.genes),)
        sites = {gene.site: number for number, gene in enumerate(SPACE.genes)}
        rebuilt = np.full(len(SPACE.genes), -1, dtype=np.int64)
        for site, option in trial.params.items():
            rebuilt[sites[site]] = option
        assert trial.values == list(law(rebuilt).values())


def test_a_failure_is_told_as_one():
    strategy = OptunaStrategy(SPACE, OBJECTIVES, tpe)
    trials = told(strategy, 8, value=lambda genes: {})
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.FAIL}
    half = OptunaStrategy(SPACE, OBJECTIVES, tpe)
    trials = told(half, 8, value=lambda genes: {"accuracy": 0.5})
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.FAIL}, "one objective is missing"


def test_measured_bounds_become_constraints():
    bounds = parse_bounds(["step_ms<=3", "params<=1e9"])
    trials = told(OptunaStrategy(SPACE, OBJECTIVES, tpe, bounds=bounds), 12)
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    for trial in complete:
        assert list(trial.constraints) == ["step_ms<=3"], "exact bounds are the space's own"
        assert trial.constraints["step_ms<=3"] == pytest.approx(trial.values[1] - 3.0)
    lower = told(OptunaStrategy(SPACE, OBJECTIVES, tpe, bounds=parse_bounds(["step_ms>=3"])), 4)
    kept = [trial for trial in lower if trial.state == optuna.trial.TrialState.COMPLETE]
    assert all(t.constraints["step_ms>=3"] == pytest.approx(3.0 - t.values[1]) for t in kept)


def test_nsga2_comes_to_its_second_generation():
    """It counts finished trials only, so proposals that were closed as asked do not fill its population."""
    trials = told(OptunaStrategy(SPACE, OBJECTIVES, nsga2(4)), 14)
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    generations = [
        value
        for trial in complete
        for key, value in trial.system_attrs.items()
        if key.endswith(":generation")
    ]
    assert len(generations) == 14
    assert max(generations) >= 2
    assert np.bincount(generations)[0] == 4
    assert generations == sorted(generations)


def test_nsga2_selects():
    """Planted: one option of the first block is worth everything; later generations have it more often."""
    site = next(index for index, gene in enumerate(SPACE.genes) if gene.site == "stages[0].width")

    def worth(genes):
        return {"accuracy": float(genes[site] == 2), "step_ms": 1.0 + float(genes[site] != 2)}

    strategy = OptunaStrategy(SPACE, OBJECTIVES, nsga2(8))
    trials = told(strategy, 64, value=worth)
    found = [t.values[0] for t in trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert np.mean(found[:8]) < 0.6
    assert np.mean(found[-24:]) > 0.65


def test_inactive_genes_are_not_asked_for():
    strategy = OptunaStrategy(SPACE, OBJECTIVES, tpe)
    for index in range(30):
        genes = strategy.ask(np.random.default_rng(index))
        active = SPACE.active(np.maximum(genes, 0)[None])[0]
        assert np.array_equal(genes >= 0, active)


def test_seeds_come_first():
    seeds = SPACE.sample(np.random.default_rng(4), 2)
    strategy = OptunaStrategy(SPACE, OBJECTIVES, tpe, seeds=list(seeds))
    first = [strategy.ask(np.random.default_rng(index)) for index in range(2)]
    assert np.array_equal(np.stack(first), seeds)
