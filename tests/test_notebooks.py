"""The notebooks as they are committed: executed from top to bottom, of this product alone."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind="code"):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def shown(cell):
    """All that a cell printed and returned, as text."""
    texts = []
    for output in cell["outputs"]:
        texts += [output.get("text", ""), *(output.get("data", {}).get(kind, "") for kind in ("text/plain",))]
    return "".join("".join(text) for text in texts)


def test_there_are_five():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_once_in_order_and_without_an_error(path):
    found = cells(path)
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    kinds = {output["output_type"] for cell in found for output in cell["outputs"]}
    assert "error" not in kinds
    assert not any(output.get("name") == "stderr" for cell in found for output in cell["outputs"])
    assert sum(bool(cell["outputs"]) for cell in found) >= len(found) - 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_tells_of_the_place_where_it_was_executed(path):
    text = path.read_text()
    assert re.findall(r"/(?:tmp|home|root|work|Users)/[\w.-]+", text) == []
    assert path.stat().st_size < 1_500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_begins_with_what_it_is_about_and_imports_the_product_alone(path):
    first = "".join(cells(path, "markdown")[0]["source"])
    assert first.startswith("# ")
    source = "\n".join("".join(cell["source"]) for cell in cells(path))
    imported = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
    assert imported <= {"nas", "numpy", "pandas", "torch", "yaml", "pathlib"}
    assert "nas" in imported


def test_the_comparison_overlays_three_fronts_and_says_which_network_to_take():
    found = cells(FOLDER / "02-comparing-fronts.ipynb")
    pictures = [cell for cell in found for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert any("front(*runs)" in "".join(cell["source"]) for cell in pictures)
    told = "".join(shown(cell) for cell in found)
    for label in ("surrogate-0", "surrogate-1", "random-0"):
        assert label in told
    assert "hypervolume" in told
    assert re.search(r"knee: #\d+ of [\w-]+\naccuracy 0\.\d{4}, step \d+\.\d\d ms", told)
    assert "UnlikeRunsError" in told
