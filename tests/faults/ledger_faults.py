"""Faults under the ledger and the spool: kills of the writer, power cuts, full disks, torn files."""

import random
import resource
import signal
from collections import Counter
from pathlib import Path

import ledger_killing
import power_cut
from promises import Figures, require

from proxies.records import Outcome
from proxies.spool import Spool
from results.errors import LedgerWriteError
from results.ledger import Ledger


def ledger_kills(folder: Path, rng: random.Random, count: int, *, is_early: bool = False) -> Figures:
    """kill -9 of the ledger's writer. `is_early`: the writer acknowledges before it commits."""
    Ledger.create(folder / "ledger.sqlite").close()
    for _ in range(count):
        ledger_killing.kill_once(folder, rng, dies_at_commit=is_early)
    acknowledged = (folder / "acknowledged").read_text().split()
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        rows = Counter(outcome.key for outcome in ledger.outcomes())
        lost = len(set(acknowledged) - set(rows))
        require(lost == 0, f"{lost} acknowledged outcomes are lost")
        doubled = sum(number - 1 for number in rows.values()) + len(ledger.duplicates())
        require(doubled == 0, f"{doubled} outcomes are doubled")
        require(ledger.integrity_check() == (), "the ledger is damaged")
    return {
        "kills of the writer": count,
        "acknowledged": len(set(acknowledged)),
        "lost": lost,
        "doubled": doubled,
    }


def power_cuts(folder: Path, rng: random.Random, count: int, *, synchronous: str = "FULL") -> Figures:
    """Power cuts; see `power_cut`."""
    reason = power_cut.why_not()
    if reason is not None:
        return {"skipped": reason}
    found = [power_cut.cut_power(folder, rng, synchronous=synchronous) for _ in range(count)]
    lost = sum(lost for _, lost in found)
    require(lost == 0, f"{lost} acknowledged outcomes are lost")
    return {"power cuts": count, "acknowledged": sum(number for number, _ in found), "lost": lost}


def full_disk(folder: Path, rng: random.Random, count: int, *, ignore: bool = False) -> Figures:
    """Writes that fail at a size of a file, a larger one each time. `ignore`: acknowledge anyway."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    acknowledged: list[str] = []
    path = folder / "ledger.sqlite"
    number = failures = 0
    try:
        with Ledger.create(path) as ledger:
            for step in range(count):
                size = max(file.stat().st_size for file in folder.iterdir())
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + rng.randrange(1, 9000), before[1]))
                for _ in range(50):
                    outcome = ledger_killing.outcome_of(number)
                    try:
                        ledger.record(outcome)
                        acknowledged.append(outcome.key)
                        number += 1
                    except LedgerWriteError:
                        failures += 1
                        if ignore:
                            acknowledged.append(outcome.key)
                            number += 1
                        break
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
                if step % 7 == 6:  # the log is folded into the ledger, so that it is written to as well
                    ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    with Ledger.open(path) as ledger:
        lost = set(acknowledged) - {outcome.key for outcome in ledger.outcomes()}
        require(not lost, f"{len(lost)} acknowledged outcomes are lost")
        require(ledger.integrity_check() == (), "the ledger is damaged")
    require(failures > 0, "no write failed")
    return {"failed writes": failures, "acknowledged": len(acknowledged), "lost": 0}


def torn_spool(folder: Path, rng: random.Random, count: int, *, believe: bool = False) -> Figures:
    """Files of the spool cut short or with a bit turned. `believe`: read without the checksum."""
    refused = 0
    for number in range(count):
        spool = Spool(directory=folder / str(number))
        outcome = ledger_killing.outcome_of(number)
        path = spool.write(outcome)
        content = bytearray(path.read_bytes())
        at = rng.randrange(len(content))
        if number % 2:
            del content[at:]
        else:
            content[at] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        found = (
            [Outcome(key="made-up", kind="train", digest="d", status="ok")] if believe else spool.read_all()
        )
        require(found in ([], [outcome]), f"variant {number}: something else was read than was written")
        refused += not found
    return {"torn or flipped files": count, "refused": refused, "misread": 0}
