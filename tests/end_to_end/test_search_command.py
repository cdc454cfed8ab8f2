"""The commands on real work: search, show, pareto, export, arch, measure, resume, as a person types them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROXY = """
schema: nas.task/1
name: moment
data: {source: digits}
resolution: 8
recipe: {steps: 6, batch_size: 16, optimizer: sgd, learning_rate: 0.05}
"""
SPACE = """
schema: nas.space/1
name: two-stages
menus:
  block:
    one_of:
      - {op: fused_mbconv, expand: {one_of: [1, 2]}}
      - {op: mbconv, expand: {one_of: [2, 4]}, se: {one_of: [none, {ratio: 0.25}]}}
stem: {width: {one_of: [8, 16]}}
stages:
  - {stride: 1, depth: {int: [0, 2]}, width: 8, block: {use: block}}
  - {stride: 2, depth: {int: [1, 2]}, width: {one_of: [16, 24]}, block: {use: block}}
head: {width: 32}
recipe: {train_resolution: 16, eval_resolution: 16}
"""


def nas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )


def answer(folder: Path, *arguments: str) -> Any:
    done = nas(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space, a proxy and a finished search of three candidates."""
    folder = tmp_path_factory.mktemp("work place")  # a space in the path, as users have
    (folder / "proxy.yaml").write_text(PROXY)
    (folder / "space.yaml").write_text(SPACE)
    summary = answer(
        folder,
        *[
            "search",
            "--space",
            "space.yaml",
            "--proxy",
            "proxy.yaml",
            "--hardware",
            "cpu",
            "--executor",
            "local",
        ],
        *["--candidates", "3", "--batch", "2", "--resolution", "16", "--seed", "4"],
    )
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_the_summary_is_what_scripts_rely_on(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) >= {"run", "evaluated", "failed", "front", "hypervolume", "wall_seconds"}
    assert summary["evaluated"] == 3
    assert summary["failed"] == 0
    assert summary["front"]
    for member in summary["front"]:
        assert set(member) >= {"id", "digest", "accuracy", "step_ms", "params", "macs"}
        assert 0.0 <= member["accuracy"] <= 1.0
        assert member["step_ms"] > 0.0


def test_show_lists_every_candidate(folder: Path) -> None:
    shown = answer(folder, "show", "latest")
    assert len(shown["candidates"]) == 3
    assert {candidate["status"] for candidate in shown["candidates"]} <= {"ok", "unstable"}
    summary = json.loads((folder / "summary.json").read_text())
    assert shown["front"] == summary["front"]


def test_the_run_directory_holds_what_it_should(folder: Path) -> None:
    run = folder / "runs" / "latest"
    names = {path.name for path in run.iterdir()}
    assert names >= {"run.yaml", "ledger.sqlite", "pareto.yaml", "architectures", "log.jsonl"}
    events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert events[0] == "started"
    assert events[-1] == "finished"
    assert list((run / "spool").glob("*")) == []
    fronts = answer(folder, "pareto", "latest")
    members = fronts if isinstance(fronts, list) else fronts["front"]
    assert len(list((run / "architectures").glob("*.yaml"))) == len(members)


def test_an_export_is_an_architecture_everywhere(folder: Path) -> None:
    assert nas(folder, "export", "latest", "--top", "1", "--out", "best").returncode == 0
    (file,) = (folder / "best").glob("*.yaml")
    text = file.read_text()
    assert "provenance:" in text
    assert "measurements:" in text
    shown = answer(folder, "arch", "show", str(file))
    summary = json.loads((folder / "summary.json").read_text())
    member = next(member for member in summary["front"] if member["digest"] == shown["digest"])
    assert (shown["params"], shown["macs"]) == (member["params"], member["macs"])
    measured = answer(folder, "measure", str(file), "--hardware", "cpu", "--resolution", "16", "--batch", "2")
    assert measured["digest"] == shown["digest"]


def test_resuming_a_finished_search_measures_nothing(folder: Path) -> None:
    before = (folder / "runs" / "latest" / "log.jsonl").stat().st_size
    shown = answer(folder, "show", "latest")
    done = nas(folder, "resume", "latest", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["front"] == shown["front"]
    assert (folder / "runs" / "latest" / "log.jsonl").stat().st_size > before


@pytest.mark.thorough
def test_the_configuration_of_a_run_starts_another(folder: Path) -> None:
    """Nothing is measured again, so it is over at once; only the seed's proposals are repeated."""
    summary = answer(folder, "search", "--config", "runs/latest/run.yaml", "--out", "again")
    first = json.loads((folder / "summary.json").read_text())
    assert {member["digest"] for member in summary["front"]} & {m["digest"] for m in first["front"]}
    copied = answer(folder, "show", "again")["candidates"]
    assert {candidate["status"] for candidate in copied} <= {"ok", "unstable"}


def test_another_space_under_the_same_name_is_refused(folder: Path) -> None:
    (folder / "space.yaml").write_text(SPACE.replace("[16, 24]", "[16, 32]"))
    try:
        done = nas(folder, "resume", "latest")
    finally:
        (folder / "space.yaml").write_text(SPACE)
    assert done.returncode != 0
    assert "space changed since this run was started" in done.stderr
    assert "Traceback" not in done.stderr
