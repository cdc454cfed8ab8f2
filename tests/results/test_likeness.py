"""Like with like: which quantities depend on what, and what is said where runs differ in it."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from given import result

from results.errors import UnlikeRunsError
from results.likeness import conditions, like_groups, require_like
from results.pareto import Objective
from results.run import Run

HARDWARE = {"device": "CPU", "torch": "2.13.0", "fingerprint": "a" * 8, "devices": [0]}
TASK = {"name": "quick", "fingerprint": "b" * 8, "seeds": [0]}


def run_of(name, *, resolution=64, **config):
    """A run in memory without timings, of one candidate whose costs are stated at `resolution` pixels."""
    return Run(
        path=Path("/nowhere") / name,
        config={"hardware": HARDWARE, "task": TASK} | config,
        objectives=(),
        results=(replace(result(1, accuracy=0.5), resolution=resolution),),
        wall_seconds=1.0,
    )


BASE = run_of("base")
OTHERS = {
    "hardware": run_of("other-hardware", hardware=HARDWARE | {"fingerprint": "c" * 8}),
    "proxy": run_of("other-proxy", task=TASK | {"fingerprint": "d" * 8}),
    "resolution": run_of("other-resolution", resolution=96),
}
DEPENDS = {
    "step_ms": {"hardware"},
    "step_ratio": {"hardware"},
    "estimated_step_ms": {"hardware"},
    "inference_ms": {"hardware"},
    "peak_memory_bytes": {"hardware"},
    "images_per_second": {"hardware"},
    "accuracy": {"proxy"},
    "train_loss_sum": {"proxy"},
    "f1": {"proxy"},
    "macs": {"resolution"},
    "activation_bytes": {"resolution"},
    "params": set(),
    "active_params": set(),
}


@pytest.mark.parametrize("name", DEPENDS)
def test_each_quantity_depends_on_what_it_is_measured_with_and_on_nothing_else(name):
    differs = {
        what for what, other in OTHERS.items() if conditions(BASE, [name]) != conditions(other, [name])
    }
    assert differs == DEPENDS[name]


def test_which_device_of_equal_ones_and_which_seeds_make_no_difference():
    twin = run_of("twin", hardware=HARDWARE | {"devices": [1]}, task=TASK | {"seeds": [1, 2]})
    objectives = [Objective(name=name, direction="minimize") for name in DEPENDS]
    assert like_groups([BASE, twin], objectives) == ((BASE, twin),)
    require_like([BASE, twin], objectives)
    hardware, task = ({"name": "x", "devices": [0], "seeds": [0]} for _ in range(2))
    bare = run_of("bare", hardware=hardware, task=task)
    other = run_of("other", hardware=hardware | {"devices": [1]}, task=task | {"seeds": [3]})
    assert like_groups([bare, other], objectives) == ((bare, other),), "without fingerprints too"
    third = run_of("third", hardware=hardware | {"name": "y"}, task=task)
    assert like_groups([bare, third], objectives) == ((bare,), (third,))


def test_groups_are_the_classes_of_an_equivalence_in_the_order_of_the_runs():
    runs = [BASE, OTHERS["proxy"], run_of("again"), OTHERS["hardware"], run_of("more")]
    objectives = [Objective.parse("accuracy"), Objective.parse("step_ms")]
    groups = like_groups(runs, objectives)
    assert [[run.name for run in group] for group in groups] == [
        ["base", "again", "more"], ["other-proxy"], ["other-hardware"],
    ]  # fmt: skip
    for first, second in combinations(runs, 2):
        together = any(first in group and second in group for group in groups)
        if together:
            require_like([first, second], objectives)
            continue
        with pytest.raises(UnlikeRunsError):
            require_like([first, second], objectives)


@pytest.mark.parametrize(
    ("other", "names", "says"),
    [
        ("hardware", ["accuracy", "step_ms"], "on which step_ms depends.*--objectives accuracy "),
        ("proxy", ["accuracy", "params"], "on which accuracy depends.*--objectives params "),
        ("resolution", ["macs", "activation_bytes"], "on which macs, activation_bytes depend, "),
    ],
)
def test_the_refusal_names_what_differs_what_depends_on_it_and_the_ways_on(other, names, says):
    objectives = [Objective(name=name, direction="minimize") for name in names]
    with pytest.raises(UnlikeRunsError, match=f"base and other-{other} differ in {other}, {says}") as refused:
        require_like([BASE, OTHERS[other]], objectives)
    assert "--separate compares each group" in str(refused.value)
    assert "--reuse" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
