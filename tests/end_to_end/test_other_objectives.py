"""Objectives beside training speed, searched for as a person would: inference time, and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROXY = """
schema: nas.task/1
name: moment
data: {source: digits}
resolution: 8
recipe: {steps: 4, batch_size: 16, optimizer: sgd, learning_rate: 0.05}
"""
SPACE = """
schema: nas.space/1
name: small
stem: {width: {one_of: [8, 16]}}
stages:
  - stride: 2
    depth: {int: [1, 3]}
    width: {one_of: [16, 48]}
    block: {op: fused_mbconv, expand: {one_of: [1, 4]}}
head: {width: 32}
recipe: {train_resolution: 16, eval_resolution: 24}
"""


def search(folder: Path, *options: str) -> dict:
    (folder / "proxy.yaml").write_text(PROXY)
    (folder / "space.yaml").write_text(SPACE)
    fixed = ["--space", "space.yaml", "--proxy", "proxy.yaml", "--hardware", "cpu", "--executor", "local"]
    command = [sys.executable, "-m", "cli.main", "search", *fixed, "--candidates", "4", "--batch", "2"]
    done = subprocess.run(
        [*command, *options, "--json"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def nas(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.thorough
def test_a_search_for_accurate_networks_that_infer_fast(tmp_path: Path) -> None:
    summary = search(tmp_path, "--objectives", "accuracy,inference_ms", "--inference-batch", "1")
    assert summary["evaluated"] == 4
    assert summary["failed"] == 0
    assert all(member["inference_ms"] > 0 for member in summary["front"])
    ordered = sorted(summary["front"], key=lambda member: member["inference_ms"])
    accuracies = [member["accuracy"] for member in ordered]
    assert accuracies == sorted(accuracies)  # a front: who is slower is more accurate
    import nas as product

    run = product.load_run(tmp_path / "runs" / "latest")
    for result in run.candidates():
        assert 0 < result.value("inference_ms") < result.step_ms  # a part of the step, on smaller batches
        timings = [each.outcome for each in run.records(result) if each.outcome.kind == "time"]
        settings = [outcome.details["settings"] for outcome in timings]
        seen = {(each["work"], each["batch_size"], each["resolution"]) for each in settings}
        assert seen == {("training", 2, 16), ("inference", 1, 24)}
    assert "inference_ms" in nas(tmp_path, "pareto", "latest")
    nas(tmp_path, "export", "latest", "--out", "best")
    exported = next((tmp_path / "best").glob("*.yaml")).read_text()
    assert "inference_ms:" in exported


@pytest.mark.thorough
def test_a_search_for_accurate_networks_that_need_little_memory(tmp_path: Path) -> None:
    summary = search(tmp_path, "--objectives", "accuracy,peak_memory_bytes", "--resolution", "64")
    assert summary["evaluated"] == 4
    assert summary["failed"] == 0
    assert all(member["peak_memory_bytes"] > 0 for member in summary["front"])
    import nas as product

    run = product.load_run(tmp_path / "runs" / "latest")
    kept = [(result.cost.activation_bytes, result.value("peak_memory_bytes")) for result in run.candidates()]
    least, most = min(kept), max(kept)
    assert most[1] > least[1]  # who keeps more activations needs more memory
