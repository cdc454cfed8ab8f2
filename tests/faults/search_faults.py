"""Faults under whole searches: full disks, kills of the driver."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import full_disk_search as filling
import power_cut
from promises import Figures, require

from results.ledger import Ledger

FOLDER = Path(__file__).parent


def full_disk_search(folder: Path, rng: random.Random, count: int, *, forget: bool = False) -> Figures:
    """Searches whose disk fills up; see `filling`. `forget`: records go, which must be noticed."""
    if power_cut.why_not() is not None:
        return {"skipped": power_cut.why_not()}
    acknowledged = 0
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        found = filling.fill_and_resume(place, forget=forget)
        stopped = found.exit_code == 5 and "go on with: nas resume" in found.said
        require(stopped, f"exit code {found.exit_code}: {found.said}")
        require(found.resumed_exit_code == 0, f"exit code {found.resumed_exit_code} of the resumed search")
        require(found.lost == 0, f"{found.lost} acknowledged outcomes are lost")
        require(found.trained == filling.CANDIDATES, f"{found.trained} candidates trained in the end")
        acknowledged += found.acknowledged
    return {"searches": count, "exit code": 5, "acknowledged": acknowledged, "lost": 0, "resumed": count}


def killed_searches(folder: Path, rng: random.Random, count: int) -> Figures:
    """A whole search with kills of its driver, and the same without: records, and wall time."""
    candidates = 24 * count
    seconds = []
    for name, kills in (("whole", 0), ("killed", count)):
        run = folder / name
        run.mkdir()
        started = time.perf_counter()
        for kill in range(kills + 1):
            with _search(run, candidates) as driver:
                assert driver.stdout is not None
                limit = candidates * (kill + 1) // (kills + 1) - rng.randrange(4) if kill < kills else None
                for line in driver.stdout:
                    if limit is not None and line.strip().isdigit() and int(line) >= limit:
                        driver.kill()
                        break
        seconds.append(time.perf_counter() - started)
    with Ledger.open(folder / "killed" / "ledger.sqlite") as ledger:
        done = Counter((folder / "killed" / "notes").read_text().split())
        require(len(ledger.candidates()) == candidates, "candidates are missing")
        require(set(done) == {outcome.key for outcome in ledger.outcomes()}, "records and work differ")
        require(ledger.duplicates() == () and ledger.integrity_check() == (), "the ledger is damaged")
    repeated = sum(number - 1 for number in done.values())
    require(repeated <= 4 * count, f"{repeated} jobs ran again, more than were in flight")
    ratio = seconds[1] / seconds[0]
    require(ratio <= 1.5, f"the killed search took {ratio:.2f} times as long")
    return {
        "kills of the driver": count,
        "candidates": candidates,
        "repeated jobs": repeated,
        "wall time": f"x{ratio:.2f}",
    }


def _search(run: Path, candidates: int) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])])
    return subprocess.Popen(
        [sys.executable, str(FOLDER / "killed_search.py"), str(run), "local", str(candidates)],
        env={**os.environ, "PYTHONPATH": path, "NAS_TEST_WORK_SECONDS": "0.5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
