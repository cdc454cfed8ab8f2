"""Tables with a planted law: what a network is worth is known, an interaction of choices included."""

import csv
from pathlib import Path

import numpy as np

from search_spaces.space import Genes, Space


def planted(space: Space, genes: Genes) -> dict[str, np.ndarray]:
    """Accuracy from work, depth and one interaction; time linear in work."""
    costs = space.costs(genes)
    together = (genes[:, 0] == genes[:, 0].max()) & (genes[:, -1] == genes[:, -1].max())
    accuracy = 40.0 + 10.0 * np.log(costs.macs / costs.macs.min() + 0.5) + 4.0 * together
    return {"accuracy": accuracy, "seconds": 50.0 + costs.macs / 2e6 + costs.activation_bytes / 4e5}


def write_planted(path: Path, space: Space, count: int, *, noise: float = 0.0, seed: int = 0) -> Genes:
    """A CSV of random members; `noise` is relative to each column's spread. Returns the genotypes."""
    rng = np.random.default_rng(seed)
    genes = space.sample(rng, count)
    columns = {
        name: values + noise * values.std() * rng.standard_normal(count)
        for name, values in planted(space, genes).items()
    }
    chosen = [index for index, gene in enumerate(space.genes) if len(gene.labels) > 1]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(space.genes[index].column for index in chosen), *columns])
        for row, values in zip(genes, np.column_stack(list(columns.values())), strict=True):
            writer.writerow([*(space.genes[index].labels[row[index]] for index in chosen), *values.tolist()])
    return genes
