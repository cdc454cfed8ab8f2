"""How long the ledger takes: to record one outcome, and to open a run of N candidates with its front.

    python benchmarks/ledger.py [ROWS]

Prints the median and the 99th percentile of an insert (durable on return), and the time to load the run: on
the clock, and of the processor, which other work on the machine does not lengthen as much.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from proxies.records import Outcome
from results.directory import RunDirectory
from results.ledger import Kind
from results.run import load_run
from search_spaces.cost import Cost

DETAILS = {"device": "cpu", "versions": {"torch": "2.13.0"}, "curve": [[step, 0.5] for step in range(10)]}
ARCHITECTURE = {"stages": [{"stride": 2, "depth": 3, "width": 64, "block": {"op": "mbconv"}}] * 7}


def fill(run: RunDirectory, rows: int) -> list[float]:
    """Seconds of each insert; every candidate has a timing and a training."""
    seconds = []
    with run.ledger() as ledger:
        for number in range(rows):
            digest = f"{number:064x}"
            ledger.add_candidate(
                digest=digest,
                architecture=ARCHITECTURE,
                cost=Cost(number + 1, number + 1, 10 * number, 4 * number),
                resolution=224,
                origin="random",
                proposal_index=number,
            )
            measured: dict[Kind, dict[str, float]] = {
                "time": {"step_ms": 10.0 + number % 97, "step_ms_low": 9.0, "step_ms_high": 120.0},
                "train": {"accuracy": 0.3 + (number * 7919 % 1000) / 2000},
            }
            for kind, metrics in measured.items():
                outcome = Outcome(
                    key=f"{kind}-{number}",
                    kind=kind,
                    digest=digest,
                    status="ok",
                    metrics=metrics,
                    details=DETAILS,
                )
                start = time.perf_counter()
                ledger.record(outcome)
                seconds.append(time.perf_counter() - start)
    return seconds


def main(rows: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with RunDirectory.create(root / "a", hint="", config={"space": "tiny"}, root=root) as run:
            inserts = fill(run, rows)
            path = run.path
        cuts = statistics.quantiles(inserts, n=100)
        print(
            f"insert of {len(inserts)} outcomes: median {1e3 * cuts[49]:.2f} ms, p99 {1e3 * cuts[98]:.2f} ms"
        )
        start = both_clocks()
        loaded = load_run(path)
        opened = both_clocks()
        front = loaded.pareto()
        volume = loaded.hypervolume()
        done = both_clocks()
        print(f"load of {rows} candidates: {told(start, opened)}")
        print(f"front of {len(front)} and hypervolume {volume:.3g}: {told(opened, done)}")


def both_clocks() -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    return time.perf_counter(), time.process_time()


def told(start: tuple[float, float], end: tuple[float, float]) -> str:
    """What has passed of both."""
    return f"{end[0] - start[0]:.2f} s, of the processor {end[1] - start[1]:.2f} s"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
