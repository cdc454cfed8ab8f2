"""The disk fills up under a search of the real command: it stops with exit code 5, and can be resumed.

The disk is a file system in memory, which needs root.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

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


def _has_candidates(path: Path) -> bool:
    try:
        with Ledger.open(path, read_only=True) as ledger:
            return bool(ledger.candidates())
    except LedgerError:
        return False


def fill_and_resume(folder: Path) -> tuple[int, str, int, int]:
    """Exit code and text of the search, exit code of the resumed one, and the candidates it has measured."""
    disk = folder / "disk"
    disk.mkdir()
    (folder / "proxy.yaml").write_text(PROXY)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], check=True)
    try:
        with _start(folder, *SEARCH, "--out", "disk/run") as search:
            while not _has_candidates(disk / "run" / "ledger.sqlite") and search.poll() is None:
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
        with _start(folder, "resume", "disk/run") as resumed:
            resumed.communicate(timeout=180)
        with Ledger.open(disk / "run" / "ledger.sqlite") as ledger:
            assert ledger.integrity_check() == ()
            trained = {outcome.digest for outcome in ledger.outcomes("train") if outcome.status == "ok"}
        return search.returncode, said, resumed.returncode, len(trained)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
