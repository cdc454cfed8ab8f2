"""`nas scale` grows architectures by rules."""

import pytest
from nas_program import assert_one_problem, run_here

from search_spaces.document import load_architecture


def test_standard_output_is_an_architecture(capsys, tmp_path):
    ended = run_here(
        capsys, "scale", "efficientnetv2-b0", "--rule", "effnetv2", "--width", 1.6, "--depth", 2.2
    )
    assert ended.code == 0
    file = tmp_path / "m.yaml"
    file.write_text(ended.out)
    assert load_architecture(file).digest == load_architecture("efficientnetv2-m").digest


def test_a_size_into_a_file(capsys, tmp_path):
    file = tmp_path / "xl.yaml"
    ended = run_here(
        capsys,
        "scale",
        "efficientnetv2-b0",
        "--rule",
        "effnetv2",
        "--size",
        "xl",
        "--name",
        "mine",
        "--out",
        file,
    )
    assert ended.code == 0
    found = load_architecture(file)
    assert found == load_architecture("efficientnetv2-xl")
    assert found.name == "mine"
    assert "7,139,704" in ended.out
    assert ended.out.splitlines()[-1].split()[:3] == ["mine", str(found.num_blocks), "512"]
    assert str(file) in ended.err


def test_json_has_both_networks(capsys):
    found = run_here(capsys, "scale", "efficientnet-b0", "--size", "b3", "--json").json
    assert found["digest"] == load_architecture("efficientnet-b3").digest
    assert (found["params"], found["resolution"]) == (12_233_232, 300)
    assert found["base"]["params"] == 5_288_548


def test_phi_is_the_compound_coefficient(capsys):
    one = run_here(capsys, "scale", "efficientnet-b0", "--phi", 1, "--json").json
    assert one["resolution"] == round(224 * 1.15)
    deeper = run_here(
        capsys, "scale", "efficientnet-b0", "--phi", 1, "--alpha", 2, "--beta", 1, "--json"
    ).json
    assert [stage["depth"] for stage in deeper["architecture"]["stages"]] == [2, 4, 4, 6, 6, 8, 2]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((), ("say how much to grow",)),
        (("--alpha", 2), ("--alpha needs --phi",)),
        (("--size", "b1", "--width", 2), ("--size has its own factors",)),
        (("--phi", 1, "--width", 2), ("leave out --width",)),
        (("--rule", "compond", "--phi", 1), ("compond", "compound")),
        (("--width", 0), ("above 0",)),
    ],
)
def test_usage_is_explained(capsys, arguments, fragments):
    assert_one_problem(run_here(capsys, "scale", "efficientnet-b0", *arguments), 2, *fragments)
