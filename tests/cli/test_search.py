"""`nas search` and `nas resume`: options become a configuration, and every end becomes a code and a line.

The searches are stand-ins for `nas.api`, which has its own tests.
"""

import signal
from pathlib import Path

import pytest
import yaml
from nas_program import assert_one_problem, run_here
from recorded_run import make_run

from nas.api import TerminatedError
from nas.config import SearchConfig
from nas.errors import NothingMeasuredError, StoppedEarlyError
from nas.executors.protocol import ExecutorError
from nas.progress import ProgressEvent
from proxies.detection import GIB, Device, Machine
from proxies.hardware import resolve_hardware
from proxies.spool import SpoolError
from results.errors import LedgerWriteError
from results.run import load_run
from search_spaces.limits import InfeasibleError
from search_spaces.space_document import load_space

DONE = ProgressEvent(
    evaluated=5, total=5, failed=1, front_size=3, hypervolume=None, elapsed_seconds=1.0, eta_seconds=0.0
)


class Searches:
    """Takes the place of `nas.api.search` and `resume`; `ends` is raised once the run has been started."""

    def __init__(self):
        self.configs = []
        self.resumed = []
        self.ends = None
        self.starts_run = True

    def search(self, config, *, progress):
        self.configs.append(config)
        if self.starts_run:
            make_run(Path("runs", f"run-{len(self.configs)}"))
        return self._end(progress)

    def resume(self, run, *, progress, changes, retry_failed=False):
        self.resumed.append((run, changes, retry_failed))
        return self._end(progress)

    def _end(self, progress):
        if self.ends is not None:
            raise self.ends
        progress.update(DONE)
        return load_run("latest")


@pytest.fixture
def searches(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = Searches()
    monkeypatch.setattr("nas.api.search", found.search)
    monkeypatch.setattr("nas.api.resume", found.resume)
    return found


EVERYTHING = {
    "--space": ("tiny", "space", "tiny"),
    "--hardware": ("cpu", "hardware", "cpu"),
    "--data": ("digits", "data", "digits"),
    "--candidates": ("12", "candidates", 12),
    "--strategy": ("random", "strategy", "random"),
    "--executor": ("local", "executor", "local"),
    "--workers": ("3", "workers", 3),
    "--objectives": ("accuracy,loss:min", "objectives", ("accuracy", "loss:min")),
    "--limit": ("params<=30e6", "limits", ("params<=30e6",)),
    "--target": ("step_ms<=40", "target", "step_ms<=40"),
    "--reward": ("accuracy*step_ms^-0.1", "reward", "accuracy*step_ms^-0.1"),
    "--warm-start": ("earlier", "warm_start", ("earlier",)),
    "--early-stopping": ("halving", "early_stopping", "halving"),
    "--halving-reduction": ("2", "halving_reduction", 2.0),
    "--halving-first": ("2", "halving_first", 2),
    "--seed": ("7", "seed", 7),
    "--out": ("here", "out", "here"),
    "--time-budget": ("2h", "time_budget_seconds", 7200.0),
    "--proxy": ("quick", "proxy", "quick"),
    "--resolution": ("64", "resolution", 64),
    "--batch": ("16", "batch", 16),
    "--precision": ("bf16", "precision", "bf16"),
    "--inference-batch": ("1", "inference_batch", 1),
    "--predict-steps": ("0.05", "predict_steps", 0.05),
    "--candidate-timeout": ("90s", "candidate_timeout_seconds", 90.0),
    "--memory-limit": ("2GiB", "memory_limit_bytes", 2**31),
    "--max-failed": ("4", "max_failed", 4),
    "--reuse": ("other", "reuse", ("other",)),
    "--ray-address": ("auto", "ray_address", "auto"),
}
FLAGS = {
    "--estimate": "estimate",
    "--gate": "gate",
    "--keep-weights": "keep_weights",
    "--no-reuse": "no_reuse",
    "--allow-plugins": "allow_plugins",
    "--insecure": "insecure",
}


def test_every_setting_has_an_option():
    fields = {field for _, field, _ in EVERYTHING.values()} | set(FLAGS.values())
    assert fields == set(SearchConfig.model_fields)


def test_every_option_reaches_the_configuration(capsys, searches):
    options = [part for option, (text, _, _) in EVERYTHING.items() for part in (option, text)]
    flags = ("keep_weights", "allow_plugins", "insecure")
    options += [f"--{flag.replace('_', '-')}" for flag in flags]
    assert run_here(capsys, "search", *options).code == 0
    expected = {field: value for _, field, value in EVERYTHING.values()}
    assert searches.configs == [SearchConfig(**expected, **dict.fromkeys(flags, True))]


def test_without_options_the_defaults_hold(capsys, searches):
    assert run_here(capsys, "search").code == 0
    assert searches.configs == [SearchConfig()]


def test_help_tells_the_true_defaults(capsys):
    text = " ".join(run_here(capsys, "search", "--help").out.split())
    config = SearchConfig()
    for value in (
        config.space,
        config.hardware,
        config.candidates,
        config.strategy,
        ",".join(config.objectives),
        config.seed,
        config.executor,
        config.proxy,
        f"{config.candidate_timeout_seconds / 60:.0f}m",
    ):
        assert f"default {value}" in text


def test_limits_may_be_repeated(capsys, searches):
    run_here(capsys, "search", "--limit", "params<=3e6", "--limit", "step_ms<=20")
    assert searches.configs[0].limits == ("params<=3e6", "step_ms<=20")


def test_options_come_before_the_file_and_the_file_before_the_defaults(capsys, searches, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("space: tiny\ncandidates: 9\nlimits: [params<=3e6]\nno_reuse: true\n")
    run_here(capsys, "search", "--config", file, "--candidates", "4", "--reuse", "other")
    expected = SearchConfig(space="tiny", candidates=4, limits=("params<=3e6",), reuse=("other",))
    assert searches.configs == [expected]


def test_any_run_yaml_is_a_configuration(capsys, searches, tmp_path):
    make_run(tmp_path / "earlier")
    assert run_here(capsys, "search", "--config", tmp_path / "earlier" / "run.yaml").code == 0
    stored = yaml.safe_load((tmp_path / "earlier" / "run.yaml").read_text())["config"]
    assert searches.configs == [SearchConfig(**stored)]


def test_the_result_is_on_stdout_and_the_progress_on_stderr(capsys, searches):
    ended = run_here(capsys, "search", "--json")
    assert ended.json == load_run("latest").summary()
    assert ended.err == "5/5 front 3, 1 failed\n"
    table = run_here(capsys, "search")
    assert "run: runs/run-2" in table.out
    assert "Test CPU" in table.out


@pytest.mark.parametrize(
    ("ends", "code", "fragment"),
    [
        (
            StoppedEarlyError("9 candidates failed"),
            5,
            "9 candidates failed; go on with: nas resume runs/run-1",
        ),
        (ExecutorError("Ray is gone"), 5, "Ray is gone; go on with: nas resume runs/run-1"),
        (SpoolError("the spool is full"), 5, "the spool is full; go on with: nas resume runs/run-1"),
        (LedgerWriteError("the disk is full"), 5, "the disk is full; go on with: nas resume runs/run-1"),
        (NothingMeasuredError("0 of 3 candidates could be measured"), 1, "0 of 3"),
        (InfeasibleError("nothing within the limits"), 3, "nothing within"),
    ],
)
def test_an_early_end_is_one_line_that_says_how_to_go_on(capsys, searches, ends, code, fragment):
    searches.ends = ends
    assert_one_problem(run_here(capsys, "search"), code, fragment)


def test_what_never_started_cannot_be_resumed(capsys, searches):
    searches.ends, searches.starts_run = ExecutorError("Ray is gone"), False
    ended = run_here(capsys, "search")
    assert (ended.code, ended.err) == (1, "error: Ray is gone\n")


@pytest.mark.parametrize(
    ("ends", "code", "word"),
    [(KeyboardInterrupt(), 130, "interrupted"), (TerminatedError(), 143, "terminated")],
)
def test_interruption_says_how_to_go_on(capsys, searches, ends, code, word):
    searches.ends = ends
    ended = run_here(capsys, "search")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.splitlines() == [
        "everything measured is kept; go on with: nas resume runs/run-1",
        word,
    ]


def test_sigterm_before_the_search_installs_its_own_handler(capsys, searches, monkeypatch):
    monkeypatch.setattr("nas.api.search", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    ended = run_here(capsys, "search")
    assert (ended.code, ended.err) == (143, "terminated\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_resume_passes_what_may_change(capsys, searches, tmp_path):
    path = make_run(tmp_path / "runs" / "first")
    given = ("--candidates", "9", "--workers", "1", "--max-failed", "3", "--retry-failed")
    given += ("--ray-address", "10.0.0.1:6379", "--insecure")
    ended = run_here(capsys, "resume", "first", *given, "--json")
    assert ended.json == load_run("first").summary()
    changes = {"candidates": 9, "workers": 1, "max_failed": 3}
    changes |= {"ray_address": "10.0.0.1:6379", "insecure": True}
    assert searches.resumed == [(path.resolve(), changes, True)]


def test_an_interrupted_resume_names_its_run(capsys, searches, tmp_path):
    path = make_run(tmp_path / "runs" / "first")
    searches.ends = StoppedEarlyError("stopped")
    assert_one_problem(run_here(capsys, "resume", "first"), 5, f"nas resume {path.resolve()}")


def test_without_ray_the_remedy_is_named_and_nothing_is_made(capsys, searches, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_one_problem(run_here(capsys, "search"), 1, "Ray is not installed", "--executor local")
    make_run(tmp_path / "runs" / "first")
    assert_one_problem(run_here(capsys, "resume", "first", "--executor", "ray"), 1, "--executor local")
    assert run_here(capsys, "resume", "first").code == 0, "the run was local"
    assert run_here(capsys, "search", "--executor", "local").code == 0


def test_hardware_is_refused_before_anything_else(capsys, searches, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_one_problem(run_here(capsys, "search", "--hardware", "tpu-v6e", "--space", "none"), 4, "'tpu-v6e'")
    assert searches.configs == []


def test_what_auto_passed_over_is_said(capsys, searches, monkeypatch):
    card = Device(
        kind="cuda", index=0, name="NVIDIA A100", memory_bytes=79 * GIB, defect="torch cannot drive it"
    )
    cpu = Device(kind="cpu", index=0, name="Test CPU")
    machine = Machine(accelerators=(card,), cpu=cpu, torch_version="2.13.0")
    monkeypatch.setattr(resolve_hardware, "__kwdefaults__", {"find": lambda: machine})
    ended = run_here(capsys, "search")
    assert ended.code == 0
    assert ended.err.splitlines()[0] == "NVIDIA A100 (79 GiB) was passed over: torch cannot drive it."


def test_a_dry_run_starts_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "search",
        "--dry-run",
        "--space",
        "tiny",
        "--hardware",
        "cpu",
        "--executor",
        "local",
        "--seed",
        "3",
    ]
    ended = run_here(capsys, *arguments, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["config"]["seed"] == 3
    assert ended.json["space"]["size"] == load_space("tiny").size
    assert [set(each) for each in ended.json["samples"]] == [{"digest", "params", "macs", "architecture"}] * 3
    assert ended.json["predicted_seconds"] is None
    table = run_here(capsys, *arguments)
    for fragment in ("space: tiny", "size of tiny: <= ", "predicted: unknown"):
        assert fragment in table.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "fragments"),
    [
        (["--time-budget", "soon"], 2, ["--time-budget", "'soon'", "90s, 10m, 2h"]),
        (["--time-budget", "-1h"], 2, ["--time-budget"]),
        (["--candidate-timeout", "0"], 2, ["--candidate-timeout", "'0'"]),
        (["--memory-limit", "lots"], 2, ["--memory-limit", "'lots'", "2GiB"]),
        (["--candidates", "0"], 2, ["--candidates"]),
        (["--candidates", "1.5"], 2, ["--candidates", "integer"]),
        (["--seed", "-1"], 2, ["--seed"]),
        (["--workers", "-2"], 2, ["--workers"]),
        (["--objectives", ""], 2, ["objectives", "name one or more"]),
        (["--objectives", "acc"], 2, ["'acc'", "direction"]),
        (["--limit", "params<30"], 2, ["'params<30'", "params<=30e6"]),
        (["--limit", "parms<=30"], 2, ["did you mean 'params'"]),
        (["--space", "effnetv3"], 2, ["effnetv3", "did you mean 'effnetv2'"]),
        (["--space", "none.yaml"], 2, ["none.yaml", "No such file"]),
        (["--strategy", "evolve"], 2, ["'evolve'", "evolution"]),
        (["--executor", "cloud"], 2, ["executor", "'cloud'", "'ray' or 'local'"]),
        (["--precision", "fp8"], 2, ["precision", "'fp8'"]),
        (["--hardware", "a10"], 2, ["'a10'", "did you mean"]),
        (["--config", "none.yaml"], 2, ["none.yaml", "No such file"]),
        (["--reuse", "a", "--no-reuse"], 2, ["--no-reuse", "--reuse"]),
        (["--candidtes", "3"], 2, ["--candidtes", "--candidates"]),
        (["tiny"], 2, ["unexpected", "tiny"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(capsys, tmp_path, monkeypatch, options, code, fragments):
    monkeypatch.chdir(tmp_path)
    arguments = ["search", "--executor", "local", "--space", "tiny", "--hardware", "cpu", *options]
    assert_one_problem(run_here(capsys, *arguments), code, *fragments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("candidtes: 3", ["candidtes: unknown setting"]),
        ("candidates: many", ["candidates", "'many'"]),
        ("[1, 2]", ["expected settings"]),
        ("space: *x", ["mine.yaml:1:"]),
    ],
)
def test_a_bad_configuration_file_is_one_line(capsys, tmp_path, content, fragments):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    assert_one_problem(run_here(capsys, "search", "--config", file), 2, *fragments)
