"""`nas space` shows, draws, checks and copies what `search_spaces` holds."""

import numpy as np
import pytest
from nas_program import assert_one_problem, run_here

from search_spaces.architecture import cost
from search_spaces.document import architecture_from_document
from search_spaces.shipped import SPACES, shipped_names, shipped_notes
from search_spaces.space_document import load_space, space_names


def test_list_names_every_shipped_space(capsys):
    ended = run_here(capsys, "space", "list", "--json")
    assert ended.code == 0
    assert [each["name"] for each in ended.json] == list(space_names()) == list(shipped_names(SPACES))
    for each in ended.json:
        assert each["notes"] == load_space(each["name"]).notes == shipped_notes(SPACES, each["name"])


@pytest.mark.parametrize("name", ["effnetv2", "mnasnet", "tiny"])
def test_show_is_the_space(capsys, name):
    found, space = run_here(capsys, "space", "show", name, "--json").json, load_space(name)
    assert (found["name"], found["size"]) == (name, space.size)
    assert isinstance(found["size"], int)
    assert found["size_is_exact"] == space.size_is_exact == (name == "mnasnet")
    assert found["coincidences"] == [list(pair) for pair in space.coincidences]
    assert found["inert_choices"] == list(space.inert_choices)
    assert [(p["site"], p["column"], tuple(p["options"]), p["shared"]) for p in found["points"]] == [
        (gene.site, gene.column, gene.labels, gene.shared) for gene in space.genes
    ]


def test_the_table_says_when_the_size_is_an_upper_bound(capsys):
    tiny = run_here(capsys, "space", "show", "tiny").out
    assert f"tiny: <= {load_space('tiny').size:,} architectures" in tiny
    first, second = load_space("tiny").coincidences[0]
    assert f"{first} and {second} can be equal" in tiny
    inert = load_space("tiny").inert_choices
    assert inert
    assert f"whatever is chosen for {', '.join(inert)}" in tiny
    exact = run_here(capsys, "space", "show", "mnasnet").out
    assert "mnasnet: 104,485,552,128 architectures" in exact
    assert "upper bound" not in exact


def test_samples_are_members_with_their_costs(capsys):
    space = load_space("tiny")
    ended = run_here(capsys, "space", "sample", "tiny", "-n", "7", "--seed", "3", "--json")
    members = [architecture_from_document(each["architecture"]) for each in ended.json]
    expected = space.sample(np.random.default_rng(3), 7)
    assert [member.digest for member in members] == [space.decode(row).digest for row in expected]
    for member, each in zip(members, ended.json, strict=True):
        total = cost(member, space.resolution)
        assert space.contains(member)
        assert (each["digest"], each["params"], each["macs"]) == (member.digest, total.params, total.macs)


def test_a_seed_repeats_the_sample_and_another_does_not(capsys):
    drawn = [run_here(capsys, "space", "sample", "tiny", "--seed", seed, "--json").out for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_uniform_draws_otherwise(capsys):
    plain = run_here(capsys, "space", "sample", "tiny", "-n", "20", "--json").out
    assert run_here(capsys, "space", "sample", "tiny", "-n", "20", "--uniform", "--json").out != plain


def test_limits_hold_for_every_sample(capsys):
    ended = run_here(
        capsys,
        "space",
        "sample",
        "tiny",
        "-n",
        "50",
        "--limit",
        "params<=250e3",
        "--limit",
        "macs>=1e6",
        "--json",
    )
    assert len(ended.json) == 50
    assert all(each["params"] <= 250e3 and each["macs"] >= 1e6 for each in ended.json)


def test_the_sample_table_has_a_row_each(capsys):
    ended = run_here(capsys, "space", "sample", "tiny", "-n", "3")
    assert len(ended.out.splitlines()) == 4
    assert f"{load_space('tiny').resolution} px" in ended.err


def test_impossible_limits_are_nothing_feasible(capsys):
    ended = run_here(capsys, "space", "sample", "tiny", "--limit", "params<=10")
    assert_one_problem(ended, 3, "params <= 10", "nearest")


BAD = """schema: nas.space/1
name: bad
stem: {width: 8}
stages:
  - {stride: 2, depth: 1, widht: 16, block: {op: mbconv, kernel: 4, expand: 4}}
head: {width: 64}
"""


def test_validate_accepts_what_can_be_searched(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    assert run_here(capsys, "space", "copy", "tiny", file).code == 0
    assert file.read_bytes() == (SPACES / "tiny.yaml").read_bytes()
    ended = run_here(capsys, "space", "validate", file, "--json")
    assert ended.json == {"valid": True, "name": "tiny", "size": load_space("tiny").size}
    assert "valid" in run_here(capsys, "space", "validate", file).out


def test_validate_names_every_problem_at_its_place(capsys, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    ended = run_here(capsys, "space", "validate", file)
    assert (ended.code, ended.out) == (2, "")
    lines = ended.err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"{file}:5:") for line in lines)
    assert any("did you mean 'width'" in line for line in lines)
    assert any("4 is not odd" in line for line in lines)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("a: [1", ":1:"),
        ("a: &x 1", "anchor"),
        ("", "empty"),
        ("3", "expected a mapping"),
        ("a: 1\na: 2", "already given"),
        ("\x00", ""),
    ],
)
def test_what_is_not_a_document_is_one_line(capsys, tmp_path, content, fragment):
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    ended = run_here(capsys, "space", "validate", file)
    assert_one_problem(ended, 2, str(file), fragment)


def test_copy_does_not_replace_a_file_unless_told(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("precious")
    assert_one_problem(run_here(capsys, "space", "copy", "tiny", file), 2, str(file), "--force")
    assert file.read_text() == "precious"
    ended = run_here(capsys, "space", "copy", "tiny", file, "--force", "--json")
    assert ended.json == {"name": "tiny", "file": str(file)}
    assert file.read_bytes() == (SPACES / "tiny.yaml").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (["show", "tny"], 2, ["tny", "did you mean 'tiny'"]),
        (["show", "no/such.yaml"], 2, ["no/such.yaml", "No such file"]),
        (["show", "."], 2, ["no space or file"]),
        (["copy", "tny", "x.yaml"], 2, ["'tny'", "did you mean tiny"]),
        (["copy", "../spaces/tiny", "x.yaml"], 2, ["no shipped space"]),
        (["copy", "tiny", "/no/such/place.yaml"], 1, ["/no/such/place.yaml", "No such file"]),
        (["sample", "tiny", "-n", "0"], 2, ["-n", "nas space sample --help"]),
        (["sample", "tiny", "-n", "many"], 2, ["-n", "integer"]),
        (["sample", "tiny", "--seed", "-1"], 2, ["--seed"]),
        (["sample", "tiny", "--limit", "parms<=3"], 2, ["'parms<=3'", "did you mean 'params'"]),
        (["sample", "tiny", "--limit", "params=3"], 2, ["params=3", "params<=30e6"]),
        (["sample", "tiny", "--limit", "step_ms<=3"], 2, ["step_ms", "only by measuring"]),
        (["lst"], 2, ["'lst'", "Did you mean 'list'", "nas space --help"]),
        (["show"], 2, ["NAME_OR_FILE"]),
        (["show", "tiny", "--jsn"], 2, ["--jsn", "--json"]),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, arguments, code, fragments):
    monkeypatch.chdir(tmp_path)
    assert_one_problem(run_here(capsys, "space", *arguments), code, *fragments)
    assert list(tmp_path.iterdir()) == []
