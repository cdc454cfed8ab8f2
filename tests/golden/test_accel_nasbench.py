"""2,577 real ImageNet networks of the `mnasnet` space with their exact numbers of parameters.

Source: half of the Accel-NASBench archive (afzalxo/Accel-NASBench, Apache-2.0, DAC 2024), one row a network.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from search_spaces.architecture import cost
from search_spaces.space_document import load_space

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "accel_nasbench.csv"
pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"the archive is not at {ARCHIVE}")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with ARCHIVE.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def genes(rows: list[dict[str, str]]) -> np.ndarray:
    """The genotype of each row: the columns of the archive are the places of the space's choices."""
    space = load_space("mnasnet")
    matrix = np.zeros((len(rows), len(space.genes)), dtype=np.int64)
    for number, row in enumerate(rows):
        for index, gene in enumerate(space.genes):
            if len(gene.labels) > 1:
                value = row[gene.column]
                if gene.column.endswith(".se"):
                    value = "none" if float(value) == 0 else f"{{ratio: {float(value)}}}"
                matrix[number, index] = gene.labels.index(value)
    return matrix


def test_every_row_decodes_to_its_number_of_parameters(rows: list[dict[str, str]], genes: np.ndarray):
    space = load_space("mnasnet")
    params = [int(row["params"]) for row in rows]
    assert len(rows) == 2_577
    assert space.costs(genes).params.tolist() == params
    archs = [space.decode(row) for row in genes]
    assert [cost(arch, 224).params for arch in archs] == params


def test_every_row_encodes_back(rows: list[dict[str, str]], genes: np.ndarray):
    space = load_space("mnasnet")
    assert np.array_equal(np.stack([space.encode(space.decode(row)) for row in genes]), genes)
    used = {gene.column for gene in space.genes if len(gene.labels) > 1}
    assert used == {column for column in rows[0] if column.startswith("stages[")}
