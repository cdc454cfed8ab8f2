"""Runs by what people call them, and the logs of searches."""

import json

import pytest
from reported import make_run

from results.errors import RunError
from results.finding import find_run, read_log
from results.predictor_notes import predictor_notes


@pytest.fixture
def root(tmp_path):
    for name in ("alpha", "beta"):
        make_run(tmp_path / name, count=2)
    return tmp_path


def test_a_run_is_found_by_directory_by_name_and_as_the_latest(root, monkeypatch):
    assert find_run(root / "alpha") == root / "alpha"
    assert find_run("alpha", root=root) == find_run(str(root / "alpha")) == root / "alpha"
    assert find_run("latest", root=root) == root / "beta", "links are resolved"
    monkeypatch.chdir(root)
    assert find_run("beta") == root / "beta"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("alhpa", "did you mean alpha"), ("latst", "did you mean latest"), ("x", "holds beta, alpha")],
)
def test_a_run_that_is_not_there_is_told_with_what_is(root, name, hint):
    with pytest.raises(RunError, match=f"no run '{name}' .*{hint}.*give a directory"):
        find_run(name, root=root)


def test_where_there_are_no_runs_that_is_said(tmp_path):
    with pytest.raises(RunError, match="holds no runs"):
        find_run("alpha", root=tmp_path)


def test_a_log_is_read_past_torn_and_foreign_lines(tmp_path):
    assert read_log(tmp_path, "predictors") == ()
    notes = [
        {"event": "predictors", "evaluated": 20, "quality": {"accuracy": {"kendall_tau": 0.5}}},
        {"event": "predictors", "evaluated": 40, "quality": {"accuracy": {"kendall_tau": 0.6, "count": 9}}},
        {"event": "predictors", "evaluated": 60},
    ]
    lines = [json.dumps(note) for note in notes]
    torn = ['{"event": "predictors", "evalu', "[1, 2]", '"predictors"', "\ufffd", '{"event": "started"}']
    (tmp_path / "log.jsonl").write_text("\n".join([lines[0], *torn, *lines[1:]]), encoding="utf-8")
    assert list(read_log(tmp_path, "predictors")) == notes
    assert read_log(tmp_path, "started") == ({"event": "started"},)
    frame = predictor_notes(tmp_path)
    assert frame.evaluated.tolist() == [20, 40]
    assert frame.kendall_tau.tolist() == [0.5, 0.6]
    assert frame["count"].isna().tolist() == [True, False]
