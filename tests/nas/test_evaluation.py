"""An evaluation's genotype may be given as a function, which is asked once, when somebody looks."""

import numpy as np
import pytest

from nas.strategies.protocol import Evaluation
from search_spaces.space import Genes

GENES = np.array([0, 2, -1])


def test_a_genotype_is_found_once_and_only_when_asked_for() -> None:
    asked = []

    def find() -> Genes:
        asked.append(1)
        return GENES

    evaluation = Evaluation(index=0, genes=find, digest="d", values={})
    assert asked == []
    assert evaluation == Evaluation(index=0, genes=GENES, digest="d", values={})
    assert "genes" not in repr(evaluation)
    assert asked == []
    assert evaluation.genes is GENES
    assert evaluation.genes is GENES
    assert asked == [1]


def test_evaluations_have_genotypes_of_their_own() -> None:
    first = Evaluation(index=0, genes=GENES, digest="d", values={})
    second = Evaluation(index=1, genes=lambda: GENES + 1, digest="e", values={})
    assert first.genes is GENES
    assert np.array_equal(second.genes, GENES + 1)


def test_an_evaluation_is_frozen_and_has_a_genotype() -> None:
    evaluation = Evaluation(index=0, genes=GENES, digest="d", values={})
    with pytest.raises(AttributeError, match="cannot assign to field 'genes'"):
        evaluation.genes = GENES  # type: ignore[misc]
    with pytest.raises(TypeError, match="genes"):
        Evaluation(index=0, digest="d", values={})  # type: ignore[call-arg]
