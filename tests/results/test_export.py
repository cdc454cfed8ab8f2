"""Files to take away: they read back, hold data only, and are whole."""

import csv
import io
import re

import pytest
import yaml
from recorded import add_candidate, architecture, timing, training

from results.directory import RunDirectory
from results.errors import RunWriteError
from results.export import architecture_text, export_architecture, export_csv, write_front
from results.frame import csv_text
from results.run import load_run
from search_spaces.document import load_architecture, read_yaml

CONFIG = {
    "space": "tiny",
    "seed": 3,
    "objectives": ["accuracy", "step_ms"],
    "versions": {"torch": "2.13.0", "python": "3.11.7"},
    "git": {"commit": "1e45678"},
    "api_token": "not for others",
}


@pytest.fixture
def path(tmp_path):
    root = tmp_path / "runs"
    with (
        RunDirectory.create(root / "größe 1", hint="", config=CONFIG, root=root) as run,
        run.ledger() as ledger,
    ):
        for number, accuracy, step_ms in ((1, 0.9, 30.0), (2, 0.5, 10.0), (3, 0.4, 20.0)):
            add_candidate(ledger, number)
            ledger.record(timing(number, step_ms))
            ledger.record(training(number, accuracy), origin="an earlier run" if number == 2 else None)
        add_candidate(ledger, 4, origin="=HYPERLINK(1)")
        ledger.record(timing(4, status="error", reason="-1+1|cmd"))
    return run.path


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_exported_architecture_reads_back_to_the_same_digest(path, tmp_path, number):
    run = load_run(path)
    target = tmp_path / "taken away.yaml"
    export_architecture(run.candidate(number), run, target)
    read = load_architecture(target)
    assert read.digest == architecture(number).digest
    assert read.name == f"gr-e-1-{number:04d}"


def test_an_export_says_where_it_comes_from_and_what_was_measured(path):
    run = load_run(path)
    data = yaml.safe_load(architecture_text(run.candidate(2), run))
    assert data["provenance"] == {
        "run": "größe 1",
        "candidate": 2,
        "digest": architecture(2).digest,
        "status": "ok",
        "origin": "random",
        "versions": CONFIG["versions"],
        "git": CONFIG["git"],
        "seed": 3,
    }
    timed, trained = data["measurements"]
    assert timed["metrics"] == timing(2, 10.0).metrics
    assert timed["details"]["device"] == "cpu-test"
    assert timed["details"]["settings"]["resolution"] == 64
    assert trained["measured_in"] == "an earlier run"
    assert trained["details"]["curve"] == [[1, 0.25], [2, 0.5]]


def test_an_export_is_readable_and_data_only(path):
    run = load_run(path)
    text = architecture_text(run.candidate(1), run)
    lines = text.splitlines()
    assert lines[0].startswith("schema:")
    assert sum(bool(re.match(r"\s*- \{stride: \d, depth: \d", line)) for line in lines) == 2
    assert "not for others" not in text
    assert not re.search(r"[&*!]\w|<<:", text)
    assert 'commit: "1e45678"' in text


def test_the_front_is_written_whole_and_stale_members_go(path):
    write_front(path)
    front = read_yaml(path / "pareto.yaml")
    assert [member["id"] for member in front["front"]] == [1, 2]
    assert front["hypervolume"]["value"] > 0
    assert set(front["hypervolume"]["reference"]) == {"accuracy", "step_ms"}
    assert front["objectives"][1] == {"name": "step_ms", "direction": "minimize"}
    for member in front["front"]:
        assert load_architecture(path / member["architecture"]).digest == member["digest"]

    (path / "architectures" / "mine.yaml").touch()
    root = path.parent
    with RunDirectory.open(path, root=root) as run, run.ledger() as ledger:
        add_candidate(ledger, 5)
        ledger.record(timing(5, 1.0))
        ledger.record(training(5, 0.95))
    (member,) = write_front(path).pareto()
    assert member.id == 5
    names = {f"0005-{member.digest[:12]}.yaml"}
    assert {file.name for file in (path / "architectures").iterdir()} == names | {"mine.yaml"}


def test_an_empty_front_is_written_too(tmp_path):
    with RunDirectory.create(tmp_path / "a", hint="", config={}, root=tmp_path) as run:
        write_front(run.path)
    front = read_yaml(tmp_path / "a" / "pareto.yaml")
    assert (front["front"], front["hypervolume"]["value"]) == ([], None)


def test_what_cannot_be_written_is_told(path, tmp_path):
    run = load_run(path)
    with pytest.raises(RunWriteError, match="No such file or directory"):
        export_csv(run, tmp_path / "missing" / "table.csv")
    (path / "architectures").touch()
    with pytest.raises(RunWriteError, match="move away what is there"):
        write_front(path)


def test_csv_has_every_candidate_and_no_formulas(path, tmp_path):
    run = load_run(path)
    export_csv(run, tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text(encoding="utf-8")
    assert text == csv_text(run.candidates())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[0]["step_ms"]) == 30.0
    assert rows[3]["step_ms"] == ""
    assert (rows[3]["origin"], rows[3]["reason"]) == ("'=HYPERLINK(1)", "'-1+1|cmd")
    assert not any(cell.startswith(("=", "+", "@", "\t")) for row in rows for cell in row.values())
