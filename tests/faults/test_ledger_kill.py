"""kill -9 of the ledger's writer: what was acknowledged is there, once, and the file is sound."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from results.ledger import Ledger

ROOT = Path(__file__).parents[2]
CAMPAIGN = Path(__file__).with_name("ledger_killing.py")


def campaign(folder, *, seed, kills, mode):
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), str(folder), str(seed), str(kills), mode],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"


def check_ledger(folder, *, seed):
    """The rows the ledger holds, after checking them against what was acknowledged."""
    acknowledged = (folder / "acknowledged").read_text().split()
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        rows = Counter(outcome.key for outcome in ledger.outcomes())
        digests = [candidate.digest for candidate in ledger.candidates()]
        lost = sorted(set(acknowledged) - set(rows))
        assert not lost, f"seed {seed}: acknowledged but lost: {lost}"
        assert set(rows.values()) <= {1}, f"seed {seed}: doubled rows"
        assert len(set(digests)) == len(digests), f"seed {seed}: doubled candidates"
        assert ledger.duplicates() == (), f"seed {seed}: replays taken for different outcomes"
        assert ledger.integrity_check() == (), f"seed {seed}"
    return rows


def test_twenty_kills_lose_and_double_nothing(tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    campaign(tmp_path, seed=seed, kills=20, mode="commit")
    rows = check_ledger(tmp_path, seed=seed)
    assert sorted(rows) == [f"key-{number:06d}" for number in range(len(rows))]
    assert len(rows) >= 20


def test_control_acknowledging_before_the_commit_is_caught(tmp_path):
    campaign(tmp_path, seed=0, kills=1, mode="early")
    with pytest.raises(AssertionError, match=r"acknowledged but lost: \['key-000007'\]"):
        check_ledger(tmp_path, seed=0)
