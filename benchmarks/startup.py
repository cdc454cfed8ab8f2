"""How soon the program answers, against one that imports everything it may ever need.

    python benchmarks/startup.py [REPEATS]

Whole processes, the sides in turn. `--help` and `space list` are what a user types while thinking; they load
none of torch, Ray and fvcore, and each is wanted to start 15 times faster than importing the three.
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVERYTHING = "import torch, ray.tune, fvcore.nn"


def seconds(command: list[str]) -> float:
    """Wall time of a whole process."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main(repeats: int) -> None:
    """Measure and print."""
    nas = shutil.which("nas", path=str(Path(sys.executable).parent))
    if nas is None:
        raise SystemExit("no program `nas` beside this Python; pip install -e .")
    sides = {
        EVERYTHING: [sys.executable, "-W", "ignore", "-c", EVERYTHING],
        "nas --help": [nas, "--help"],
        "nas space list": [nas, "space", "list"],
    }
    times: dict[str, list[float]] = {what: [] for what in sides}
    for command in sides.values():
        seconds(command)  # fills the file cache
    for _ in range(repeats):
        for what, command in sides.items():
            times[what].append(seconds(command))
    print("| what | median s | spread | faster than importing everything |\n|---|---|---|---|")
    for what, values in times.items():
        ratio = statistics.median(whole / own for whole, own in zip(times[EVERYTHING], values, strict=True))
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"| `{what}` | {statistics.median(values):.2f} | {spread} | {ratio:.1f}x |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
