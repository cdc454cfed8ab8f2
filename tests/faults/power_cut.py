"""Cutting the power under a ledger: the writer is stopped, and what its disk holds at that moment is copied.

The ledger lives on an ext4 file system in a file. What is only in the page cache is not in that file, as it
would not be on a disk; so a copy of the file is what a machine finds after a power cut. Needs root and a loop
device.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from results.errors import LedgerError
from results.ledger import Ledger

IMAGE_BYTES = 12 * 2**20
ROOT = Path(__file__).parents[2]
WRITER = """
import os, sys
from pathlib import Path
from ledger_killing import outcome_of
from results.ledger import Ledger
with Ledger.create(Path(sys.argv[1]) / "ledger.sqlite") as ledger:
    ledger._connection.execute(f"PRAGMA synchronous = {sys.argv[2]}")
    number = 0
    while True:
        ledger.record(outcome_of(number))
        os.write(1, f"{outcome_of(number).key}\\n".encode())
        number += 1
"""


def why_not() -> str | None:
    """Why no power can be cut here; None where it can."""
    if os.geteuid() != 0:
        return "needs root, to mount a file system in a file"
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    return None if Path("/dev/loop-control").exists() else "needs loop devices"


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def cut_power(folder: Path, rng: random.Random, *, synchronous: str) -> tuple[int, int]:
    """One cut at a random moment: how many outcomes were acknowledged, how many of them are lost.

    All count as lost where the ledger cannot be opened any more.
    """
    image, copy, place = folder / "disk.img", folder / "copy.img", folder / "disk"
    place.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", image)
    _run("mount", "-o", "loop", image, place)
    try:
        path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place), synchronous],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [writer.stdout.readline().strip() for _ in range(rng.randrange(1, 60))]
            os.kill(writer.pid, signal.SIGSTOP)
            os.waitpid(writer.pid, os.WUNTRACED)
            shutil.copyfile(image, copy)
            writer.kill()
            # What is still in the pipe may have been acknowledged before the copy: the writer stood still.
            rest = writer.stdout.read()
            acknowledged += [line for line in rest.split("\n")[:-1] if line]
    finally:
        _run("umount", place)
    _run("mount", "-o", "loop", copy, place)
    try:
        try:
            with Ledger.open(place / "ledger.sqlite") as ledger:
                found = {outcome.key for outcome in ledger.outcomes()}
                assert ledger.integrity_check() == ()
        except LedgerError:
            found = set()
    finally:
        _run("umount", place)
    return len(acknowledged), len(set(acknowledged) - found)
