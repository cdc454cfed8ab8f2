"""Cross-validated quality: high for a law, none for noise, silent where little is known."""

import numpy as np
from planted_table import planted

from nas.objectives import parse_objectives
from nas.predictor_quality import predictor_quality
from nas.strategies.protocol import Evaluation
from search_spaces.space_document import load_space

TINY = load_space("tiny")
OBJECTIVES = parse_objectives(["accuracy", "step_ms", "params"])


def evaluations(count: int, *, shuffled: bool = False) -> list[Evaluation]:
    rng = np.random.default_rng(0)
    genes = TINY.sample(rng, count)
    law = planted(TINY, genes)
    accuracy = rng.permutation(law["accuracy"]) if shuffled else law["accuracy"]
    return [
        Evaluation(
            index=index,
            genes=genes[index],
            digest=str(index),
            values={
                "accuracy": float(accuracy[index]),
                "step_ms": float(law["seconds"][index]),
                "params": 1.0,
            },
        )
        for index in range(count)
    ]


def test_a_law_is_predicted_and_noise_is_not():
    found = predictor_quality(TINY, OBJECTIVES, evaluations(60))
    assert set(found) == {"accuracy", "step_ms"}, "costs are exact"
    assert found["step_ms"].kendall_tau > 0.9
    assert found["accuracy"].kendall_tau > 0.7
    assert found["accuracy"].median_error < 0.3 * found["accuracy"].spread
    noise = predictor_quality(TINY, OBJECTIVES, evaluations(60, shuffled=True))["accuracy"]
    assert abs(noise.kendall_tau) < 0.35
    assert noise.spread == found["accuracy"].spread


def test_rows_are_those_that_have_the_quantity():
    told = evaluations(40)
    refused = Evaluation(index=40, genes=told[0].genes, digest="r", values={"step_ms": 3.0}, ending="refused")
    found = predictor_quality(TINY, OBJECTIVES, [*told, refused])
    assert (found["accuracy"].rows, found["step_ms"].rows) == (40, 41)


def test_of_little_or_of_equal_values_nothing_is_said():
    assert predictor_quality(TINY, OBJECTIVES, evaluations(9)) == {}
    equal = [
        Evaluation(index=e.index, genes=e.genes, digest=e.digest, values={"accuracy": 0.5})
        for e in evaluations(20)
    ]
    assert predictor_quality(TINY, OBJECTIVES, equal) == {}
