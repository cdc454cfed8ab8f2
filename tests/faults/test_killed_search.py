"""kill -9 of the whole search, again and again: nothing is lost, nothing doubled, nothing done twice."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from processes import mark, marked

from results.ledger import Ledger

__all__ = ["mark"]  # a fixture

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "killed_search.py"
CANDIDATES = 16
IN_FLIGHT = 4
"""Jobs that can be carried through and not yet be on record when a kill comes: two workers, two spooled."""


def start(run: Path, executor: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])])
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(run), executor, str(CANDIDATES)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def recorded(run: Path) -> set[str]:
    """Keys on record, read while or after the search writes."""
    path = run / "ledger.sqlite"
    if not path.exists():
        return set()
    with Ledger.open(path, read_only=True) as ledger:
        return {outcome.key for outcome in ledger.outcomes()}


def campaign(run: Path, executor: str, kills: list[int]) -> list[set[str]]:
    """Kill the search when it has settled so many more candidates, resume, at last let it finish."""
    on_record = []
    for settle in kills:
        with start(run, executor) as driver:
            assert driver.stdout is not None
            for _ in range(settle):
                line = driver.stdout.readline()
                if line in {"", "finished\n"}:
                    break
            driver.kill()
        on_record.append(recorded(run))
    with start(run, executor) as driver:
        out, err = driver.communicate(timeout=240)
        assert driver.returncode == 0, err
        assert out.endswith("finished\n")
    return on_record


def check(run: Path, on_record: list[set[str]]) -> None:
    finally_recorded = recorded(run)
    carried_through = Counter((run / "notes").read_text().split())
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        assert len(ledger.candidates()) == CANDIDATES
        assert ledger.integrity_check() == ()
        assert ledger.duplicates() == ()
        done = Counter((outcome.digest, outcome.kind) for outcome in ledger.outcomes())
    for candidate_kind, count in done.items():
        assert count == 1 or candidate_kind[1] == "time", "only members of the front are timed again"
    assert all(before <= finally_recorded for before in on_record), "a record was lost"
    assert set(carried_through) == finally_recorded
    repeated = sum(count - 1 for count in carried_through.values())
    assert repeated <= IN_FLIGHT * len(on_record), f"{repeated} jobs ran again"
    for key, count in carried_through.items():
        known_at = sum(key in before for before in on_record)
        assert count <= 1 + len(on_record) - known_at, "a finished job ran again"


def test_five_kills_lose_nothing_and_repeat_only_what_was_in_flight(mark: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    on_record = campaign(tmp_path, "local", [rng.randrange(1, 5) for _ in range(5)])
    check(tmp_path, on_record)
    assert marked(mark) == []


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_kill_of_the_driver_on_ray(tmp_path: Path) -> None:
    check(tmp_path, campaign(tmp_path, "ray", [4]))


def test_the_check_itself_sees_a_repetition(mark: str, tmp_path: Path) -> None:
    """The control: a job that was on record and runs again is noticed."""
    on_record = campaign(tmp_path, "local", [3])
    with (tmp_path / "notes").open("a") as notes:
        notes.write(next(iter(on_record[0])) + "\n")
    with pytest.raises(AssertionError, match="ran again"):
        check(tmp_path, on_record)
