"""A program that kills writers of one ledger, again and again, at random moments of their work.

    python ledger_killing.py DIRECTORY SEED KILLS commit|early

Each writer takes up where the ledger stands, files candidates and outcomes, and appends each key to
`acknowledged` once `record` has returned. With `early` the broken way is played: the key is written out when
COMMIT begins, and the writer dies just then. Writers are forked from here: a kill costs milliseconds.
"""

import os
import random
import select
import signal
import sys
import time
from functools import partial
from pathlib import Path

from proxies.records import Outcome
from results.ledger import Ledger
from search_spaces.cost import NO_COST


def outcome_of(number):
    return Outcome(
        key=f"key-{number:06d}",
        kind="train",
        digest=f"digest-{number:06d}",
        status="ok",
        metrics={"accuracy": number / 1e6},
        details={"pad": "x" * (number % 700)},
    )


def write(folder, acknowledged, *, dies_at_commit):
    ledger = Ledger.open(folder / "ledger.sqlite")
    known = {outcome.key for outcome in ledger.outcomes()}
    # The last acknowledged row is offered again, as a spool offers what was not yet deleted.
    number = max(len(known) - 1, 0)
    while True:
        outcome = outcome_of(number)
        ledger.add_candidate(
            digest=outcome.digest,
            architecture={"number": number},
            cost=NO_COST,
            resolution=32,
            origin="test",
            proposal_index=number,
        )
        if dies_at_commit and number == 7:
            ledger._connection.set_trace_callback(partial(_die, acknowledged, outcome.key))
        ledger.record(outcome)
        os.write(acknowledged, f"{outcome.key}\n".encode())
        number += 1


def _die(acknowledged, key, statement):
    if statement == "COMMIT":
        os.write(acknowledged, f"{key}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def kill_once(folder, rng, *, dies_at_commit):
    """Fork a writer, wait until it has acknowledged something, kill it a little later."""
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begun, tell = os.pipe()
    before = os.fstat(acknowledged).st_size
    child = os.fork()
    if child == 0:
        os.close(begun)
        try:
            write(folder, acknowledged, dies_at_commit=dies_at_commit)
        finally:
            os._exit(3)
    os.close(tell)
    deadline = time.monotonic() + 20
    while os.fstat(acknowledged).st_size == before and time.monotonic() < deadline:
        if select.select([begun], [], [], 0.001)[0]:  # the pipe closed: the writer is dead already
            break
    if not dies_at_commit:
        select.select([begun], [], [], rng.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(begun)
    os.close(acknowledged)
    assert os.WIFSIGNALED(status), f"the writer ended by itself with {status}"


def main(folder, seed, kills, mode):
    rng = random.Random(seed)
    Ledger.create(folder / "ledger.sqlite").close()
    for _ in range(kills):
        kill_once(folder, rng, dies_at_commit=mode == "early")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
