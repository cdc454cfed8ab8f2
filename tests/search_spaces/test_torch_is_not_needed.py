"""Spaces are read, counted, drawn from and costed without torch, pandas and other heavy libraries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

USE_EVERYTHING_BUT_THE_NETWORK = """
import sys
import numpy as np
import search_spaces.builders, search_spaces.json_schema
from search_spaces.document import architecture_from_document, load_architecture
from search_spaces.space_document import load_space

space = load_space("effnetv2")
rng = np.random.default_rng(0)
genes = space.sample(rng, 20)
space.costs(genes), space.features(genes), space.size, space.mutate(genes[0], rng)
assert space.decode(space.encode(space.decode(genes[0]))) == space.decode(genes[0])
architecture_from_document(load_architecture("efficientnetv2-s").to_document())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_space_is_used_without_heavy_libraries():
    code = [sys.executable, "-c", USE_EVERYTHING_BUT_THE_NETWORK]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"numpy", "search_spaces"} <= loaded
    assert loaded & {"torch", "pandas", "scipy", "sklearn", "fvcore", "ray", "optuna"} == set()


LIST_NAMES = """
import sys
from search_spaces.shipped import ARCHITECTURES, SPACES, shipped_names
print(shipped_names(SPACES), shipped_names(ARCHITECTURES), *sys.modules)
"""


def test_names_of_what_is_shipped_need_not_even_numpy():
    done = subprocess.run(
        [sys.executable, "-c", LIST_NAMES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "'effnetv2'" in done.stdout
    assert not {"numpy", "pydantic", "yaml"} & set(done.stdout.split())
