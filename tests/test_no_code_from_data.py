"""Nothing that is read can run: the program's own code has no way to turn data into code."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_spaces", "proxies", "results", "nas", "cli")
MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "tarfile", "zipfile", "aiohttp"}
"""Pickles; and archives, of which none is unpacked."""
NAMES = {"ForkingPickler"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"}
METHODS |= {"Tuner.restore", "tune.Tuner.restore", "shutil.unpack_archive", "numpy.load", "np.load"}
ALLOWED = {
    # What a search sends to its own Ray workers, as `multiprocessing` sends it to its children.
    ("nas/executors/ray_settings.py", "ForkingPickler"),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> Iterator[str]:
    """What in a program could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in MODULES:
                yield str(node.module)
            yield from (a.name for a in node.names if a.name in NAMES)
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in CALLS or name in METHODS:
                yield name
            if any(k.arg == "shell" and getattr(k.value, "value", True) is not False for k in node.keywords):
                yield "shell=True"
            pickled = [k for k in node.keywords if k.arg in ("allow_pickle", "trust_remote_code")]
            yield from (str(k.arg) for k in pickled if getattr(k.value, "value", True) is not False)


def test_no_package_turns_data_into_code() -> None:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    found = {
        (str(file.relative_to(ROOT)), danger) for file in files for danger in dangers(file.read_text("utf-8"))
    }
    assert len(files) > 80
    assert found - ALLOWED == set()
    assert found >= ALLOWED, "what is allowed is not there any more"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load(path, weights_only=False)",
        "yaml.load(text, yaml.Loader)",
        "eval(text)",
        "subprocess.run(line, shell=True)",
        "import tarfile",
        "load_dataset(name, trust_remote_code=True)",
        "tune.Tuner.restore(path)",
    ],
)
def test_the_control_each_danger_is_seen(source: str) -> None:
    assert list(dangers(source))


def test_versions_with_known_holes_are_not_accepted() -> None:
    """Ray below 2.59 has no authentication by default; torch below 2.10 has a hole in its weights' reader."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(line.split(">=") for line in project["dependencies"])
    parsed = {name: tuple(map(int, floor.split("."))) for name, floor in floors.items()}
    assert parsed["ray[tune]"] >= (2, 59)
    assert parsed["torch"] >= (2, 10)
    assert parsed["pyyaml"] >= (6,)
    assert not any(name.startswith(("ray[default]", "aiohttp")) for name in floors), "no dashboard"
