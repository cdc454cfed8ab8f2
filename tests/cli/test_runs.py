"""`nas list`, `show`, `pareto` and `export` on a run that is on disk."""

import pytest
from nas_program import assert_one_problem, run_here
from recorded_run import MEASURED, architecture, make_run

from results.errors import RunWriteError
from results.frame import COLUMNS
from results.run import load_run
from search_spaces.document import load_architecture


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A working directory with one run, runs/first."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "first")
    return tmp_path / "runs"


def test_a_run_is_named_in_three_ways(capsys, runs):
    shown = [run_here(capsys, "show", name, "--json").json for name in ("first", "latest", runs / "first")]
    assert shown[0] == shown[1] == shown[2]


def test_show_is_the_summary_and_every_candidate(capsys, runs):
    ended = run_here(capsys, "show", "first", "--json")
    shown = ended.json
    candidates = shown.pop("candidates")
    assert shown == load_run("first").summary()
    names = {"run", "evaluated", "failed", "gated", "stopped", "front", "hypervolume", "wall_seconds"}
    assert set(shown) == names
    assert [set(COLUMNS) <= set(each) for each in candidates] == [True] * 5
    assert [each["status"] for each in candidates] == ["ok"] * 4 + ["oom"]
    assert candidates[4]["step_ms"] is None
    for each, (accuracy, step_ms) in zip(candidates, MEASURED.values(), strict=False):
        assert (each["accuracy"], each["step_ms"]) == (accuracy, step_ms)


def test_the_front_has_the_contract_s_keys(capsys, runs):
    front = run_here(capsys, "show", "first", "--json").json["front"]
    assert all({"id", "digest", "accuracy", "step_ms", "params", "macs"} <= set(member) for member in front)
    assert len(front) == 3


def test_show_for_people_says_what_was_measured_on_what(capsys, runs):
    ended = run_here(capsys, "show", "first")
    for fragment in (
        "Test CPU",
        "batch 8 at 64 px",
        "20.00 [19.60, 20.40]",
        "2.000",
        "0.7000",
        "run: runs/first",
        "1 failed",
    ):
        assert fragment in ended.out
    assert "provisional" not in ended.out
    assert "oom" in ended.out
    assert "\x1b" not in ended.out, "the reason holds an escape sequence"


def test_provisional_members_are_marked(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "shaky", status="unstable", reason="the halves disagree")
    ended = run_here(capsys, "pareto", "shaky")
    assert "~ provisional" in ended.out
    assert all(
        member["provisional"] for member in run_here(capsys, "pareto", "shaky", "--json").json["front"]
    )


def test_pareto_is_the_run_s_front(capsys, runs):
    shown = run_here(capsys, "pareto", "first", "--json").json
    run = load_run("first")
    assert [member["id"] for member in shown["front"]] == [member.id for member in run.pareto()]
    assert shown["hypervolume"] == run.hypervolume()
    assert shown["objectives"] == ["accuracy:maximize", "step_ms:minimize", "params:minimize"]


def test_pareto_takes_other_objectives(capsys, runs):
    shown = run_here(
        capsys, "pareto", "first", "--objectives", "accuracy,images_per_second:min", "--json"
    ).json
    assert [member["accuracy"] for member in shown["front"]] == [0.8]
    assert shown["front"][0]["images_per_second"] == 200.0
    table = run_here(capsys, "pareto", "first", "--objectives", "accuracy,images_per_second:min").out
    assert "images_per_second" in table.splitlines()[0]


def test_list_has_a_line_each_and_survives_a_broken_run(capsys, runs):
    make_run(runs / "second")
    (runs / "broken").mkdir()
    (runs / "broken" / "run.yaml").write_text("a: [")
    listed = run_here(capsys, "list", "--json").json
    by_run = {each["run"]: each for each in listed}
    assert set(by_run) == {"runs/first", "runs/second", "runs/broken"}
    assert by_run["runs/first"]["front"] == 3
    assert by_run["runs/first"]["evaluated"] == 5
    assert by_run["runs/first"]["error"] is None
    assert "run.yaml:2:1" in by_run["runs/broken"]["error"]
    assert len(run_here(capsys, "list").out.splitlines()) == 4
    assert len(run_here(capsys, "list", runs).out.splitlines()) == 4


def test_no_runs_are_no_error(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_here(capsys, "list", "--json").json == []
    assert run_here(capsys, "list").out == "no runs in runs\n"


def test_exported_files_are_architectures(capsys, runs, tmp_path):
    ended = run_here(capsys, "export", "latest", "--top", 2, "--out", tmp_path / "best", "--json")
    files = ended.json["files"]
    assert len(files) == 2
    digests = {architecture(number).digest for number in MEASURED}
    for file in files:
        assert load_architecture(file).digest in digests
        assert run_here(capsys, "arch", "show", file, "--json").json["digest"] in digests
    lines = run_here(capsys, "export", "latest", "--out", tmp_path / "all").out.splitlines()
    assert len(lines) == 3


def test_a_module_without_weights_says_so(capsys, runs, tmp_path):
    ended = run_here(capsys, "export", "latest", "--top", 1, "--format", "torch", "--out", tmp_path / "best")
    (file,) = ended.out.splitlines()
    assert file.endswith(".py")
    assert "without weights" in ended.err
    asked = ["export", "efficientnetv2-b0", "--untrained", "--num-classes", 3, "--out", tmp_path / "b0"]
    ended = run_here(capsys, *asked, "--format", "torch", "--json")
    assert [file.rpartition(".")[2] for file in ended.json["files"]] == ["py", "safetensors"]
    assert ended.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (["show", "frist"], 1, ["'frist'", "did you mean first"]),
        (["show", "."], 1, ["run.yaml", "nas list"]),
        (["pareto", "first", "--objectives", "acuracy"], 2, ["'acuracy'", "did you mean accuracy"]),
        (["pareto", "first", "--objectives", ","], 2, ["objectives"]),
        (["pareto", "first", "--objectives", "accuracy:up"], 2, ["'up'", "maximize or minimize"]),
        (["export", "first"], 2, ["--out"]),
        (["export", "first", "--out", "x", "--top", "0"], 2, ["--top"]),
        (["export", "none", "--out", "x"], 1, ["'none'"]),
        (["export", "first", "--out", "x", "--format", "onix"], 2, ["'onix'", "torch, safetensors"]),
        (["export", "first", "--out", "x", "--format", "safetensors"], 1, ["--keep-weights", "nas train"]),
        (["resume", "frist"], 1, ["'frist'", "did you mean first"]),
        (["list", "nowhere"], 2, ["nowhere", "not a directory"]),
    ],
)
def test_bad_input_is_one_line(capsys, runs, arguments, code, fragments):
    assert_one_problem(run_here(capsys, *arguments), code, *fragments)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_damaged_ledger_is_one_line(capsys, runs, content):
    (runs / "first" / "ledger.sqlite").write_bytes(content)
    assert_one_problem(run_here(capsys, "show", "first"), 1, "ledger.sqlite")


def test_a_run_without_a_front_has_nothing_to_export(capsys, runs, tmp_path):
    (runs / "first" / "ledger.sqlite").unlink()
    assert_one_problem(run_here(capsys, "export", "first", "--out", tmp_path / "x"), 1, "nothing to export")
    assert "no front" in run_here(capsys, "show", "first").out


def test_a_full_disk_under_an_export_is_a_failure_and_nothing_to_resume(capsys, runs, monkeypatch):
    def export(run, **choices):
        raise RunWriteError("x.yaml could not be written (No space left on device)")

    monkeypatch.setattr("nas.deploy.export.export", export)
    assert_one_problem(run_here(capsys, "export", "first", "--out", "x"), 1, "No space left")


def test_an_export_that_cannot_be_written_is_a_failure(capsys, runs, tmp_path):
    (tmp_path / "file").write_text("")
    ended = run_here(capsys, "export", "first", "--out", tmp_path / "file")
    assert_one_problem(ended, 1, str(tmp_path / "file"))
