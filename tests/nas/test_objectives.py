"""Objectives and limits as users write them."""

import numpy as np
import pytest

from nas.errors import ConfigError
from nas.objectives import broken_bound, parse_bounds, parse_objectives, timed_works, with_limits
from search_spaces.space_document import load_space

TINY = load_space("tiny")


def test_objectives_have_the_direction_that_is_better() -> None:
    objectives = parse_objectives(["accuracy", "step_ms", "params:max", "recall:maximize"])
    assert [str(objective) for objective in objectives] == [
        "accuracy:maximize",
        "step_ms:minimize",
        "params:maximize",
        "recall:maximize",
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "name one or more"),
        (["accuracy", "accuracy"], "each once"),
        (["acuracy"], "did you mean accuracy"),
        (["recall"], "write recall:max or recall:min"),
        (["accuracy:up"], "'up' is not maximize or minimize"),
    ],
)
def test_bad_objectives_are_explained(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_objectives(texts)


@pytest.mark.parametrize(
    ("text", "value"), [("params<=30e6", 30e6), (" macs >= 1_000 ", 1000.0), ("step_ms<=2.5", 2.5)]
)
def test_limits_are_read(text: str, value: float) -> None:
    (bound,) = parse_bounds([text])
    assert bound.value == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params<30", "is not of the form"),
        ("params<=", "is not of the form"),
        ("params<=ten", "is not of the form"),
        ("params<=1e", "is not of the form"),
        ("parms<=3", "did you mean 'params'"),
        ("color<=3", "'color' is unknown; known: params"),
    ],
)
def test_bad_limits_are_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_bounds([text])


def test_exact_limits_hold_for_everything_that_is_proposed() -> None:
    bounds = parse_bounds(["params<=150000", "params>=80000", "macs<=8e6"])
    limited = with_limits(TINY, bounds)
    genes = limited.sample(np.random.default_rng(0), 200)
    costs = TINY.costs(genes)
    assert costs.params.max() <= 150_000
    assert costs.params.min() >= 80_000
    assert costs.macs.max() <= 8_000_000
    free = TINY.costs(TINY.sample(np.random.default_rng(0), 200))
    assert free.params.max() > 150_000, "the limits would hold anyway, so this shows nothing"


def test_measured_limits_are_not_the_spaces_business() -> None:
    assert with_limits(TINY, parse_bounds(["step_ms<=5"])) is TINY


def test_a_broken_measured_limit_is_named() -> None:
    bounds = parse_bounds(["step_ms<=5", "peak_memory_bytes<=1e9", "params<=1"])
    assert broken_bound(bounds, {"step_ms": 5.0, "params": 10.0}) is None
    assert broken_bound(bounds, {"step_ms": 5.5}) == "step_ms is 5.5, outside the limit step_ms<=5"
    assert broken_bound(bounds, {}) is None


def test_inference_is_timed_where_an_objective_or_a_limit_asks_for_it() -> None:
    def works(objectives: list[str], limits: list[str]) -> tuple[str, ...]:
        return timed_works(parse_objectives(objectives), parse_bounds(limits))

    assert works(["accuracy", "step_ms"], ["params<=1e6"]) == ("training",)
    assert works(["accuracy", "peak_memory_bytes"], []) == ("training",)
    assert works(["accuracy", "inference_ms"], []) == ("training", "inference")
    assert works(["accuracy"], ["inference_ms<=5"]) == ("training", "inference")
    assert works(["accuracy", "onnx_ms", "inference_ratio"], []) == (
        "training",
        "inference",
        "onnx-inference",
    )
