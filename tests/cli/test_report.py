from nas_program import assert_one_problem, run_here
from recorded_run import make_run


def test_a_report_goes_into_the_run_unless_told_otherwise(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    ended = run_here(capsys, "report", run)
    assert (ended.code, ended.out.strip()) == (0, str((run / "report.html").resolve()))
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    ended = run_here(capsys, "report", run, "--out", tmp_path / "mine.html", "--json")
    file = tmp_path / "mine.html"
    assert ended.json == {"file": str(file), "bytes": file.stat().st_size, "runs": ["run"]}


def test_several_runs_need_a_name_for_their_report(tmp_path, capsys):
    runs = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    assert_one_problem(run_here(capsys, "report", *runs), 2, "--out", "several runs")
    assert not list(tmp_path.rglob("*.html"))
    ended = run_here(capsys, "report", *runs, "--out", tmp_path / "both.html")
    assert ended.code == 0
    assert '"name":"a"' in (tmp_path / "both.html").read_text()


def test_a_run_that_is_not_there_is_one_line(tmp_path, capsys):
    assert_one_problem(run_here(capsys, "report", tmp_path / "none"), 1, "no run", "none")


def test_a_place_that_cannot_be_written_is_one_line_and_not_resumable(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    ended = run_here(capsys, "report", run, "--out", tmp_path / "missing" / "x.html")
    assert_one_problem(ended, 1, "could not be written")
