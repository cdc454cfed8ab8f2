"""The benchmark of repeatability: what it calls met and missed, and a small run of it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "repeatability.py"
SMALL = ["--networks", "2", "--resolution", "16", "--batch", "4", "--budget-seconds", "3"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("repeatability", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "repeatability", module)
        spec.loader.exec_module(module)
        yield module


def passes(script, ratios, accepted=None):
    accepted = accepted or [True] * len(ratios)
    return [
        script.Timed(ratio=ratio, is_accepted=good, seconds=1.0)
        for ratio, good in zip(ratios, accepted, strict=True)
    ]


@settings(max_examples=20)
@given(st.lists(st.floats(0.1, 10.0), min_size=20, max_size=20), st.floats(-0.029, 0.029))
def test_ratios_that_differ_little_are_met(script, ratios, apart):
    again = [ratio * (1 + apart) for ratio in ratios]
    assert script.agreement(passes(script, ratios), passes(script, again)).problems == []


@pytest.mark.parametrize("apart", [0.06, -0.06])
def test_one_ratio_too_far_is_missed(script, apart):
    again = [1.0] * 19 + [1.0 + apart]
    found = script.agreement(passes(script, [1.0] * 20), passes(script, again))
    assert found.problems == ["two ratios are 6.0% apart, more than 5%"]


def test_a_middle_too_far_is_missed(script):
    again = [1.0] * 9 + [1.04] * 11
    found = script.agreement(passes(script, [1.0] * 20), passes(script, again))
    assert found.problems == ["the median difference is 4.0%, more than 3%"]


def test_networks_refused_once_count_as_refused_and_their_ratios_as_nothing(script):
    first = passes(script, [1.0] * 20, [False] * 3 + [True] * 17)
    second = passes(script, [3.0] * 6 + [1.0] * 14, [True] * 3 + [False] * 3 + [True] * 14)
    assert script.agreement(first, second).problems == ["only 14 of 20 networks were accepted twice"]
    assert script.agreement(first, passes(script, [1.0] * 20)).problems == []
    assert script.agreement(passes(script, [None]), passes(script, [1.0])).differences == ()


@pytest.mark.thorough
def test_the_neighbour_computes_and_is_gone_afterwards(script):
    with script.neighbour(idle_seconds=0.0):
        (process,) = (
            each
            for each in psutil.Process().children()
            if any("spawn_main" in part for part in each.cmdline())
        )
        shares = [process.cpu_percent(interval=0.5) for _ in range(12)]
        assert max(shares) > 10.0  # of a core, on a machine however busy
    assert not process.is_running()


@pytest.mark.thorough
@pytest.mark.parametrize("control", [[], ["--control"]])
def test_a_small_run_says_what_it_found(control, tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, *SMALL, *control],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert "accepted twice: " in done.stdout, done.stderr
    assert done.stdout.count(" |\n") == 1 + 2
    assert (done.returncode == 0) == done.stdout.endswith("all criteria are met\n")
    if control:
        assert done.returncode == 1
