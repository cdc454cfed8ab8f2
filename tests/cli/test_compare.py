"""`nas compare` on runs that are on disk."""

import pytest
from anchored import file_anchor
from nas_program import assert_one_problem, run_here
from recorded_run import CONFIG, make_run

import nas.published
from proxies.records import Outcome
from results.anchors import IMAGENET_TOP1
from results.compare import compare
from results.errors import RunMismatchError


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


@pytest.fixture
def measured(runs, monkeypatch):
    """What was asked to be measured, in place of measuring it."""
    asked = []

    def measure_anchors(run, names, *, train, reuse, told):
        if "gpu" in run.name:
            raise RunMismatchError("gpu was measured on NVIDIA A100")
        asked.append((run.name, names, train, [each.name for each in reuse]))
        file_anchor(run, "efficientnet-b0", 15.0, accuracy=0.4)
        file_anchor(run, "efficientnetv2-s", 90.0)
        told("efficientnetv2-s", Outcome(key="k", kind="time", digest="d", status="oom", reason="no memory"))

    monkeypatch.setattr(nas.published, "measure_anchors", measure_anchors)
    monkeypatch.setitem(CONFIG, "hardware", {"device": "Test CPU", "fingerprint": "here"})
    monkeypatch.setitem(CONFIG, "task", {"fingerprint": "task"})
    return asked


def test_anchors_are_measured_once_for_a_group_and_told_apart_from_the_proxy_s(capsys, measured, runs):
    for name in ("third", "fourth"):
        make_run(runs / name)
    ended = run_here(capsys, "compare", "third", "fourth", "--anchors", "--train-anchors")
    assert measured == [("third", tuple(IMAGENET_TOP1), True, ["fourth"])]
    assert len(IMAGENET_TOP1) == 15
    assert "measuring as third was measured: efficientnet-b0, efficientnet-b1" in ended.err
    assert "efficientnetv2-s: timed, oom: no memory" in ended.err
    rows = {line.split()[0]: line.split() for line in ended.out.splitlines() if "efficientnet" in line}
    b0, small = rows["efficientnet-b0"], rows["efficientnetv2-s"]
    assert b0[1:4] == ["third", "0.4", "15"]
    assert b0[5:] == ["0.771", "1", "ok"], "of three on the front, the first is more accurate and faster"
    assert small[1:4] == ["third", "-", "90"]
    assert small[4:] == ["21,458,488", "0.839", "-", "timed,", "not", "trained"]
    assert (
        "ImageNet top-1: as published, at its own resolution, no accuracy of these runs' proxy" in ended.out
    )
    told = run_here(capsys, "compare", "fourth", "third", "--json").json["anchors"]
    assert [each["better"] for each in told] == [1, None], "kept, and told without being asked for"


def test_one_anchor_may_be_named_and_training_alone_is_no_request(capsys, measured, runs):
    run_here(capsys, "compare", "first", "second", "--anchor", "efficientnet-b0")
    assert measured == [("first", ("efficientnet-b0",), False, ["second"])]
    ended = run_here(capsys, "compare", "first", "second", "--train-anchors")
    assert (ended.code, len(measured)) == (2, 1)
    assert "needs --anchors or --anchor NAME" in ended.err


def test_hardware_that_is_not_here_ends_it_unless_groups_are_apart(capsys, measured, runs):
    assert run_here(capsys, "compare", "gpu", "gpu", "--anchors").code == 1
    ended = run_here(capsys, "compare", "gpu", "first", "second", "--anchors", "--separate")
    assert "not measured: gpu was measured on NVIDIA A100" in ended.err
    assert (ended.code, [name for name, *_ in measured]) == (0, ["first"])


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
