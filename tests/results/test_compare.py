"""Runs side by side: indicators by hand and by law, and like with like only."""

import math
from pathlib import Path

import numpy as np
import pytest
from given import candidate, result
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW
from reported import CONFIG, HARDWARE, make_run

from results.attainment import attainment_surfaces
from results.compare import additive_epsilon, compare, coverage
from results.errors import RunError, UnlikeRunsError
from results.likeness import like_groups
from results.pareto import Objective, dominates, hypervolume
from results.run import Run, load_run
from search_spaces.cost import Cost
from search_spaces.document import load_architecture, shipped_digests

OBJECTIVES = (Objective.parse("accuracy"), Objective.parse("loss:min"))


def run_of(name, points, *, first=1, seed=0, **config):
    """A run in memory whose candidates, numbered from `first`, have these accuracies and losses."""
    return Run(
        path=Path("/nowhere") / name,
        config={"config": {"strategy": "random", "seed": seed} | config, "task": {"fingerprint": "t"}},
        objectives=OBJECTIVES,
        results=tuple(result(i, accuracy=a, loss=b) for i, (a, b) in enumerate(points, first)),
        wall_seconds=1.0,
    )


A = [(0.5, 1.0), (0.7, 2.0), (0.9, 4.0), (0.4, 3.0)]  # the last is dominated
B = [(0.5, 1.0), (0.6, 2.0), (0.95, 3.0)]


def test_the_indicators_by_hand():
    found = compare(run_of("a", A), run_of("b", B, first=11))
    a, b = found.sides
    assert found.reference == pytest.approx({"accuracy": 0.0, "loss": 4.4})
    assert a.hypervolume == pytest.approx(0.5 * 3.4 + 0.2 * 2.4 + 0.2 * 0.4)
    assert b.hypervolume == pytest.approx(0.5 * 3.4 + 0.1 * 2.4 + 0.35 * 1.4)
    joint = 0.5 * 3.4 + 0.2 * 2.4 + 0.25 * 1.4
    assert (a.share, b.share) == pytest.approx((a.hypervolume / joint, b.hypervolume / joint))
    # Joint: (0.5, 1) of both, (0.7, 2) of a, (0.95, 3) of b, which dominates (0.9, 4).
    assert [(member.label, member.result.id) for member in found.joint] == [
        ("b", 13), ("a", 2), ("a", 1), ("b", 11),
    ]  # fmt: skip
    assert [(side.num_joint, side.num_new, side.evaluated) for side in found.sides] == [(2, 2, 4), (2, 2, 3)]
    forth, back = found.pairs
    assert (forth.coverage, back.coverage) == pytest.approx((2 / 3, 2 / 3))
    # Scaled by 0.45 and 3: a lacks 0.05 of accuracy at (0.95, 3), or 0.25 at (0.7, 2); b 0.1 at (0.7, 2).
    assert forth.epsilon == pytest.approx(min(max(0.05 / 0.45, 1 / 3), 0.25 / 0.45))
    assert back.epsilon == pytest.approx(min(0.1 / 0.45, 1 / 3))
    assert (forth.same, back.same) == (0, 0)


def test_a_network_of_several_runs_is_told_with_its_numbers_in_each():
    found = compare(run_of("a", A), run_of("b", [(0.6, 1.0), (0.1, 9.0)]))
    first, second = found.shared
    assert {label: each.accuracy for label, each in first.results.items()} == {"a": 0.5, "b": 0.6}
    assert (first.on_front_of, second.on_front_of) == (("a", "b"), ("a",))
    assert [pair.same for pair in found.pairs] == [1, 1]
    assert [side.num_new for side in found.sides] == [2, 0]


def test_the_network_to_take_is_of_the_joint_front():
    found = compare(run_of("a", A), run_of("b", B))
    assert (found.best().label, found.best().result.accuracy) == ("b", 0.95)
    within = found.best(limit={"loss": 2.5})
    assert (within.label, within.result.id) == ("a", 2)
    assert found.best(limit={"loss": 0.5}) is None
    assert found.best(lambda each: -each.value("loss")).result.accuracy == 0.5


def test_runs_of_one_name_are_told_apart_and_one_run_is_no_comparison():
    found = compare(run_of("a", A), run_of("a", B))
    assert [side.label for side in found.sides] == ["a (1)", "a (2)"]
    with pytest.raises(RunError, match=r"a single run \(a\) cannot be compared"):
        compare(run_of("a", A))
    other = Run(path=Path("b"), config={}, objectives=OBJECTIVES[:1], results=(), wall_seconds=0.0)
    with pytest.raises(RunError, match="a has objectives accuracy:maximize, loss:minimize and b accuracy"):
        compare(run_of("a", A), other)


def test_a_run_without_a_front_is_compared_as_nothing():
    found = compare(run_of("a", A), run_of("b", []))
    assert [side.hypervolume > 0 for side in found.sides] == [True, False]
    assert [(pair.coverage, pair.epsilon) for pair in found.pairs] == [(None, None)] * 2
    nothing = compare(run_of("a", []), run_of("b", []))
    assert (nothing.reference, nothing.best(), nothing.joint) == (None, None, ())
    assert [side.share for side in nothing.sides] == [None, None]


def test_tables_and_json_say_the_same():
    found = compare(run_of("a", A), run_of("b", B), reference={"accuracy": 0.0, "loss": 5.0})
    assert found.frame().set_index("label").loc["a", "hypervolume"] == found.sides[0].hypervolume
    assert found.pairs_frame().coverage.tolist() == [pair.coverage for pair in found.pairs]
    summary = found.summary()
    assert summary["reference"]["loss"] == 5.0
    assert summary["runs"][1]["hypervolume"] == found.sides[1].hypervolume
    assert summary["take"]["run"] == "b"


# --- laws of the indicators --------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(*[st.integers(0, 8)] * 3), min_size=1, max_size=7)


@LAW
@given(ROWS, ROWS, ROWS)
def test_coverage_and_epsilon_agree_with_dominance(first, second, third):
    a, b, c = (np.array(rows, dtype=np.float64) for rows in (first, second, third))
    is_covered = all(any((x <= y).all() for x in a) for y in b)
    assert (coverage(a, b) == 1.0) == is_covered
    assert (additive_epsilon(a, b) <= 0.0) == is_covered
    assert coverage(a, a) == 1.0
    assert additive_epsilon(a, a) == 0.0
    by_hand = max(min((x - y).max() for x in a) for y in b)
    assert additive_epsilon(a, b) == pytest.approx(by_hand)
    assert additive_epsilon(a, c) <= additive_epsilon(a, b) + additive_epsilon(b, c) + 1e-9, "triangle"


@LAW
@given(st.integers(2, 3), st.data())
def test_attainment_surfaces_agree_with_counting(dimensions, data):
    names = ["accuracy", "x", "y"][:dimensions]
    objectives = [Objective.parse("accuracy"), Objective.parse("x:min"), Objective.parse("y:min")][
        :dimensions
    ]
    point = st.fixed_dictionaries({name: st.integers(0, 4).map(float) for name in names})
    fronts = data.draw(st.lists(st.lists(point, min_size=1, max_size=4), min_size=1, max_size=4))
    surfaces = attainment_surfaces(fronts, objectives)

    def attained(target):
        """How many fronts have a point that is at least as good."""
        return sum(any(p == target or dominates(p, target, objectives) for p in front) for front in fronts)

    grid = [dict(zip(names, map(float, values), strict=True)) for values in np.ndindex(*[5] * dimensions)]
    assert list(surfaces) == list(range(1, len(fronts) + 1))
    for level, surface in surfaces.items():
        for target in grid:
            is_beyond = any(p == target or dominates(p, target, objectives) for p in surface)
            assert is_beyond == (attained(target) >= level)


def test_with_four_objectives_there_are_no_surfaces():
    objectives = [Objective.parse(f"{name}:min") for name in "abcd"]
    assert attainment_surfaces([[dict.fromkeys("abcd", 1.0)]] * 2, objectives) == {1: (), 2: ()}


def test_runs_that_differ_in_seeds_alone_are_repeats():
    better = [(a + 0.05, b) for a, b in A]
    runs = [
        run_of("a", A, seed=1, out="runs/a"),
        run_of("b", better, seed=2, workers=3),
        run_of("c", A, seed=3),
        run_of("other", B, seed=1, candidates=7),
    ]
    found = compare(*runs)
    (group,) = found.repeats
    assert group.labels == ("a", "b", "c")
    assert group.median_runs == 2
    assert set(group.hypervolumes) == {found.sides[0].hypervolume, found.sides[1].hypervolume}
    for level, accuracy in ((1, 0.95), (2, 0.9), (3, 0.9)):
        assert max(point["accuracy"] for point in group.surfaces[level]) == pytest.approx(accuracy)
    volumes = [hypervolume(group.surfaces[k], OBJECTIVES, found.reference) for k in (1, 2, 3)]
    assert volumes[0] > volumes[1] >= volumes[2]
    summary = found.summary()["repeats"][0]
    assert summary["hypervolume"]["low"] <= summary["hypervolume"]["median"] <= summary["hypervolume"]["high"]
    assert set(summary["surfaces"]) == {"any", "median", "all"}


# --- published networks ------------------------------------------------------------------------------------


def test_a_published_network_that_was_measured_is_an_anchor():
    arch = load_architecture("efficientnetv2-b0")
    assert shipped_digests()[arch.digest] == "efficientnetv2-b0"
    of = candidate(7, digest=arch.digest)
    anchored = run_of("a", A)
    seeded = Run(
        path=anchored.path,
        config=anchored.config,
        objectives=OBJECTIVES,
        results=(*anchored.results, result(7, of=of, cost=Cost(1, 1, 1, 1), accuracy=0.6, loss=2.5)),
        wall_seconds=1.0,
    )
    (anchor,) = compare(seeded, run_of("b", B)).anchors
    assert (anchor.name, anchor.label, anchor.num_better) == ("efficientnetv2-b0", "a", 1)
    assert compare(anchored, run_of("b", B)).anchors == ()


# --- like with like ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on disk: two alike, one on another device, one of another proxy, one timed at another batch."""
    root = tmp_path_factory.mktemp("runs")
    device = HARDWARE | {"device": "NVIDIA A100", "fingerprint": "c" * 64}
    proxy = {"name": "quick", "data": "digits", "fingerprint": "d" * 64}
    make_run(root / "a")
    make_run(root / "b", seed=5, config=CONFIG | {"hardware": HARDWARE | {"devices": [{"index": 1}]}})
    make_run(root / "gpu", config=CONFIG | {"hardware": device})
    make_run(root / "digits", config=CONFIG | {"task": proxy})
    return {path.name: load_run(path) for path in root.iterdir() if not path.is_symlink()}


def test_equal_devices_are_alike(runs):
    found = compare(runs["a"], runs["b"])
    assert all(side.hypervolume > 0 for side in found.sides)


def test_other_hardware_is_refused_and_the_way_on_is_told(runs):
    with pytest.raises(UnlikeRunsError) as raised:
        compare(runs["a"], runs["b"], runs["gpu"])
    text = str(raised.value)
    for fragment in (
        "a and gpu differ in hardware, on which step_ms depends, so they are not compared",
        'hardware.device: "Test CPU" -> "NVIDIA A100"',
        "--objectives accuracy,params compares what does not depend on it",
        "--separate",
        "--reuse",
    ):
        assert fragment in text
    assert "\n" not in text


def test_what_does_not_depend_on_the_difference_is_compared(runs):
    assert len(compare(runs["a"], runs["gpu"], objectives=["accuracy", "params"]).sides) == 2
    assert len(compare(runs["a"], runs["digits"], objectives=["step_ms", "params"]).sides) == 2
    with pytest.raises(UnlikeRunsError, match=r"differ in proxy, on which accuracy depends.*digits"):
        compare(runs["a"], runs["digits"])


def test_another_batch_is_another_step_time(runs, tmp_path, monkeypatch):
    import reported

    monkeypatch.setattr(reported, "SETTINGS", reported.SETTINGS.model_copy(update={"batch_size": 32}))
    large = load_run(make_run(tmp_path / "large"))
    with pytest.raises(
        UnlikeRunsError, match=r"differ in timing, on which step_ms.*timing.batch_size: 8 -> 32"
    ):
        compare(runs["a"], large)


def test_costs_at_another_resolution_are_other_costs(runs):
    small = Run(
        path=runs["a"].path,
        config=runs["a"].config,
        objectives=runs["a"].objectives,
        results=tuple(result(i, accuracy=i / 10) for i in range(1, 4)),
        wall_seconds=0.0,
    )
    assert compare(small, runs["a"], objectives=["accuracy", "params"])
    with pytest.raises(UnlikeRunsError, match="differ in resolution, on which macs depends"):
        compare(small, runs["a"], objectives=["accuracy", "macs"])


def test_groups_are_of_runs_that_compare(runs):
    everything = [runs[name] for name in ("a", "gpu", "b", "digits")]
    groups = like_groups(everything, runs["a"].objectives)
    assert [[run.name for run in group] for group in groups] == [["a", "b"], ["gpu"], ["digits"]]
    assert len(like_groups(everything, [Objective.parse("params")])) == 1


def test_a_volume_is_none_of_another_reference(runs):
    here = compare(runs["a"], runs["b"])
    assert not math.isclose(here.sides[0].hypervolume, runs["a"].hypervolume())
    again = compare(runs["a"], runs["b"], reference=runs["a"].reference())
    assert again.sides[0].hypervolume == pytest.approx(runs["a"].hypervolume())
