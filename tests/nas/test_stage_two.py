"""The best of a search, trained in full."""

import json
from pathlib import Path
from typing import Any

import pytest
from nas_program import assert_one_problem, run_here
from recorded_run import architecture, make_run
from small_training import DATA

from nas.errors import ConfigError
from nas.training.stage_two import _data_of, _require_member
from proxies.data.registry import source_document
from results.run import load_run

OPTIONS = (
    "--recipe",
    "quick",
    "--epochs",
    1,
    "--batch",
    512,
    "--resolution",
    8,
    "--hardware",
    "cpu",
    "--threads",
    1,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    return tmp_path


def test_the_best_of_a_front_are_trained_and_a_second_call_trains_none(capsys: Any, here: Path) -> None:
    command = ("train", "run", "--top-k", 2, "--data", "digits", "--out", "full", *OPTIONS)
    ended = run_here(capsys, *command, "--json")
    assert ended.code == 0, ended.err
    first = ended.json
    assert len({each["candidate"] for each in first}) == 2
    for each in first:
        assert each["digest"] == architecture(each["candidate"] - 1).digest  # counted from 1
        assert json.loads((here / each["path"] / "result.json").read_text())["digest"] == each["digest"]
    stamps = [(here / each["path"] / "result.json").stat().st_mtime_ns for each in first]
    again = run_here(capsys, *command, "--resume")
    assert again.code == 0, again.err
    assert [(here / each["path"] / "result.json").stat().st_mtime_ns for each in first] == stamps
    rows = again.out.splitlines()[1:]
    shown = [float(row.split()[2]) for row in rows]
    assert shown == sorted(shown, reverse=True)
    assert {row.split()[0] for row in rows} == {str(each["candidate"]) for each in first}
    assert_one_problem(run_here(capsys, *command), 1, "holds a finished training")
    other = load_run(here / "run").candidate(3)
    with pytest.raises(ConfigError, match="the training of another network"):
        _require_member(here / first[0]["path"], other)


def test_a_run_that_does_not_say_its_data_needs_some(capsys: Any, here: Path) -> None:
    ended = run_here(capsys, "train", "run", "--top-k", 1, "--out", "full", *OPTIONS)
    assert_one_problem(ended, 2, "name the data with --data")


def test_the_data_of_a_run_are_the_default(here: Path) -> None:
    run = load_run(here / "run")
    object.__setattr__(run, "config", {**run.config, "task": {"data": source_document(DATA)}})
    assert _data_of(run) == DATA
