"""`nas compare` on runs that are on disk."""

import pytest
from nas_program import assert_one_problem, run_here
from recorded_run import CONFIG, make_run

from results.compare import compare


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two equal runs, and one on another device."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "first")
    make_run(tmp_path / "runs" / "second")
    monkeypatch.setitem(CONFIG, "hardware", {"profile": "a100-80g", "device": "NVIDIA A100"})
    make_run(tmp_path / "runs" / "gpu")
    return tmp_path / "runs"


def test_json_is_the_comparison(capsys, runs):
    ended = run_here(capsys, "compare", "first", "second", "--json")
    assert ended.code == 0
    assert ended.json == compare("first", "second").summary()
    assert [each["share"] for each in ended.json["runs"]] == [1.0, 1.0]


def test_for_people_each_number_is_named(capsys, runs):
    out = run_here(capsys, "compare", "first", runs / "second").out
    for fragment in (
        "hypervolume: of one reference for all, accuracy 0, step_ms 44",
        "100.0 %",
        "epsilon: what this front lacks to cover the other",
        "repeats that differ in their seeds alone: first, second",
        "4 networks were measured by several runs; 3 are on several fronts",
        "to take, at the knee of the joint front: candidate",
    ):
        assert fragment in out


def test_unlike_runs_are_refused_with_the_way_on(capsys, runs):
    ended = run_here(capsys, "compare", "first", "gpu")
    assert_one_problem(
        ended, 1, "differ in hardware", "NVIDIA A100", "--separate", "--objectives accuracy,params"
    )
    assert run_here(capsys, "compare", "first", "gpu", "--objectives", "accuracy,params").code == 0


def test_separate_compares_within_groups_and_says_who_is_alone(capsys, runs):
    ended = run_here(capsys, "compare", "first", "gpu", "second", "--separate", "--json")
    assert [[each["run"] for each in group["runs"]] for group in ended.json["groups"]] == [
        ["first", "second"]
    ]
    assert ended.json["alone"] == ["gpu"]
    out = run_here(capsys, "compare", "first", "gpu", "--separate").out
    assert out.splitlines() == [
        "first: no other of these runs was measured like it",
        "gpu: no other of these runs was measured like it",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["first"], 1, "a single run (first) cannot be compared"),
        (["first", "none"], 1, "no run 'none'"),
        (["first", "second", "--objectives", "speed"], 2, "objective 'speed': no direction is known"),
    ],
)
def test_problems_are_one_line(capsys, runs, arguments, code, fragment):
    assert_one_problem(run_here(capsys, "compare", *arguments), code, fragment)
