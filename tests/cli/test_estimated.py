"""`nas measure --estimate`: step times that nobody measured, never under a measurement's name."""

import pytest
from nas_program import assert_one_problem, run_here

import nas

ASKED = ("measure", "--estimate", "--hardware", "a100-80g")


def test_one_network_is_an_object_and_says_that_it_is_estimated(capsys):
    ended = run_here(capsys, *ASKED, "efficientnetv2-b0", "--json")
    (estimate,) = nas.estimate(["efficientnetv2-b0"], hardware="a100-80g")
    assert ended.code == 0
    assert ended.json["estimated"] is True
    assert ended.json["name"] == "efficientnetv2-b0"
    assert ended.json["digest"] == nas.load_architecture("efficientnetv2-b0").digest
    assert ended.json["estimated_step_ms"] == estimate.estimated_step_ms
    assert not {name for name in ended.json if name.startswith("step_")}, "no measurement's name"
    assert ended.json["basis"]


def test_several_networks_are_a_list_in_their_order_and_the_larger_is_slower(capsys):
    names = ["efficientnetv2-s", "efficientnetv2-b0", "efficientnetv2-m"]
    found = run_here(capsys, *ASKED, *names, "--resolution", 224, "--json").json
    assert [each["name"] for each in found] == names
    small, base, medium = (each["estimated_step_ms"] for each in found)
    assert base < small < medium
    for each in found:
        assert each["estimated_step_ms_low"] < each["estimated_step_ms"] < each["estimated_step_ms_high"]
        assert each["settings"]["resolution"] == 224


@pytest.mark.parametrize(
    ("option", "field", "value"), [("--batch", "batch_size", 32), ("--resolution", "resolution", 96)]
)
def test_settings_are_those_asked_for_and_less_work_is_faster(capsys, option, field, value):
    whole = run_here(capsys, *ASKED, "efficientnetv2-b0", "--json").json
    less = run_here(capsys, *ASKED, "efficientnetv2-b0", option, value, "--json").json
    assert less["settings"][field] == value < whole["settings"][field]
    assert less["estimated_step_ms"] < whole["estimated_step_ms"]


def test_people_are_told_that_it_is_no_measurement(capsys):
    ended = run_here(capsys, *ASKED, "efficientnetv2-b0")
    head, row, _, said = ended.out.splitlines()
    assert head.split()[:4] == ["architecture", "estimated", "step", "ms"]
    (estimate,) = nas.estimate(["efficientnetv2-b0"], hardware="a100-80g")
    assert f"{estimate.estimated_step_ms:.2f} [" in row
    assert said.startswith(
        "estimated, not measured: forward, backward and optimizer, bf16, on NVIDIA A100 80 GB"
    )
    several = run_here(capsys, "measure", "--estimate", "--hardware", "a100", "efficientnetv2-b0")
    assert several.err.strip() == "a100 is a100-40g or a100-80g; estimated for a100-80g"
    assert several.out == ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["efficientnetv2-b0", "--hardware", "a1000"], 2, "'a1000' is unknown"),
        (["efficientnetv2-b9", "--hardware", "a100-80g"], 2, "efficientnetv2-b9"),
        (["efficientnetv2-b0", "--hardware", "cpu"], 2, "cpu"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(capsys, arguments, code, fragment):
    assert_one_problem(run_here(capsys, "measure", "--estimate", *arguments), code, fragment)
