"""`nas doctor` finds what is in the way, and says nothing when nothing is."""

import sys
from pathlib import Path

import pytest
from nas_program import ROOT, assert_one_problem, run_here
from recorded_run import make_run

from cli.doctor import REQUIRED, examine, shadows
from cli.errors import OWN_PACKAGES

OWN = ROOT


def test_a_sound_installation_has_no_problems(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run_here(capsys, "doctor", "--json")
    assert (ended.code, ended.json["problems"], ended.json["shadowed"]) == (0, [], [])
    assert ended.json["packages"]["torch"]
    assert "local" in ended.json["executors"]
    assert ended.json["runs"]["free_bytes"] > 0
    assert "nothing is in the way" in run_here(capsys, "doctor").out


def make_package(directory, name):
    (directory / name).mkdir()
    (directory / name / "__init__.py").write_text("")
    return str(directory / name / "__init__.py")


@pytest.mark.parametrize("name", OWN_PACKAGES)
def test_a_package_of_the_same_name_in_front_is_found(tmp_path, name):
    place = make_package(tmp_path, name)
    assert shadows(OWN_PACKAGES, [str(tmp_path), str(OWN)], OWN) == [{"name": name, "by": place}]


def test_a_module_of_the_same_name_in_front_is_found(tmp_path):
    (tmp_path / "results.py").write_text("")
    found = shadows(OWN_PACKAGES, [str(tmp_path), str(OWN)], OWN)
    assert found == [{"name": "results", "by": str(tmp_path / "results.py")}]


def test_what_comes_later_or_is_no_package_shadows_nothing(tmp_path):
    make_package(tmp_path, "nas")
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "results").mkdir()  # only a folder: our package comes before it all the same
    assert shadows(OWN_PACKAGES, [str(tmp_path / "front"), str(OWN), str(tmp_path)], OWN) == []


def test_nothing_shadows_our_packages_in_this_very_process():
    assert shadows(OWN_PACKAGES, sys.path, OWN) == []


def test_a_shadow_in_the_working_directory_is_a_problem(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = make_package(tmp_path, "results")
    ended = run_here(capsys, "doctor")
    assert ended.code == 1
    assert f"problem: {place} is imported instead" in ended.out


def test_missing_packages_are_problems_unless_they_are_optional(monkeypatch, tmp_path):
    monkeypatch.setattr("cli.doctor._version", lambda name: None if name in ("ray", "scipy") else "1.0")
    found = examine(tmp_path, sys.path)
    assert [problem for problem in found["problems"] if "not installed" in problem] == [
        "scipy is not installed; pip install scipy"
    ]
    assert found["executors"] == ["local"]


def test_too_little_space_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr("cli.doctor._free_bytes", lambda directory: 1024)
    assert any("1.0 KiB free" in problem for problem in examine(tmp_path, sys.path)["problems"])


def test_what_is_required_is_what_the_distribution_requires():
    import tomllib

    project = tomllib.loads((Path(ROOT) / "pyproject.toml").read_text())["project"]
    declared = {requirement.split(">")[0].partition("[")[0] for requirement in project["dependencies"]}
    assert set(REQUIRED) == declared - {"ray"}


def test_a_run_is_examined_and_salvaged(capsys, tmp_path):
    path = make_run(tmp_path / "runs" / "first")
    sound = run_here(capsys, "doctor", path)
    assert sound.code == 0
    assert "the run is whole" in sound.out
    content = bytearray((path / "ledger.sqlite").read_bytes())
    content[-4096:] = bytes(4096)
    (path / "ledger.sqlite").write_bytes(content)
    damaged = run_here(capsys, "doctor", path, "--json")
    assert damaged.code == 1
    assert damaged.json["problems"]
    saved = run_here(capsys, "doctor", path, "--salvage", tmp_path / "saved")
    assert saved.code == 0, saved
    assert f"nas resume {tmp_path / 'saved'}" in saved.out
    assert run_here(capsys, "doctor", tmp_path / "saved").code == 0
    assert run_here(capsys, "show", tmp_path / "saved").code == 0


def test_salvage_needs_a_run(capsys, tmp_path):
    assert_one_problem(run_here(capsys, "doctor", "--salvage", tmp_path / "x"), 2, "needs a RUN")
