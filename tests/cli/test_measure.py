"""`nas measure` shows what `nas.api.measure` finds, which has its own tests."""

import shutil

import pytest
from nas_program import assert_one_problem, run_here
from recorded_run import timing

from proxies.records import METRIC_NAMES
from search_spaces.document import load_architecture
from search_spaces.shipped import ARCHITECTURES


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
    options += [
        "--memory-format",
        "contiguous",
        "--compile",
        "default",
        "--no-autotune",
        "--recalibrate",
        "--fused-optimizer",
    ]
    assert run_here(capsys, "measure", "efficientnet-b0", *options).code == 0
    expected = {"hardware": "cpu", "resolution": 96, "batch": 4, "precision": "bf16"}
    expected |= {"memory_format": "contiguous", "compile": "default", "autotune": False, "recalibrate": True}
    expected |= {"fused_optimizer": True, "work": "training"}
    expected |= {"tune_runtime": False, "largest_batch": False, "memory_limit_bytes": None}
    assert measured == [(["efficientnet-b0"], expected)]


@pytest.mark.parametrize(
    ("option", "work", "title", "step"),
    [
        ("--inference", "inference", "inference ms", "inference: forward pass in evaluation mode, batch 8"),
        (
            "--onnxruntime",
            "onnx-inference",
            "onnx ms",
            "onnx: forward pass in ONNX Runtime, batch 8",
        ),
    ],
)
def test_inference_is_called_so_wherever_it_is_shown(capsys, monkeypatch, option, work, title, step):
    def measure(architectures, **settings):
        assert settings["work"] == work
        (arch,) = architectures
        return [inference(arch.digest, work)]

    monkeypatch.setattr("nas.api.measure", measure)
    shown = run_here(capsys, "measure", "efficientnetv2-b0", "--hardware", "cpu", option).out
    for fragment in (title, "4.00 [3.90, 4.20]", step):
        assert fragment in shown
    assert "step ms" not in shown
    found = run_here(capsys, "measure", "efficientnetv2-b0", "--hardware", "cpu", option, "--json").json
    prefix = title.removesuffix(" ms")
    assert (found[f"{prefix}_ms"], found[f"{prefix}_ratio"], found["settings"]["work"]) == (4.0, 0.5, work)
    assert "step_ms" not in found


def inference(digest, work):
    time, other = METRIC_NAMES[work]
    found = timing(digest, 1.0)
    metrics = {f"{time}_ms": 4.0, f"{time}_ms_low": 3.9, f"{time}_ms_high": 4.2, f"{time}_ratio": 0.5}
    settings = {**found.details["settings"], "work": work}
    return found.model_copy(
        update={
            "metrics": {**metrics, f"{other}images_per_second": 2000.0},
            "details": {**found.details, "settings": settings},
        }
    )


def test_a_directory_means_the_architectures_in_it(capsys, measured, tmp_path):
    for name in ("efficientnetv2-b1", "efficientnetv2-b0"):
        shutil.copy(ARCHITECTURES / f"{name}.yaml", tmp_path)
    (tmp_path / "notes.txt").write_text("no architecture")
    found = run_here(capsys, "measure", tmp_path, "efficientnet-b0", "--hardware", "cpu", "--json").json
    names = [f"{tmp_path}/efficientnetv2-b0.yaml", f"{tmp_path}/efficientnetv2-b1.yaml", "efficientnet-b0"]
    assert [each["name"] for each in found] == names


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
        (["efficientnetv2-s", "--inference", "--onnxruntime"], 2, ["--onnxruntime", "--inference"]),
        (["EMPTY"], 2, ["no .yaml file in this directory"]),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    capsys, measured, tmp_path, arguments, code, fragments
):
    arguments = [tmp_path if argument == "EMPTY" else argument for argument in arguments]
    assert_one_problem(run_here(capsys, "measure", *arguments), code, *fragments)
    assert measured == []


# --- the plot ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["efficientnetv2-b0", "efficientnetv2-b1"], "2 are named; name one"),
        (["efficientnetv2-b0", "--estimate"], "an estimate has none"),
    ],
)
def test_a_plot_is_of_one_measurement(capsys, measured, arguments, why, tmp_path):
    ended = run_here(capsys, "measure", *arguments, "--plot", tmp_path / "a.png")
    assert ended.code == 2
    assert why in ended.err
    assert not measured


# --- ways of running and the largest batch -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--tune-runtime", "--inference"], "is for measured training steps"),
        (["--tune-runtime", "--estimate"], "is for measured training steps"),
        (["--memory-limit", 1000], "goes with --largest-batch"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys, measured, arguments, why):
    ended = run_here(capsys, "measure", "efficientnetv2-b0", "--hardware", "cpu", *arguments)
    assert ended.code == 2
    assert why in ended.err
    assert not measured


def test_ways_of_running_and_the_largest_batch_are_shown_and_in_json(capsys, monkeypatch):
    way = {"memory_format": "contiguous", "precision": "bf16", "compile": "none", "fused_optimizer": True}
    runtime = [
        way | {"status": "ok", "step_ms": 12.0, "step_ms_low": 11.0, "step_ms_high": 13.0, "why_not": None},
        way
        | {"status": "oom", "step_ms": None, "step_ms_low": None, "step_ms_high": None, "why_not": "oom: x"},
    ]
    found = {"batch_size": 55, "peak_bytes": 2**20, "limit_bytes": 2**21, "refused": 56, "tried": []}
    calls = {}

    def measure(archs, **settings):
        calls.update(settings)
        outcome = timing(archs[0].digest, 12.0)
        more = {"runtime": runtime, "largest_batch": found}
        return [outcome.model_copy(update={"details": outcome.details | more})]

    monkeypatch.setattr("nas.api.measure", measure)
    asked = ["--hardware", "cpu", "--tune-runtime", "--largest-batch", "--memory-limit", 2**21]
    document = run_here(capsys, "measure", "efficientnetv2-b0", *asked, "--json").json
    assert document["runtime"] == runtime
    assert document["largest_batch"] == found
    assert (calls["tune_runtime"], calls["largest_batch"], calls["memory_limit_bytes"]) == (True, True, 2**21)
    shown = run_here(capsys, "measure", "efficientnetv2-b0", *asked).out
    assert "largest batch: 55, 1.0 MiB of 2.0 MiB; 56 does not fit" in shown
    assert "12.00 [11.00, 13.00]  yes" in shown
    assert "no: oom: x" in shown
