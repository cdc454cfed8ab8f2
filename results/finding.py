"""Where a run is, by what a person calls it, and what its log says."""

import contextlib
import difflib
import json
from pathlib import Path
from typing import Any

from results.directory import LATEST, LOG_NAME, ROOT, list_runs
from results.errors import RunError


def find_run(run: str | Path, *, root: Path = ROOT) -> Path:
    """The directory of a run, links resolved: a directory, a name under `root`, or "latest".

    Raises:
        RunError: there is no such run; the nearest names are told.
    """
    for path in (Path(run), root / run):
        if path.is_dir():
            return path.resolve()
    names = [path.name for path in list_runs(root)]
    near = difflib.get_close_matches(Path(run).name, [*names, LATEST], n=3)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"{root} holds {', '.join(names[:3]) or 'no runs'}"
    )
    raise RunError(f"no run {str(run)!r} ({hint}); give a directory, a name under {root}, or {LATEST}")


def read_log(path: Path, event: str) -> tuple[dict[str, Any], ...]:
    """The entries of one kind in the `log.jsonl` of the run in directory `path`, oldest first.

    A line that is not whole, as a writer that was killed may have left one, is passed over.
    """
    try:
        lines = (path / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    entries = []
    for line in lines:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("event") == event:
                entries.append(entry)
    return tuple(entries)
