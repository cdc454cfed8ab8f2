"""What a search is for: rewards in words, targets, parameters as cost, benefit or neither, estimates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.config import make_config
from nas.errors import ConfigError
from nas.goal import aimed, goal_of, parse_reward, reward_of
from nas.objectives import parse_objectives
from nas.reward import EFFICIENTNETV2_REWARD, WeightedProduct, mnasnet_hard, mnasnet_soft

VALUES = {"accuracy": 0.8, "step_ms": 50.0, "params": 4e6}


def goal(**settings):
    return goal_of(make_config(settings))


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("effnetv2", EFFICIENTNETV2_REWARD),
        ("accuracy*step_ms^-0.07*params^-0.05", EFFICIENTNETV2_REWARD),
        (" accuracy * step_ms ^ -7e-2 ", WeightedProduct(exponents=(("step_ms", -0.07),))),
        ("accuracy", WeightedProduct(exponents=())),
        ("step_ms^-1*params^0.5", WeightedProduct(gain=None, exponents=(("step_ms", -1.0), ("params", 0.5)))),
        ("mnasnet-soft:step_ms=40", mnasnet_soft("step_ms", 40.0)),
        ("mnasnet-hard:params=5e6", mnasnet_hard("params", 5e6)),
    ],
)
def test_a_reward_in_words(text, reward):
    assert parse_reward(text) == reward


@pytest.mark.parametrize(
    "text",
    [
        "",
        "effnet",
        "accuracy*step_ms",
        "accuracy+step_ms^-1",
        "accuracy*step_ms^",
        "mnasnet-hard:step_ms",
        "2",
    ],
)
def test_what_is_no_reward_is_refused_in_one_line(text):
    with pytest.raises(ConfigError) as error:
        parse_reward(text)
    assert repr(text) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_target_at_nothing_is_refused():
    with pytest.raises(ConfigError, match="the target of step_ms is 0"):
        parse_reward("mnasnet-soft:step_ms=0")


def test_the_default_is_the_paper_s_reward():
    found = goal()
    assert found.reward(VALUES) == pytest.approx(EFFICIENTNETV2_REWARD(VALUES))
    assert [str(each) for each in found.objectives] == [
        "accuracy:maximize",
        "step_ms:minimize",
        "params:minimize",
    ]
    assert found.bounds == ()


def test_parameters_as_budget_or_ignored_earn_nothing():
    for settings in ({"limits": ("params<=5e6",)}, {}):
        reward = goal(objectives=("accuracy", "step_ms"), **settings).reward
        assert reward(VALUES) == reward({**VALUES, "params": 1.0})


def test_parameters_as_a_benefit_are_rewarded():
    found = goal(objectives=("accuracy", "step_ms", "params:max"), limits=("params<=5e6",))
    assert found.reward({**VALUES, "params": 5e6}) > found.reward(VALUES)
    assert found.objectives[2].direction == "maximize"


@given(
    st.lists(st.sampled_from(["accuracy", "step_ms", "params", "macs", "loss:min"]), min_size=1, unique=True)
)
def test_a_reward_agrees_with_every_objective(names):
    """Law: whatever the objectives, bettering one of them betters the reward."""
    objectives = parse_objectives(names)
    reward = reward_of(objectives)
    base = {each.name: 2.0 for each in objectives}
    for each in objectives:
        better = reward({**base, each.name: 2.0 - 0.5 * each.sign})
        assert better is not None
        assert better > reward(base)


def test_a_target_is_a_bound_and_accuracy_the_objective():
    found = goal(target="step_ms<=40")
    assert [str(each) for each in found.objectives] == ["accuracy:maximize"]
    assert [str(each) for each in found.bounds] == ["step_ms<=40"]
    assert found.reward == mnasnet_hard("step_ms", 40.0)


def test_a_target_is_kept_in_full_so_that_a_resumed_search_has_it():
    kept = aimed(make_config({"target": "step_ms<=40"}))
    read_back = make_config(kept.model_dump(mode="json"))
    assert goal_of(read_back) == goal_of(make_config({"target": "step_ms<=40"}))
    assert read_back.objectives == ("accuracy",)


def test_a_target_leaves_objectives_that_were_named():
    found = goal(target="step_ms<=40", objectives=("accuracy", "params"), limits=("params<=5e6",))
    assert [each.name for each in found.objectives] == ["accuracy", "params"]
    assert [str(each) for each in found.bounds] == ["params<=5e+06", "step_ms<=40"]


def test_a_target_from_below_is_refused():
    with pytest.raises(ConfigError, match=r"target 'step_ms>=40': a target is an upper bound"):
        goal(target="step_ms>=40")


def test_a_reward_that_was_given_comes_first_and_then_the_task_s():
    config = make_config({"target": "step_ms<=40", "reward": "accuracy"})
    assert goal_of(config).reward == parse_reward("accuracy")
    plain = make_config({})
    assert goal_of(plain, task_reward="mnasnet-soft:step_ms=9").reward == mnasnet_soft("step_ms", 9.0)
    assert goal_of(plain, task_reward="effnetv2").reward == goal_of(plain).reward


@pytest.mark.parametrize("settings", [{}, {"target": "step_ms<=40"}, {"reward": "effnetv2"}])
def test_estimates_have_names_of_their_own_in_all_of_it(settings):
    found = goal(estimate=True, hardware="a100", **settings)
    names = {each.name for each in (*found.objectives, *found.bounds)}
    assert "step_ms" not in names
    estimated = {"accuracy": 0.8, "estimated_step_ms": 50.0, "params": 4e6}
    assert found.reward(estimated) is not None
    assert found.reward(VALUES) is None
