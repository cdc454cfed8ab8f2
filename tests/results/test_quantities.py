import pytest

from results.pareto import DIRECTIONS
from results.quantities import QUANTITIES, quantity


def test_a_name_stands_for_itself():
    assert all(name == known.name for name, known in QUANTITIES.items())


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_objective_that_needs_no_direction_has_a_label(name):
    assert name in QUANTITIES


@pytest.mark.parametrize(
    "name", [name for name in QUANTITIES if name.endswith(("_ms", "_bytes", "_per_second"))]
)
def test_a_unit_in_a_name_is_in_its_title(name):
    known = quantity(name)
    unit = {"ms": "ms", "bytes": "bytes", "second": "a second"}[name.rpartition("_")[2]]
    assert unit in known.unit
    assert known.unit in known.title


@pytest.mark.parametrize(
    ("name", "title", "form"),
    [
        ("warm_up_ms", "warm up (ms)", "number"),
        ("tokens_per_second", "tokens (1/s)", "number"),
        ("cache_bytes", "cache (bytes)", "bytes"),
        ("top5_accuracy", "top5 accuracy (fraction)", "fraction"),
        ("validation_loss", "validation loss", "number"),
        ("_ms", " ms", "number"),
    ],
)
def test_a_tasks_own_metric_is_named_after_what_its_name_tells(name, title, form):
    known = quantity(name)
    assert (known.name, known.title, known.form) == (name, title, form)
