"""What was chosen in each network, and which choices explain what was measured."""

import json

import numpy as np
import pytest
from given import candidate, result
from recorded import add_candidate, timing, training

from results.choices import choices, load_searched_space
from results.directory import RunDirectory
from results.importance import MIN_NETWORKS, importances
from results.run import load_run
from search_spaces.space_document import load_space

SPACE = load_space("tiny")


def networks(count, measure, seed=0):
    """Random members of `tiny` with the metrics that `measure` makes of their documents."""
    genes = SPACE.sample(np.random.default_rng(seed), count)
    found = []
    for number, arch in enumerate(map(SPACE.decode, genes), 1):
        document = arch.to_document()
        of = candidate(number, json.dumps(document), arch.digest)
        found.append(result(number, of=of, **measure(document, np.random.default_rng([seed, number]))))
    return found


def planted(document, rng):
    """The stem decides the accuracy and the head most of the step time."""
    return {
        "accuracy": document["stem"]["width"] / 20 + 0.01 * rng.normal(),
        "step_ms": document["head"]["width"] / 10 + document["stem"]["width"] / 10 + 0.1 * rng.normal(),
    }


RESULTS = networks(60, planted)


def test_choices_are_what_the_space_says_was_chosen():
    found = choices(RESULTS, SPACE)
    assert found.is_of_space
    assert found.options["stem.width"] == ("8", "12", "16")
    for position, each in enumerate(RESULTS):
        assert found.columns["stem.width"][position] == str(each.architecture["stem"]["width"])
        depths = [found.columns[f"stages[{i}].depth"][position] for i in range(4)]
        blocks = [found.columns[f"stages[{i}].block"][position] for i in range(4)]
        assert [depth == "0" for depth in depths] == [block is None for block in blocks]
    codes = found.codes("head.width")
    assert [found.options["head.width"][code] for code in codes] == list(found.columns["head.width"])


@pytest.mark.parametrize("space", [None, load_space("effnetv2")])
def test_without_the_space_they_are_read_off_the_documents(space):
    found = choices(RESULTS, space)
    assert not found.is_of_space
    assert found.columns["head.width"] == choices(RESULTS, SPACE).columns["head.width"]
    assert found.options["head.width"] == ("64", "128", "256")
    assert "schema" not in found.columns
    assert choices(RESULTS[:1], SPACE).columns == {}, "what all agree in is no choice"
    assert choices([], SPACE).columns == {}


def test_the_searched_space_is_loaded_by_its_name_or_given_up():
    assert load_searched_space({"config": {"space": "tiny"}}).name == "tiny"
    for config in ({}, {"config": {}}, {"config": {"space": "/nowhere/space.yaml"}}):
        assert load_searched_space(config) is None


def test_the_planted_choice_is_found_and_nothing_else():
    found = importances(RESULTS, ["accuracy", "step_ms"], SPACE, seed=0)
    of = {(each.quantity, each.choice): each for each in found}
    first = {name: max((e for e in found if e.quantity == name), key=lambda e: e.share) for name in
             ("accuracy", "step_ms")}  # fmt: skip
    assert first["accuracy"].choice == "stem.width"
    assert first["step_ms"].choice == "head.width"
    assert first["accuracy"].explained > 0.8
    assert of["accuracy", "stem.width"].share > 1.0, "shuffled, it is worse than a constant"
    assert of["step_ms", "head.width"].share > 10 * of["step_ms", "stem.width"].share
    others = [each.share for each in found if each.choice not in ("stem.width", "head.width")]
    assert max(others) < 0.05


@pytest.mark.thorough
def test_noise_is_explained_by_nothing():
    noise = networks(40, lambda _, rng: {"accuracy": rng.normal()})
    found = importances(noise, ["accuracy"], SPACE, seed=0)
    assert found[0].explained < 0.2
    assert found[0].share < 0.2
    assert found == importances(noise, ["accuracy"], SPACE, seed=0)


def test_too_few_networks_and_constants_are_said_not_explained():
    with pytest.raises(
        ValueError, match=f"19 networks have accuracy, too few.*measure {MIN_NETWORKS} or more"
    ):
        importances(RESULTS[:19], ["accuracy"], SPACE, seed=0)
    with pytest.raises(ValueError, match="0 networks have f1"):
        importances(RESULTS, ["f1"], SPACE, seed=0)
    constant = networks(MIN_NETWORKS, lambda *_: {"accuracy": 0.5})
    assert importances(constant, ["accuracy"], SPACE, seed=0) == []


def test_a_run_speaks_of_its_own_choices(tmp_path):
    with (
        RunDirectory.create(tmp_path / "a", hint="", config={}, root=tmp_path) as made,
        made.ledger() as ledger,
    ):
        for number in range(1, 31):
            add_candidate(ledger, number)
            ledger.record(timing(number, 10.0 + number % 2))
            if number != 30:
                ledger.record(training(number, 0.3 + number / 100))
    run = load_run(made.path)
    frame = run.importance()
    assert list(frame.columns) == ["quantity", "choice", "share", "deviation", "explained"]
    assert set(frame.quantity) == {"accuracy", "step_ms"}
    assert frame.choice.iloc[0] == "stages[0].width"
    assert not run.choices().is_of_space
    assert len(run.choices(SPACE).columns["stages[0].width"]) == 29
