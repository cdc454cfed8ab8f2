"""The documents and the program on docs/space-language.md work as they stand there."""

import re
from pathlib import Path

import numpy as np

from search_spaces.document import read_architecture
from search_spaces.nodes import parse_yaml
from search_spaces.space_document import _read_space

PAGE = (Path(__file__).parents[2] / "docs" / "space-language.md").read_text()


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_documents_on_the_page_are_valid():
    architecture, space = snippets("yaml")
    assert read_architecture(parse_yaml(architecture, "page")).num_blocks == 6
    found = _read_space(parse_yaml(space, "page"))
    assert found.size > 1_000
    assert found.within_limits(found.sample(np.random.default_rng(0), 20)).all()


def test_the_program_on_the_page_runs():
    (program,) = snippets("python")
    names: dict = {}
    exec(program, names)
    assert names["mine"].size == 2 * 4 * 2
    assert names["mine"].contains(names["arch"])


def test_every_operation_of_the_table_exists():
    from search_spaces.space import Space

    table = PAGE[PAGE.index("| operation | law |") :]
    named = set(re.findall(r"`(\w+)\(", table)) | {"size", "size_is_exact", "coincidences", "inert_choices"}
    assert named >= {
        "decode",
        "encode",
        "explain",
        "contains",
        "sample",
        "mutate",
        "crossover",
        "features",
        "costs",
    }
    assert all(hasattr(Space, name) for name in named - {"cost"})
