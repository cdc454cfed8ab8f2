"""The guide to adding a block is followed to the letter: two files, a line in the registry, tests."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from proxies.task import reduce
from search_spaces.json_schema import schema_text, schemas
from search_spaces.network import build
from search_spaces.registry import BLOCKS, BlockKind
from search_spaces.space_document import space

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "adding-a-block.md"
SPECIFICATION, LAYER = "search_spaces/blocks/basic.py", "search_spaces/layers/basic.py"
REGISTRY, TESTS = "search_spaces/registry.py", "tests/search_spaces/test_basic_block.py"


def files_of_the_guide() -> dict[str, str]:
    """Path -> text of every code block with a title."""
    text = GUIDE.read_text()
    return dict(re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL))


FILES = files_of_the_guide()


def test_the_guide_touches_two_files_one_line_and_its_tests():
    assert set(FILES) == {SPECIFICATION, LAYER, REGISTRY, TESTS}
    assert len(FILES[REGISTRY].splitlines()) == 1
    assert not any((ROOT / path).exists() for path in (SPECIFICATION, LAYER, TESTS))


@pytest.fixture
def follow(monkeypatch, tmp_path):
    """The guide's files as modules of the product, and its line in the registry."""

    def module(path: str) -> ModuleType:
        name = path.removesuffix(".py").replace("/", ".")
        file = tmp_path / Path(path).parent.name / Path(path).name
        file.parent.mkdir(exist_ok=True)
        file.write_text(FILES[path])
        found = importlib.util.spec_from_file_location(name, file)
        made = importlib.util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, name, made)
        found.loader.exec_module(made)
        return made

    specification = module(SPECIFICATION)
    module(LAYER)
    line = eval("{" + FILES[REGISTRY].strip() + "}", {"BlockKind": BlockKind, "Basic": specification.Basic})
    ((op, kind),) = line.items()
    monkeypatch.setitem(BLOCKS, op, kind)
    return module


def test_the_guides_own_tests_pass(follow):
    tests = follow(TESTS)
    torch.manual_seed(0)
    for act, padding in (("relu", "symmetric"), ("silu", "same")):
        tests.test_costs_equal_the_built_network(act, padding)


@pytest.mark.usefixtures("follow")
def test_the_new_block_is_searched_like_any_other():
    found = space(
        {
            "name": "with-basic",
            "stem": {"width": 8},
            "stages": [
                {
                    "stride": 2,
                    "depth": {"int": [1, 2]},
                    "width": {"one_of": [8, 16]},
                    "block": {
                        "one_of": [
                            {"op": "basic", "kernel": {"one_of": [3, 5]}},
                            {"op": "mbconv", "expand": {"one_of": [2, 4]}},
                        ]
                    },
                }
            ],
            "head": {"width": 16},
            "rules": [{"forbid": {"block.op": "basic", "block.kernel": 5, "depth": 2}}],
        }
    )
    assert (found.size, found.size_is_exact) == (2 * 2 * (2 + 2) - 2, True)
    members = [found.decode(genes) for genes in found.sample(np.random.default_rng(0), 50)]
    assert all(found.decode(found.encode(arch)) == arch for arch in members)
    arch = next(arch for arch in members if arch.stages[0].block.op == "basic")
    network = build(reduce(arch, width_factor=0.5, depth_factor=1.0), 3)
    network(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert '"basic"' in schema_text(schemas()["space.schema.json"])


@pytest.mark.thorough
def test_the_guides_files_pass_the_checks(tmp_path):
    for path in (SPECIFICATION, LAYER, TESTS):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FILES[path])
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
