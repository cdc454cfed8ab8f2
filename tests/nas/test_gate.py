"""The gate: what it refuses is dominated in truth, what it lets pass could matter; on a planted law."""

import numpy as np
import pytest
from planted_table import planted

from nas.gate import OptimisticGate
from nas.objectives import parse_objectives
from nas.strategies.protocol import Evaluation
from results.pareto import dominates
from search_spaces.space_document import load_space

TINY = load_space("tiny")
OBJECTIVES = parse_objectives(["accuracy", "step_ms", "params"])


def evaluations(count: int, seed: int = 0) -> list[Evaluation]:
    """Accuracy is the planted one, less a tenth for each choice that is the first: work without a gain."""
    rng = np.random.default_rng(seed)
    genes = TINY.sample(rng, count) if count else np.empty((0, len(TINY.genes)), dtype=np.int64)
    law = planted(TINY, genes) if count else {"accuracy": np.empty(0), "seconds": np.empty(0)}
    wasted = 0.1 * (genes[:, :2] == 0).sum(axis=1)
    accuracy = 0.2 + law["accuracy"] / 100 - wasted
    params = TINY.costs(genes).params
    return [
        Evaluation(
            index=index,
            genes=genes[index],
            digest=f"{index:064d}",
            values={
                "accuracy": float(accuracy[index]),
                "step_ms": float(law["seconds"][index]),
                "params": float(params[index]),
            },
        )
        for index in range(count)
    ]


def without_accuracy(evaluation: Evaluation) -> dict[str, float]:
    return {name: value for name, value in evaluation.values.items() if name != "accuracy"}


def test_what_is_refused_is_dominated_in_truth():
    known, asked = evaluations(60), evaluations(80, seed=1)
    gate = OptimisticGate(TINY, OBJECTIVES)
    refused = [each for each in asked if gate.refuses(each.genes, without_accuracy(each), known)]
    in_truth = [each for each in asked if any(dominates(k.values, each.values, OBJECTIVES) for k in known)]
    assert len(refused) >= len(in_truth) / 4, "it spares something"
    wrongly = [each for each in refused if each not in in_truth]
    assert len(wrongly) <= 0.05 * len(asked)


def test_it_says_why():
    known = evaluations(40)
    worst = min(known, key=lambda each: each.values["accuracy"])
    gate = OptimisticGate(TINY, OBJECTIVES)
    reason = gate.refuses(worst.genes, {"step_ms": 1e9, "params": 1e12}, known)
    assert reason is not None
    assert reason.startswith("at best accuracy 0.")
    assert reason.endswith("is better even then")


def test_a_network_faster_than_all_passes():
    known = evaluations(40)
    gate = OptimisticGate(TINY, OBJECTIVES)
    assert gate.refuses(known[0].genes, {"step_ms": 1e-9, "params": 1e12}, known) is None


@pytest.mark.parametrize("count", [0, 15])
def test_with_little_known_nothing_is_refused(count):
    gate = OptimisticGate(TINY, OBJECTIVES)
    assert gate.refuses(evaluations(1)[0].genes, {"step_ms": 1e9, "params": 1e12}, evaluations(count)) is None


def test_without_an_objective_of_training_there_is_nothing_to_hope_for():
    gate = OptimisticGate(TINY, parse_objectives(["step_ms", "params"]))
    assert gate.refuses(evaluations(1)[0].genes, {"step_ms": 1e9, "params": 1e12}, evaluations(40)) is None
