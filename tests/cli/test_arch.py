"""`nas arch` shows the exact costs of architectures."""

import pytest
from nas_program import assert_one_problem, run_here

from proxies.cross_check import CrossCheck
from search_spaces.architecture import cost
from search_spaces.document import architecture_from_document, architecture_names, load_architecture
from search_spaces.shipped import ARCHITECTURES, shipped_names
from search_spaces.text import dump

PUBLISHED = {
    "efficientnetv2-b0": (7_139_704, 718_086_176, 224),
    "efficientnetv2-s": (21_458_488, 8_365_617_152, 384),
    "efficientnetv2-m": (54_139_356, 24_582_460_384, 480),
}
"""Params, multiply-adds and evaluation resolution of the authors' released code."""


def test_list_names_every_shipped_architecture(capsys):
    listed = run_here(capsys, "arch", "list", "--json").json
    assert (
        [each["name"] for each in listed] == list(architecture_names()) == list(shipped_names(ARCHITECTURES))
    )
    by_name = {each["name"]: (each["params"], each["macs"], each["resolution"]) for each in listed}
    assert PUBLISHED.items() <= by_name.items()
    assert len(run_here(capsys, "arch", "list").out.splitlines()) == len(listed) + 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_show_is_exact(capsys, name):
    found = run_here(capsys, "arch", "show", name, "--json").json
    assert (found["params"], found["macs"], found["resolution"]) == PUBLISHED[name]
    assert found["active_params"] == found["params"]
    assert found["name"] == name
    arch = architecture_from_document(found["architecture"])
    assert arch == load_architecture(name)
    assert found["digest"] == arch.digest


def test_resolution_and_classes_are_those_asked_for(capsys):
    arch = load_architecture("efficientnetv2-b0")
    found = run_here(
        capsys, "arch", "show", "efficientnetv2-b0", "--resolution", 97, "--num-classes", 10, "--json"
    ).json
    total = cost(arch, 97, 10)
    assert [found[key] for key in total._fields] == list(total)
    assert found["resolution"] == 97


def test_the_parts_of_the_table_add_up(capsys):
    ended = run_here(capsys, "arch", "show", "efficientnetv2-s", "--resolution", 300)
    lines = [line.split() for line in ended.out.splitlines()]
    rows = [line for line in lines if line and line[0] in ("stem", "stage", "head")]
    total = cost(load_architecture("efficientnetv2-s"), 300)
    numbers = [[int(cell.replace(",", "")) for cell in row[-2:]] for row in rows]
    assert [sum(column) for column in zip(*numbers, strict=True)] == [total.params, total.macs]
    assert f"{total.params:,}" in ended.out
    assert f"{total.macs:,}" in ended.out
    assert "multiply-adds" in ended.err
    assert "300 px" in ended.err


def test_a_file_is_shown_like_a_name(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    document = load_architecture("efficientnet-b0").to_document()
    file.write_text(dump({**document, "name": "mine"}))
    named = run_here(capsys, "arch", "show", "efficientnet-b0", "--json").json
    read = run_here(capsys, "arch", "show", file, "--json").json
    assert read["name"] == "mine"
    assert {key: read[key] for key in ("digest", "params", "macs")} == {
        key: named[key] for key in ("digest", "params", "macs")
    }


def test_check_counts_again(capsys):
    ended = run_here(capsys, "arch", "show", "efficientnetv2-b0", "--resolution", 32, "--check", "--json")
    assert ended.code == 0
    check = ended.json["check"]
    assert check["agrees"] is True
    assert check["params"] == check["built_params"] == ended.json["params"]
    assert check["macs"] == check["flop_counter_macs"] == check["fvcore_macs"] == ended.json["macs"]


def test_a_check_that_disagrees_is_shown_and_fails(capsys, monkeypatch):
    found = CrossCheck(
        resolution=32, num_classes=10, params=5, macs=7, built_params=6, flop_counter_macs=7, fvcore_macs=None
    )
    monkeypatch.setattr("proxies.cross_check.cross_check", lambda *_: found)
    ended = run_here(capsys, "arch", "show", "efficientnetv2-b0", "--check")
    assert ended.code == 1
    assert "the counts differ" in ended.out


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["efficientnetv2-x"], ["efficientnetv2-x", "did you mean"]),
        (["missing.yaml"], ["missing.yaml", "No such file"]),
        (["efficientnetv2-s", "--resolution", "0"], ["--resolution"]),
        (["efficientnetv2-s", "--num-classes", "-3"], ["--num-classes"]),
        (["efficientnetv2-s", "--resolution", "big"], ["--resolution", "integer"]),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, fragments):
    assert_one_problem(run_here(capsys, "arch", "show", *arguments), 2, *fragments)


def test_a_space_is_not_an_architecture(capsys, tmp_path):
    assert run_here(capsys, "space", "copy", "tiny", tmp_path / "tiny.yaml").code == 0
    ended = run_here(capsys, "arch", "show", tmp_path / "tiny.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert "nas.architecture/1" in ended.err
    assert "Traceback" not in ended.err
