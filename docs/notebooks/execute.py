"""Execute the notebooks, each from a clean kernel in a directory of its own.

python docs/notebooks/execute.py            check that each still runs
python docs/notebooks/execute.py --write    and keep what they print
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 900


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; it finds the files beside it in `folder`, where it also writes.

    Raises:
        CellExecutionError: a cell failed.
    """
    for file in HERE.glob("*.yaml"):
        shutil.copy(file, folder)
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=TIMEOUT_SECONDS, kernel_name="python3", resources=resources, record_timing=False
    )
    client.execute()
    notebook.metadata["language_info"] = {"name": "python"}  # of any version
    return notebook


def main() -> int:
    """Execute all that are named, or all; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as 03; default: all")
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    given = parser.parse_args()
    paths = [
        path for path in sorted(HERE.glob("*.ipynb")) if path.name.startswith(tuple(given.names or [""]))
    ]
    failed = 0
    for path in paths:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                notebook = executed(path, Path(folder))
            except CellExecutionError as error:
                failed += 1
                print(f"{path.name}: failed\n{error}", file=sys.stderr)
                continue
        if given.write:
            nbformat.write(notebook, path)
        print(f"{path.name}: executed in {time.monotonic() - started:.0f} s", flush=True)
    return int(failed > 0 or not paths)


if __name__ == "__main__":
    sys.exit(main())
