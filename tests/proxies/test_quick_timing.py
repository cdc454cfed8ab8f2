"""The benchmark of quick timing: what it calls met and missed, which networks it takes, a small run of it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search_spaces.architecture import cost
from search_spaces.space_document import load_space

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "quick_timing.py"
ORDER = [float(value) for value in range(1, 11)]
SECONDS = {"quick_seconds": [1.0] * 10, "long_seconds": [20.0] * 10}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("quick_timing", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["quick_timing"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["quick_timing"]


def test_the_same_order_at_little_cost_is_met(script):
    found = script.compare([2 * each for each in ORDER], ORDER, [5, 1, 8, 2, 9, 3, 7, 4, 6, 10], **SECONDS)
    assert found.tau == pytest.approx(1.0)
    assert found.cost_share == pytest.approx(0.05)
    assert found.problems == []


def test_another_order_is_missed(script):
    found = script.compare(ORDER[::-1], ORDER, list(range(10)), **SECONDS)
    assert found.problems == ["tau -1.000 is below 0.85", "multiply-adds rank as well: tau 1.000"]


def test_a_quick_timing_that_takes_long_is_missed(script):
    found = script.compare(ORDER, ORDER, [1, 0] * 5, quick_seconds=[3.0] * 10, long_seconds=[20.0] * 10)
    assert found.problems == ["quick costs 15.0% of long, more than 10%"]


def test_the_networks_differ_and_are_near_one_number_of_macs(script, monkeypatch):
    monkeypatch.setattr(script, "POOL", 600)
    archs = script.equal_in_macs(load_space("tiny"), 30, 32, np.random.default_rng(0))
    macs = [cost(arch, 32).macs for arch in archs]
    assert len({arch.digest for arch in archs}) == 30
    assert max(macs) / min(macs) <= 1.2 / 0.8
    assert len(set(macs)) > 20


def test_too_few_networks_are_refused(script, monkeypatch):
    monkeypatch.setattr(script, "POOL", 20)
    with pytest.raises(ValueError, match=r"^\d+ networks of 20 drawn are within 20% of \S+$"):
        script.equal_in_macs(load_space("tiny"), 30, 32, np.random.default_rng(0))


@pytest.mark.thorough
def test_a_small_run_says_what_it_found(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            "--networks",
            "3",
            "--resolution",
            "16",
            "--batch",
            "4",
            "--long-seconds",
            "2",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert "Kendall's tau with the long timing: quick " in done.stdout, done.stderr
    assert done.stdout.count(" |\n") == 1 + 3
    assert (done.returncode == 0) == done.stdout.endswith("all criteria are met\n")
