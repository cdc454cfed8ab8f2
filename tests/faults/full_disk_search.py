"""The disk fills up under a search of the real command: it stops with exit code 5, and can be resumed.

The disk is a file system in memory, which needs root.
"""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from proxies.records import Outcome
from results.errors import LedgerError
from results.ledger import Ledger

ROOT = Path(__file__).parents[2]
DISK_BYTES = 80 * 2**20
PROXY = """
schema: nas.task/1
name: moment
data: {source: digits}
resolution: 8
recipe: {steps: 6, batch_size: 16, optimizer: sgd, learning_rate: 0.05}
"""
CANDIDATES = 3
SEARCH = ["search", "--space", "tiny", "--proxy", "proxy.yaml", "--hardware", "cpu", "--executor", "local"]
SEARCH += ["--batch", "2", "--resolution", "16", "--no-reuse", "--candidates", str(CANDIDATES)]


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _outcomes(path: Path) -> tuple[Outcome, ...]:
    """What is on record; nothing where there is no ledger yet."""
    try:
        with Ledger.open(path, read_only=True) as ledger:
            return tuple(ledger.outcomes())
    except LedgerError:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """How a search on a disk that filled up ended, and the one that went on with it."""

    exit_code: int
    said: str
    acknowledged: int
    lost: int
    """Outcomes that were acknowledged before and are no longer, or are others."""
    resumed_exit_code: int
    trained: int
    """Candidates with a training in the end."""


def fill_and_resume(folder: Path, *, forget: bool = False) -> Filled:
    """Fill the disk once there is an outcome, free it, and resume. `forget`: the records go in between."""
    disk = folder / "disk"
    disk.mkdir()
    ledger_path = disk / "run" / "ledger.sqlite"
    (folder / "proxy.yaml").write_text(PROXY)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], check=True)
    try:
        with _start(folder, *SEARCH, "--out", "disk/run") as search:
            while not _outcomes(ledger_path) and search.poll() is None:
                time.sleep(0.1)
            filler = disk / "filler"
            try:
                with filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(b"x" * 4096)
            except OSError:
                pass
            said = search.communicate(timeout=180)[1]
        filler.unlink()
        acknowledged = _outcomes(ledger_path)
        if forget:
            with closing(sqlite3.connect(ledger_path)) as connection, connection:
                connection.execute("DELETE FROM outcomes")
        with _start(folder, "resume", "disk/run") as resumed:
            resumed.communicate(timeout=180)
        with Ledger.open(ledger_path) as ledger:
            assert ledger.integrity_check() == ()
        outcomes = _outcomes(ledger_path)
        return Filled(
            exit_code=search.returncode,
            said=said,
            acknowledged=len(acknowledged),
            lost=sum(outcome not in outcomes for outcome in acknowledged),
            resumed_exit_code=resumed.returncode,
            trained=len({each.digest for each in outcomes if each.kind == "train" and each.status == "ok"}),
        )
    finally:
        subprocess.run(["umount", str(disk)], check=True)
