"""Importing the packages costs little: what is heavy is loaded on use."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "ray", "pandas", "optuna", "sklearn", "scipy", "fvcore", "plotly", "matplotlib"}

LIGHT_NAMES = """
import nas
for name in ("load_space", "load_architecture", "load_run", "one_of", "cost", "Objective", "Run"):
    getattr(nas, name)
"""


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after a statement, in a process of its own."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_probe_sees_what_is_loaded():
    assert "numpy" in loaded_by("import numpy")


@pytest.mark.parametrize(
    "statement",
    [
        "import nas",
        LIGHT_NAMES,
        "import results, results.run, results.export, results.ledger, results.report.page",
        "import search_spaces, search_spaces.space_document, search_spaces.registry",
        "import proxies.records, proxies.hardware, proxies.detection",
        "import cli.main",
        "import nas.config",
    ],
)
def test_light_imports_load_nothing_heavy(statement):
    assert loaded_by(statement) & HEAVY == set()


def test_the_facade_itself_loads_none_of_our_other_packages():
    own = {"search_spaces", "proxies", "results", "cli"}
    assert loaded_by("import nas") & (own | {"numpy", "pydantic", "yaml"}) == set()


def test_a_wrong_name_is_an_attribute_error_that_names_the_right_ones():
    import nas

    with pytest.raises(AttributeError, match=r"'serach'.*search"):
        nas.serach  # noqa: B018


def test_every_public_name_is_there():
    import nas

    assert {"search", "resume", "measure", "load_run", "load_space", "build", "space", "one_of"} <= set(
        nas.__all__
    )
    for name in nas.__all__:
        assert getattr(nas, name) is not None
        assert name in dir(nas)
