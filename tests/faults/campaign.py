"""The whole fault campaign: `make faults`. Every part has a size, prints figures, fails when wrong.

    python tests/faults/campaign.py [--seed N] [--scale 0.1] [PART ...]

What a part claims, tests/faults/test_campaign.py holds it to on a small scale, with a control that must fail.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "search_spaces"), str(FOLDER.parents[1])]

import hostile_documents  # noqa: E402
from executor_faults import load, ray_load, worker_kills  # noqa: E402
from ledger_faults import full_disk, ledger_kills, power_cuts, torn_spool  # noqa: E402
from noisy_neighbour import noisy_neighbour  # noqa: E402
from promises import Figures, Wrong, require  # noqa: E402
from search_faults import full_disk_search, killed_searches  # noqa: E402


def documents(folder: Path, rng: random.Random, count: int, *, thin: int = 1) -> Figures:
    """Bad documents for every reader; of the written ones each `thin`-th."""
    written, mutated, wrong = hostile_documents.try_all(rng, count, thin=thin)
    require(not wrong, f"{len(wrong)} went wrong, the first: {wrong[0] if wrong else ''}")
    return {
        "written": written,
        "mutated": mutated,
        "tracebacks": 0,
        f"over {hostile_documents.MAX_SECONDS:g} s": 0,
    }


PARTS: dict[str, tuple[Callable[..., Figures], int]] = {
    "ledger kills": (ledger_kills, 100),
    "power cuts": (power_cuts, 20),
    "worker kills": (worker_kills, 100),
    "killed searches": (killed_searches, 5),
    "full disk": (full_disk, 60),
    "full disk search": (full_disk_search, 1),
    "torn spool": (torn_spool, 200),
    "hostile documents": (documents, 5000),
    "noisy neighbour": (noisy_neighbour, 10),
    "load": (load, 1000),
    "load on Ray": (ray_load, 300),
}
"""Name -> the part and its size in the whole campaign."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--scale", type=float, default=1.0, help="of every part's size")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    failed = 0
    for name in options.parts or PARTS:
        part, size = PARTS[name]
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="nas-faults-") as folder:
            try:
                figures = part(Path(folder), random.Random(options.seed), max(1, round(size * options.scale)))
                text = ", ".join(f"{key} {value}" for key, value in figures.items())
            except Wrong as wrong:
                failed += 1
                text = f"WRONG: {wrong}"
            except Exception as error:  # noqa: BLE001 -- the other parts still have their say
                failed += 1
                text = f"WRONG: {type(error).__name__}: {error}"
        print(f"{name:18} {time.monotonic() - started:5.0f} s  {text}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
