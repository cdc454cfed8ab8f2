"""The whole fault campaign: `make faults`. Every part has a size, prints figures, fails when wrong.

    python tests/faults/campaign.py [--seed N] [--scale 0.1] [PART ...]

What a part claims, tests/faults/test_campaign.py holds it to on a small scale, with a control that must fail.
"""

import argparse
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "search_spaces"), str(FOLDER.parents[1])]

import full_disk_search as filling  # noqa: E402
import hostile_documents  # noqa: E402
import ledger_killing  # noqa: E402
import power_cut  # noqa: E402
import psutil  # noqa: E402

from nas.executors.local import LocalExecutor  # noqa: E402
from proxies.records import Outcome, TimeJob, TrainJob  # noqa: E402
from proxies.spool import Spool  # noqa: E402
from proxies.worker import WorkerSettings  # noqa: E402
from results.errors import LedgerWriteError  # noqa: E402
from results.ledger import Ledger  # noqa: E402

Figures = dict[str, object]


class Wrong(AssertionError):
    """A promise that was not kept."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


class BriefRunner:
    """Works for a moment, or not at all."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, job: TimeJob | TrainJob, report: object) -> Outcome:
        time.sleep(self.seconds)  # the work itself
        return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics={"accuracy": 0.5})


def train_job(number: int) -> TrainJob:
    return TrainJob(digest=f"{number:064x}", architecture={}, task_fingerprint="none", seed=0)


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


def worker_kills(folder: Path, rng: random.Random, count: int, *, forget: bool = False) -> Figures:
    """kill -9 of workers under jobs. `forget`: one outcome is dropped, which must be noticed."""
    jobs = [train_job(number) for number in range(4 * count)]
    seen: Counter[str] = Counter()
    failed, kills = 0, 0
    spool = Spool(directory=folder / "spool")
    with LocalExecutor(
        WorkerSettings(runner=BriefRunner(0.05), preload=(), spool=spool.directory), workers=2
    ) as executor:
        for job in jobs:
            executor.submit(job)
        while len(seen) < len(jobs):
            events = [event for event in executor.wait(30.0) if isinstance(event, Outcome)]
            require(bool(events), f"nothing ended for 30 s after {kills} kills")
            seen.update(event.key for event in events)
            failed += sum(event.status != "ok" for event in events)
            workers = _workers()
            if kills < count and workers:
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself just now
                    rng.choice(workers).kill()
                    kills += 1
        stored = {outcome.key for outcome in spool.read_all()}
    if forget:
        seen.popitem()
    require(kills >= count, f"only {kills} of {count} kills were played")
    require(sorted(seen) == sorted(job.key for job in jobs), "a job has no outcome")
    require(set(seen.values()) == {1}, "a job has two outcomes")
    require(stored == set(seen), "the spool does not hold what was told")
    require(failed <= kills, f"{failed} jobs failed of {kills} kills")
    return {"kills of workers": kills, "jobs": len(jobs), "without an outcome": 0, "failed by a kill": failed}


def _workers() -> list[psutil.Process]:
    """Living workers: those that lead a session of their own below the guard."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if os.getsid(process.pid) == process.pid and process.children() == []:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


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


def full_disk_search(folder: Path, rng: random.Random, count: int) -> Figures:
    """Searches whose disk fills up; see `full_disk_search`."""
    if power_cut.why_not() is not None:
        return {"skipped": power_cut.why_not()}
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        code, said, resumed, trained = filling.fill_and_resume(place)
        require(code == 5 and "go on with: nas resume" in said, f"exit code {code}: {said}")
        require(resumed == 0, f"exit code {resumed} of the resumed search")
        require(trained == filling.CANDIDATES, f"{trained} candidates trained in the end")
    return {"searches": count, "exit code": 5, "resumed": count}


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


def documents(folder: Path, rng: random.Random, count: int, *, thin: int = 1) -> Figures:
    """Bad documents for every reader; of the written ones each `thin`-th."""
    written, mutated, wrong = hostile_documents.try_all(rng, count, thin=thin)
    require(not wrong, f"{len(wrong)} went wrong, the first: {wrong[0] if wrong else ''}")
    return {
        "written": written,
        "mutated": mutated,
        "tracebacks": 0,
        f"over {hostile_documents.MAX_SECONDS:g} s": 0,
    }


def load(folder: Path, rng: random.Random, count: int, *, leak: bool = False) -> Figures:
    """No-op jobs on the local executor: overhead and leaks. `leak`: the driver leaves files open."""
    driver = psutil.Process()
    leaked = []
    with LocalExecutor(WorkerSettings(runner=BriefRunner(0.0), preload=()), workers=2) as executor:
        started, marks = 0.0, []
        for number in range(count + 50):
            if number == 50:
                started = time.perf_counter()
            executor.submit(train_job(number))
            if leak:
                leaked.append((folder / "leak").open("w"))
            while not any(isinstance(event, Outcome) for event in executor.wait(30.0)):
                pass
            if (number >= 50 and number % max(1, count // 4) == 0) or number in (50, count + 49):
                marks.append((driver.memory_info().rss, driver.num_fds()))
        each_ms = 1000 * (time.perf_counter() - started) / count
    for file in leaked:
        file.close()
    growth = marks[-1][0] / marks[0][0] - 1.0
    require(growth < 0.05, f"the driver's memory grew by {growth:.1%}")
    require(marks[-1][1] <= marks[0][1], f"descriptors grew from {marks[0][1]} to {marks[-1][1]}")
    return {
        "no-op jobs": count,
        "ms each": round(each_ms, 2),
        "memory growth": f"{growth:.1%}",
        "descriptors": "flat",
    }


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


PARTS: dict[str, tuple[Callable[..., Figures], int]] = {
    "ledger kills": (ledger_kills, 100),
    "power cuts": (power_cuts, 20),
    "worker kills": (worker_kills, 100),
    "killed searches": (killed_searches, 5),
    "full disk": (full_disk, 60),
    "full disk search": (full_disk_search, 1),
    "torn spool": (torn_spool, 200),
    "hostile documents": (documents, 5000),
    "load": (load, 1000),
}
"""Name -> the part and its size in the whole campaign."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--scale", type=float, default=1.0, help="of every part's size")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    failed = 0
    for name in options.parts or PARTS:
        part, size = PARTS[name]
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="nas-faults-") as folder:
            try:
                figures = part(Path(folder), random.Random(options.seed), max(1, round(size * options.scale)))
                text = ", ".join(f"{key} {value}" for key, value in figures.items())
            except Wrong as wrong:
                failed += 1
                text = f"WRONG: {wrong}"
        print(f"{name:18} {time.monotonic() - started:5.0f} s  {text}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
