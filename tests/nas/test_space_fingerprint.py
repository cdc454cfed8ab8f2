"""A space's fingerprint is the same in every process, and another for another space."""

import os
import subprocess
import sys
from pathlib import Path

from nas.objectives import parse_bounds, with_limits
from nas.planning import space_fingerprint
from search_spaces.space_document import load_space, space_names

CODE = """
from nas.planning import space_fingerprint
from search_spaces.space_document import load_space, space_names
print(*(space_fingerprint(load_space(name)) for name in space_names()))
"""


def test_processes_agree():
    """A run could not be resumed otherwise. Addresses and the hashes of strings differ between processes."""
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert found == {" ".join(space_fingerprint(load_space(name)) for name in space_names()) + "\n"}


def test_other_spaces_have_other_fingerprints():
    spaces = [load_space(name) for name in space_names()]
    limited = [with_limits(space, parse_bounds(["params<=1e6"])) for space in spaces]
    assert len({space_fingerprint(space) for space in (*spaces, *limited)}) == 2 * len(spaces)
