"""What the command line does for `effnetv2` it does for `coatnet` and `parameternet`, command by command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proxies.task import reduce
from proxies.training import check_channels
from search_spaces.document import load_architecture
from search_spaces.network import build
from search_spaces.space_document import load_space

PROXY = """
schema: nas.task/1
name: moment
data: {source: digits}
resolution: 16
width_factor: 0.1
depth_factor: 0.1
recipe: {steps: 4, batch_size: 16, optimizer: sgd, learning_rate: 0.05}
"""
RECIPE = """
schema: nas.recipe/1
name: moment
train_resolution: 32
eval_resolution: 32
recipe: {steps: 2, batch_size: 4, optimizer: sgd, learning_rate: 0.01}
"""
FAMILIES = ("coatnet", "parameternet")
SMALL = {"coatnet": "macs<=2e9", "parameternet": "macs<=3e8"}


def nas(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer(folder: Path, *arguments: str) -> Any:
    return json.loads(nas(folder, *arguments, "--json"))


@pytest.mark.parametrize("name", FAMILIES)
def test_members_take_a_step_as_a_search_trains_them(name: str) -> None:
    """Reduced, in the channels_last format, forward and backward, as each candidate of a search."""
    space = load_space(name)
    torch.manual_seed(0)
    for genes in space.sample(np.random.default_rng(5), 3):
        network = build(reduce(space.decode(genes), width_factor=0.1, depth_factor=0.1), 10, resolution=16)
        check_channels(network, 3)
        with pytest.raises(ValueError, match="the network reads 3 channels and the images have 1"):
            check_channels(network, 1)
        network = network.to(memory_format=torch.channels_last)
        images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
        torch.nn.functional.cross_entropy(network(images), torch.arange(4)).backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.thorough
@pytest.mark.parametrize("name", FAMILIES)
def test_every_command_works_on_the_family(name: str, tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").write_text(PROXY)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    fixed = ["--hardware", "cpu", "--executor", "local", "--batch", "2", "--resolution", "64"]
    told = ["--space", name, "--proxy", "proxy.yaml", "--candidates", "3", "--limit", SMALL[name]]
    summary = answer(tmp_path, "search", *told, *fixed)
    assert (summary["evaluated"], summary["failed"]) == (3, 0)
    assert summary["front"]

    resumed = answer(tmp_path, "resume", "latest", "--candidates", "4")
    assert resumed["evaluated"] == 4

    nas(tmp_path, "export", "latest", "--top", "1", "--out", "best")
    (found,) = (tmp_path / "best").glob("*.yaml")
    arch = load_architecture(found)
    assert load_space(name).contains(arch)

    grown = tmp_path / "grown.yaml"
    nas(tmp_path, "scale", str(found), "--rule", name, "--depth", "2", "--out", str(grown))
    deeper = load_architecture(grown)
    assert deeper.num_blocks > arch.num_blocks
    assert [stage.width for stage in deeper.stages] == [stage.width for stage in arch.stages]

    measured = answer(
        tmp_path, "measure", str(found), "--hardware", "cpu", "--batch", "2", "--resolution", "64"
    )
    assert "step_ms" in json.dumps(measured)
    trained = ["--data", "digits", "--recipe", "recipe.yaml", "--hardware", "cpu", "--out", "trained"]
    nas(tmp_path, "train", str(found), *trained)

    nas(
        tmp_path,
        "export",
        str(found),
        "--format",
        "torch",
        "--untrained",
        "--resolution",
        "32",
        "--out",
        "as-torch",
    )
    nas(
        tmp_path,
        "export",
        str(found),
        "--format",
        "safetensors",
        "--untrained",
        "--resolution",
        "32",
        "--out",
        "as-weights",
    )
    for written in [
        *(tmp_path / "as-torch").rglob("*.py"),
        *(tmp_path / "as-weights").rglob("*.safetensors"),
    ]:
        nas(tmp_path, "verify", str(written))

    nas(tmp_path, "report", "latest", "--out", "report.html")
    assert arch.digest[:8] in (tmp_path / "report.html").read_text()
