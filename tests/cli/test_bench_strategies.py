"""`nas bench` on strategies: its table, its JSON, its refusals."""

import numpy as np
import pytest
from nas_program import assert_one_problem, run_here
from planted_table import planted, write_planted
from recorded_run import CONFIG, timing, training

from results.directory import RunDirectory
from search_spaces.architecture import cost
from search_spaces.space_document import load_space

BOX = ("--reference", "40,100000", "--ideal", "100,60")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "table.csv"
    write_planted(path, load_space("mnasnet"), 120)
    return path


def bench(capsys, table, *options):
    asked = ("--maximize", "accuracy", "--minimize", "seconds", "--strategies", "random,evolution")
    return run_here(capsys, "bench", str(table), "--space", "mnasnet", *asked, *options)


def test_the_json_is_what_scripts_rely_on(capsys, table):
    found = bench(capsys, table, *BOX, "--budget", 60, "--seeds", 5, "--json").json
    assert (found["budget"], found["seeds"]) == (60, 5)
    assert set(found["oracle"]) == {"accuracy", "seconds"}
    assert found["oracle"]["accuracy"]["kendall_tau"] > 0.5
    for name in ("random", "evolution"):
        volumes = found["strategies"][name]["hypervolume"]
        assert list(volumes) == ["50", "60"]
        assert all(each["low"] <= each["mean"] <= each["high"] for each in volumes.values())
        assert volumes["60"]["mean"] >= volumes["50"]["mean"] > 0
        assert found["strategies"][name]["seconds_per_proposal"] > 0
    assert found["significance"]["random"]["baseline"] == "evolution"
    assert 0 <= found["significance"]["random"]["p"] <= 1
    assert found["reference"] == [40.0, 100000.0]


def test_the_table_says_what_the_numbers_are_of(capsys, table):
    ended = bench(capsys, table, *BOX, "--budget", 8, "--seeds", 1, "--oracle", "table")
    assert ended.code == 0
    for fragment in ("random", "at 8", "accuracy 40 to 100", "seconds 100000 to 60", "rows of the table"):
        assert fragment in ended.out


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--oracle", "guess"), ("'guess' is not model or table",)),
        (("--reference", "a,b"), ("'a,b' is not numbers",)),
        (("--reference", "1,2,3"), ("3 values for 2 objectives",)),
        (("--strategies", "rndom"), ("'rndom' is unknown", "did you mean 'random'")),
        (("--maximize", "speed"), ("no column 'speed'",)),
    ],
)
def test_bad_input_is_one_line(capsys, table, options, fragments):
    assert_one_problem(bench(capsys, table, *options), 2, *fragments)


def test_something_must_be_asked(capsys, table):
    assert_one_problem(
        run_here(capsys, "bench", str(table), "--space", "mnasnet"), 2, "--maximize", "--predict"
    )


def write_run(path, searched, count):
    """A run whose candidates are members of `searched`, measured as planted."""
    genes = searched.sample(np.random.default_rng(0), count)
    law = planted(searched, genes)
    with RunDirectory.create(path, hint="tiny", config=CONFIG) as directory, directory.ledger() as ledger:
        for number, row in enumerate(genes):
            arch = searched.decode(row)
            ledger.add_candidate(
                digest=arch.digest,
                architecture=arch.to_document(),
                cost=cost(arch, searched.resolution),
                resolution=searched.resolution,
                origin="random",
                proposal_index=number,
            )
            ledger.record(timing(arch.digest, float(law["seconds"][number])))
            ledger.record(training(arch.digest, float(law["accuracy"][number]) / 100))
    return path


def test_a_run_of_one_s_own_brings_its_space_and_objectives(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "runs" / "mine", load_space("tiny"), 60)
    ended = run_here(
        capsys, "bench", str(run), "--strategies", "random", "--budget", 5, "--seeds", 1, "--json"
    )
    assert ended.json["objectives"] == ["accuracy:maximize", "step_ms:minimize", "params:minimize"]
    assert set(ended.json["oracle"]) == {"accuracy", "step_ms"}


def test_a_run_with_too_little_measured_says_how_much_is_needed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "runs" / "mine", load_space("tiny"), 6)
    assert_one_problem(run_here(capsys, "bench", str(run), "--budget", 5), 2, "6 rows", "50 are needed")


def test_a_table_needs_its_space_named(capsys, table):
    ended = run_here(capsys, "bench", str(table), "--maximize", "accuracy")
    assert_one_problem(ended, 2, "'--space'", "is needed with a table")


def test_the_comparison_is_drawn(capsys, table, tmp_path):
    file = tmp_path / "compared.svg"
    ended = bench(capsys, table, "--budget", 4, "--seeds", 2, "--oracle", "table", "--plot", str(file))
    assert ended.code == 0
    drawn = file.read_text()
    for text in ("networks evaluated", "hypervolume (share of the box)", "random", "evolution"):
        assert text in drawn


def test_a_plot_of_no_known_form_is_refused_first(capsys, table):
    ended = bench(capsys, table, "--budget", 4, "--plot", "compared.gif")
    assert_one_problem(ended, 2, "'--plot'", "does not end in .png")
