"""Where what outlives a run is kept for one user on one machine."""

import os
from pathlib import Path

VARIABLE = "NAS_CACHE_DIR"


def cache_folder() -> Path:
    """NAS_CACHE_DIR, else `training-aware-nas` in XDG_CACHE_HOME, else in ~/.cache."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "training-aware-nas"
