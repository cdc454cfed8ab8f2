"""The import contracts of pyproject.toml hold, and notice when they do not."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_spaces", "proxies", "results", "nas", "cli")
WRONG = {
    "results/to_the_left.py": "import nas\n",
    "search_spaces/with_ray.py": "def late():\n    import ray\n",
    "results/with_torch.py": "from torch import nn\n",
    "proxies/circle.py": "import proxies.back\n",
    "proxies/back.py": "import proxies.circle\n",
}
"""One offence against each contract."""


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    # -I: the packages are those of `directory`, which import-linter puts in front itself.
    command = [sys.executable, "-I", "-c", code, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_every_contract_is_kept():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


def test_an_offence_against_each_contract_is_noticed(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.yaml", "*.pyc"))
    for file, text in WRONG.items():
        (tmp_path / file).write_text(text)
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 kept, 4 broken" in done.stdout, done.stdout + done.stderr
    for offence in (
        "results.to_the_left -> nas",
        "search_spaces.with_ray -> ray",
        "results.with_torch -> torch",
    ):
        assert offence in done.stdout
    assert "proxies" in done.stdout
