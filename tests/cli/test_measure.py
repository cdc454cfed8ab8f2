"""`nas measure` shows what `nas.api.measure` finds, which has its own tests."""

import pytest
from nas_program import assert_one_problem, run_here
from recorded_run import timing

from search_spaces.document import load_architecture


@pytest.fixture
def measured(monkeypatch):
    """Takes the place of the measurement: statuses by architecture; the calls are kept."""
    calls = []

    def measure(architectures, **settings):
        calls.append(([arch.name for arch in architectures], settings))
        broken = {"efficientnet-b7": "oom", "efficientnet-b6": "unstable"}
        return [
            timing(arch.digest, 12.0, status=broken.get(arch.name, "ok"), reason=broken.get(arch.name))
            for arch in architectures
        ]

    monkeypatch.setattr("nas.api.measure", measure)
    return calls


def test_one_architecture_is_one_object(capsys, measured):
    ended = run_here(capsys, "measure", "efficientnetv2-b0", "--hardware", "cpu", "--json")
    assert ended.code == 0
    found = ended.json
    assert (found["step_ms_low"], found["step_ms"], found["step_ms_high"]) == (11.76, 12.0, 12.24)
    assert (found["step_ratio"], found["status"], found["name"]) == (1.2, "ok", "efficientnetv2-b0")
    assert found["digest"] == load_architecture("efficientnetv2-b0").digest
    assert found["settings"]["batch_size"] == 8
    assert found["hardware"]["device"] == "Test CPU"


def test_several_are_a_list_in_order(capsys, measured):
    names = ["efficientnetv2-b1", "efficientnetv2-b0"]
    found = run_here(capsys, "measure", *names, "--hardware", "cpu", "--json").json
    assert [each["name"] for each in found] == names


def test_settings_are_passed_on(capsys, measured):
    options = ["--hardware", "cpu", "--resolution", 96, "--batch", 4, "--precision", "bf16"]
    options += ["--memory-format", "contiguous", "--compile", "default", "--no-autotune", "--recalibrate"]
    assert run_here(capsys, "measure", "efficientnet-b0", *options).code == 0
    expected = {"hardware": "cpu", "resolution": 96, "batch": 4, "precision": "bf16"}
    expected |= {"memory_format": "contiguous", "compile": "default", "autotune": False, "recalibrate": True}
    assert measured == [(["efficientnet-b0"], expected)]


def test_the_table_says_what_a_step_is(capsys, measured):
    ended = run_here(capsys, "measure", "efficientnetv2-b0", "--hardware", "cpu")
    for fragment in ("12.00 [11.76, 12.24]", "1.200", "batch 8 at 64 px, fp32", "Test CPU"):
        assert fragment in ended.out


def test_a_failure_is_said_and_ends_with_code_1(capsys, measured):
    ended = run_here(capsys, "measure", "efficientnet-b7", "efficientnet-b0", "--hardware", "cpu", "--json")
    assert ended.code == 1
    assert ended.err == "efficientnet-b7: oom: oom\n"
    assert [each["step_ms"] for each in ended.json] == [None, 12.0]


def test_an_unstable_time_is_said_and_is_no_failure(capsys, measured):
    ended = run_here(capsys, "measure", "efficientnet-b6", "--hardware", "cpu")
    assert ended.code == 0
    assert ended.err == "efficientnet-b6: unstable: unstable\n"
    assert "unstable" in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        ([], 2, ["ARCH"]),
        (["efficientnetv2-x"], 2, ["efficientnetv2-x", "did you mean"]),
        (["efficientnetv2-s", "--hardware", "tpu-v4"], 4, ["tpu-v4", "--hardware"]),
        (["efficientnetv2-s", "--hardware", "h10"], 2, ["'h10'", "did you mean"]),
        (["efficientnetv2-s", "--batch", "0"], 2, ["--batch"]),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(capsys, measured, arguments, code, fragments):
    assert_one_problem(run_here(capsys, "measure", *arguments), code, *fragments)
    assert measured == []
