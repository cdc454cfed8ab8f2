"""`nas train` from the command line."""

import json
import signal

import pytest
from nas_program import assert_one_problem, run_here

from cli.training_progress import MAX_EPOCH_LINES, PlainTraining, describe
from nas.training.progress import TrainingEvent

SMALL = """\
schema: nas.architecture/1
name: small
input: {channels: 1}
stem: {width: 8, stride: 1}
stages:
- {stride: 1, depth: 1, width: 8, block: {op: fused_mbconv, expand: 2}}
head: {width: 32}
recipe: {eval_resolution: 8}
"""
OPTIONS = ("--recipe", "quick", "--hardware", "cpu", "--threads", 1, "--epochs", 2, "--batch", 256)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A directory with an architecture and a description of data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "scans.yaml").write_text("{source: digits, channels: 1}\n")
    return tmp_path


def test_a_network_is_trained_from_its_file(capsys, files):
    ended = run_here(capsys, "train", "small.yaml", "--data", "scans.yaml", *OPTIONS)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    result = json.loads((files / "trained/small/result.json").read_text())
    assert lines[1].split() == [
        *("validation", "360"),
        *(f"{result['best'][key]:.4f}" for key in ("top1", "top5", "validation_loss")),
    ]
    assert lines[2].split() == [
        "test",
        "359",
        *(f"{result['test'][key]:.4f}" for key in ("top1", "top5", "loss")),
    ]
    assert "best.safetensors" in ended.err.splitlines()[-1]
    assert ended.err.splitlines()[-2].startswith("8/8 epoch 2 of 2, 8 px, loss ")
    again = run_here(capsys, "train", "trained/small", "--resume", "--json")
    assert again.json == {"path": "trained/small", **result}


def test_an_end_in_order_has_its_own_exit_code(capsys, files, monkeypatch):
    from nas.training import loop

    def told(self, *_):
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr("cli.training_progress.PlainTraining.update", told)
        ended = run_here(capsys, "train", "small.yaml", "--data", "scans.yaml", "--out", "x", *OPTIONS)
    assert ended.code == 143
    assert "go on with: nas train x --resume" in ended.err
    assert loop.LOG_STEPS > 4  # the first report is at the end of the first epoch
    ended = run_here(capsys, "train", "x", "--resume", "--json")
    assert (ended.code, ended.json["last"]["step"]) == (0, 8)


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (("small.yaml",), 2, ("--data digits",)),
        (("small.yaml", "--data", "digts"), 4, ("digits",)),
        (("small.yaml", "--data", "scans.yaml", "--recipe", "adam"), 2, ("adamw",)),
        (("small.yaml", "--data", "scans.yaml", "--precision", "fp16", "--hardware", "cpu"), 2, ("fp16",)),
        (("small.yaml", "--data", "scans.yaml", "--hardware", "cpu", "--batch", 4096), 2, ("1078",)),
        (("small.yaml", "--data", "digits", "--hardware", "cpu"), 2, ("channels",)),
        (("nothing", "--resume"), 1, ("no train.yaml",)),
        (("small.yaml", "--resume", "--data", "digits"), 2, ("leave out --data",)),
    ],
)
def test_what_cannot_be_done_is_explained(capsys, files, arguments, code, fragments):
    assert_one_problem(run_here(capsys, "train", *arguments), code, *fragments)


def event(**changes):
    fields = {
        "step": 10,
        "total_steps": 40,
        "epoch": 1,
        "total_epochs": 4,
        "stage": 0,
        "resolution": 128,
        "loss": 1.23456,
        "top1": 0.5,
        "top5": 0.9,
        "images_per_second": 1234.0,
        "eta_seconds": 200.0,
    }
    return TrainingEvent(**{**fields, **changes})


def test_the_line_says_where_how_well_how_fast_how_long():
    assert (
        describe(event())
        == "epoch 2 of 4, 128 px, loss 1.2346, top-1 0.5000, 1,234 images/s, 3 min 20 s left"
    )
    early = event(top1=None, images_per_second=None, eta_seconds=None)
    assert describe(early) == "epoch 2 of 4, 128 px, loss 1.2346"


@pytest.mark.parametrize(("epochs", "lines"), [(4, 5), (MAX_EPOCH_LINES + 1, 2)])
def test_a_line_for_each_epoch_unless_there_are_many(epochs, lines, tmp_path):
    with (tmp_path / "log").open("w") as stream:
        shown = PlainTraining(stream, clock=lambda: 0.0)
        for step in range(1, 4 * 10 + 1):
            shown.update(event(step=step, epoch=step * 4 // 40, total_epochs=epochs))
    assert len((tmp_path / "log").read_text().splitlines()) == lines
