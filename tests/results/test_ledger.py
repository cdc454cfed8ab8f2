"""The ledger on real SQLite files: exactly once, durable, refusing what it should, readable meanwhile."""

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW, add_candidate, architecture, timing, training

from proxies.records import Outcome
from results.errors import LedgerError, LedgerWriteError
from results.ledger import Ledger
from results.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "a run, größer 実験"
    folder.mkdir()
    return folder / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger.create(path) as ledger:
        yield ledger


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OUTCOMES = st.builds(
    Outcome,
    key=st.text(min_size=1),
    kind=st.sampled_from(["time", "train"]),
    digest=st.text(min_size=1),
    status=st.sampled_from(["ok", "oom", "error", "unstable"]),
    reason=st.none() | st.text(),
    metrics=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    details=st.dictionaries(st.text(), JSON, max_size=3),
    seconds=st.floats(0, 1e9),
)


@LAW
@given(st.lists(OUTCOMES, max_size=8))
def test_what_is_recorded_is_read_back_once_and_first_wins(tmp_path_factory, outcomes):
    path = tmp_path_factory.mktemp("law") / "ledger.sqlite"
    expected = {}
    for outcome in outcomes:
        expected.setdefault(outcome.key, outcome)
    with Ledger.create(path) as ledger:
        for outcome in outcomes:
            is_first = ledger.find(outcome.key) is None
            assert ledger.record(outcome) is is_first
        assert ledger.outcomes() == tuple(expected.values())
    with Ledger.open(path, read_only=True) as reader:
        assert reader.outcomes() == tuple(expected.values())
        assert reader.integrity_check() == ()
        assert all(reader.find(key) == outcome for key, outcome in expected.items())
        assert all(outcome != expected[outcome.key] for outcome in reader.duplicates())


def test_a_replay_changes_nothing_and_a_different_outcome_is_kept_apart(ledger):
    first, second = training(1, 0.5), training(1, 0.6)
    assert ledger.record(first)
    assert not ledger.record(first)
    assert ledger.duplicates() == ()
    assert not ledger.record(second)
    assert not ledger.record(second)
    assert ledger.outcomes() == (first,)
    assert ledger.duplicates() == (second,)


def test_candidates_keep_the_order_of_proposal_and_their_first_form(ledger):
    added = [add_candidate(ledger, number) for number in (3, 1, 2)]
    again = add_candidate(ledger, 1, origin="evolution", proposal_index=9)
    assert [candidate.id for candidate in added] == [1, 2, 3]
    assert again == added[1]
    assert ledger.candidates() == tuple(added)
    assert added[0].architecture == architecture(3).to_document()
    assert next(iter(added[0].architecture)) == "schema"


def test_outcomes_of_one_kind_or_candidate(ledger):
    for outcome in (timing(1), training(1), training(1, seed=1), timing(2)):
        ledger.record(outcome)
    assert ledger.outcomes("time") == (timing(1), timing(2))
    assert [record.outcome for record in ledger.records(digest=architecture(1).digest, kind="train")] == [
        training(1),
        training(1, seed=1),
    ]


def test_keys_and_outcomes_without_details_are_those_of_the_outcomes(ledger):
    for outcome in (timing(1), timing(2, status="oom", reason="no memory"), training(1)):
        ledger.record(outcome)
    outcomes = ledger.outcomes()
    assert ledger.keys("ok") == tuple(outcome.key for outcome in outcomes if outcome.status == "ok")
    assert ledger.keys("diverged") == ()
    brief = ledger.outcomes(with_details=False)
    assert brief == tuple(outcome.model_copy(update={"details": {}}) for outcome in outcomes)
    assert brief != outcomes


def test_a_failure_may_be_tried_again_up_to_the_limit_and_stays_on_record(ledger):
    key = training(1).key
    assert not ledger.retry(key)
    failed = training(1, status="oom", reason="13 GiB wanted")
    ledger.record(failed)
    assert ledger.attempts(key) == 1
    assert ledger.retry(key, limit=2)
    assert ledger.find(key) is None
    # A second failure that is equal to the first is a new attempt, not a replay.
    assert ledger.record(failed)
    assert [record.attempt for record in ledger.records()] == [2]
    assert not ledger.retry(key, limit=2)
    assert ledger.retry(key, limit=3)
    assert ledger.record(training(1))
    assert not ledger.retry(key, limit=9)
    assert ledger.attempts(key) == 3
    assert ledger.failures() == (failed, failed)
    assert ledger.integrity_check() == ()


def test_decisions_are_filed_once(ledger):
    assert ledger.decide("d1", "gate", "cannot reach the front")
    assert not ledger.decide("d1", "gate", "another reason")
    assert ledger.decide("d1", "limit", "params 3 > 2")
    assert [(d.kind, d.reason) for d in ledger.decisions()] == [
        ("gate", "cannot reach the front"),
        ("limit", "params 3 > 2"),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        training(1).model_copy(update={"metrics": {"accuracy": float("nan")}}),
        training(1).model_copy(update={"details": {"curve": [float("inf")]}}),
        training(1).model_copy(update={"details": {"device": object()}}),
    ],
)
def test_what_is_not_finite_plain_json_is_refused(ledger, broken):
    with pytest.raises(ValueError, match=r"train outcome .*record finite numbers and plain JSON"):
        ledger.record(broken)
    assert ledger.outcomes() == ()
    assert ledger.record(training(1))


def test_tuples_integer_keys_and_undecodable_messages_are_stored(ledger):
    ledger.record(
        training(1, reason="bytes \udc80", status="error", details={"shape": (1, 2), "at": {10: 1, 9: 2}})
    )
    (outcome,) = ledger.outcomes()
    assert outcome.reason == r"bytes \udc80"
    assert outcome.details == {"shape": [1, 2], "at": {"10": 1, "9": 2}}
    assert ledger.integrity_check() == ()


def test_matching_outcomes_of_a_sibling_are_copied_with_their_origin(ledger, tmp_path):
    sibling = tmp_path / "sibling.sqlite"
    with Ledger.create(sibling) as other:
        other.record(timing(1))
        other.record(timing(2, hardware="gpu"))
        other.record(training(1), origin="grandparent")
        other.record(training(2, status="error", reason="boom"))
    ledger.record(timing(1, 99.0))

    wanted = [timing(1).key, training(1).key, training(2).key]
    assert ledger.copy_matching(sibling, wanted, origin="sibling") == 1
    assert [(r.outcome, r.origin) for r in ledger.records()] == [
        (timing(1, 99.0), None),
        (training(1), "grandparent"),
    ]
    assert ledger.copy_matching(sibling, lambda outcome: outcome.kind == "time", origin="sibling") == 1
    assert ledger.records()[-1].origin == "sibling"
    assert ledger.copy_matching(sibling, lambda _: True, origin="sibling") == 0
    assert ledger.duplicates() == ()


def test_a_copy_that_fails_half_way_copies_nothing(ledger, tmp_path):
    sibling = tmp_path / "sibling.sqlite"
    with Ledger.create(sibling) as other:
        other.record(timing(1))
        other.record(timing(2))
    ledger._connection.execute(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON outcomes WHEN new.key = '" + timing(2).key + "'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(LedgerError, match="no"):
        ledger.copy_matching(sibling, lambda _: True, origin="sibling")
    assert ledger.outcomes() == ()
    assert ledger.record(timing(3))


def test_a_changed_row_is_noticed_and_not_copied(ledger, tmp_path):
    sibling = tmp_path / "sibling.sqlite"
    with Ledger.create(sibling) as other:
        other.record(training(1, 0.5))
        other.record(training(2, 0.5))
    with sqlite3.connect(sibling) as raw:
        raw.execute(
            "UPDATE outcomes SET metrics = '{\"accuracy\":0.99}' WHERE digest = ?", (architecture(1).digest,)
        )
        raw.execute("UPDATE outcomes SET metrics = 'half a' WHERE digest = ?", (architecture(2).digest,))
    raw.close()
    with Ledger.open(sibling) as other:
        assert len(other.integrity_check()) == 2
        with pytest.raises(LedgerError, match="cannot be read back"):
            other.outcomes()
        assert len(other.records(digest=architecture(1).digest)) == 1
    with sqlite3.connect(sibling) as raw:
        raw.execute("DELETE FROM outcomes WHERE digest = ?", (architecture(2).digest,))
    raw.close()
    with pytest.raises(LedgerError, match=r"not what was recorded.*--no-reuse"):
        ledger.copy_matching(sibling, lambda _: True, origin="sibling")
    assert ledger.outcomes() == ()


def test_wall_time_adds_up_over_sessions_that_wrote(path):
    now = iter([100.0, 103.0, 105.0, 900.0, 901.5])
    with Ledger.create(path, elapsed=lambda: next(now)) as ledger:
        assert ledger.wall_seconds() == 0.0
        ledger.record(timing(1))
        ledger.record(timing(2))
    with Ledger.open(path, elapsed=lambda: next(now)) as ledger:
        ledger.record(timing(3))
        assert ledger.wall_seconds() == pytest.approx(5.0 + 1.5)


# --- refusals ----------------------------------------------------------------------------------------------


def test_an_existing_file_is_never_overwritten(path):
    path.write_text("precious")
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(path)
    assert path.read_text() == "precious"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def newer_schema(path):
    Ledger.create(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    raw.close()


def foreign(path):
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    raw.close()


def truncated(path):
    Ledger.create(path).close()
    os.truncate(path, 5000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (newer_schema, "has schema 2 and this version reads up to 1; upgrade"),
        (foreign, "SQLite file of another program"),
        (lambda path: path.write_text("candidates: 3\n" * 50), "not a ledger"),
        (lambda path: path.write_bytes(b""), "not a ledger"),
        (truncated, "damaged"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: None, "No such file"),
    ],
    ids=["newer", "foreign", "text", "empty", "truncated", "directory", "missing"],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_not_our_ledger_is_refused_and_left_alone(path, make, message, read_only):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerError, match=message), Ledger.open(path, read_only=read_only) as ledger:
        ledger.outcomes()
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_reader_cannot_write(ledger, path):
    with Ledger.open(path, read_only=True) as reader, pytest.raises(LedgerError, match="reading only"):
        reader.record(timing(1))


def test_a_second_writer_is_refused_while_the_first_writes(ledger, path, monkeypatch):
    monkeypatch.setattr("results.schema.BUSY_TIMEOUT_SECONDS", 0.0)
    busy = pytest.raises(LedgerError, match="being written by another process")
    with Ledger.open(path) as second, ledger._transaction(), busy:
        second.record(timing(1))


def test_a_ledger_that_cannot_be_made_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(
        "results.schema._TABLES", "CREATE TABLE candidates (id); CREATE TABLE candidates (id);"
    )
    with pytest.raises(LedgerError, match="already exists"):
        Ledger.create(path)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.create(path.parent / "missing" / "ledger.sqlite")


def test_where_there_are_no_hard_links_nothing_is_overwritten_either(path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    Ledger.create(path).close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# --- durability and other processes ------------------------------------------------------------------------


def test_commits_are_synchronous_and_logged_ahead(ledger):
    assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_on_a_network_file_system_the_ledger_uses_a_rollback_journal(path, monkeypatch):
    monkeypatch.setattr("results.schema.filesystem_type", lambda _: "nfs4")
    with Ledger.create(path) as ledger:
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        ledger.record(timing(1))
        with Ledger.open(path, read_only=True) as reader:
            assert reader.outcomes() == (timing(1),)


READER = """
import json, sys
from pathlib import Path
from results.ledger import Ledger
with Ledger.open(Path(sys.argv[1]), read_only=True) as ledger:
    print(json.dumps([len(ledger.candidates()), [outcome.key for outcome in ledger.outcomes()]]))
"""


def in_another_process(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_another_process_reads_a_live_ledger(ledger, path):
    add_candidate(ledger, 1)
    ledger.record(timing(1))
    assert in_another_process(READER, path) == [1, [timing(1).key]]
    ledger.record(training(1))
    assert ledger.integrity_check() == ()


WRITER = """
import json, sys
from pathlib import Path
from proxies.records import Outcome
from results.ledger import Ledger

print("ready", flush=True)
sys.stdin.readline()
with Ledger.open(Path(sys.argv[1])) as ledger:
    made = []
    for number in range(60):
        details = {"by": sys.argv[2]}
        outcome = Outcome(key=f"key-{number}", kind="train", digest="d", status="ok", details=details)
        if ledger.record(outcome):
            made.append(outcome.key)
print(json.dumps(made))
"""


def test_two_processes_that_record_the_same_keys_make_each_row_once(path):
    Ledger.create(path).close()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    made = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    keys = {f"key-{number}" for number in range(60)}
    assert sorted(made[0] + made[1]) == sorted(keys)
    with Ledger.open(path, read_only=True) as ledger:
        by = {outcome.key: outcome.details["by"] for outcome in ledger.outcomes()}
        assert by == {key: "a" if key in made[0] else "b" for key in keys}
        assert {outcome.key for outcome in ledger.duplicates()} == keys  # kept for audit, by the one too late
        assert ledger.integrity_check() == ()


def test_a_closed_ledger_is_one_file_and_stays_one_when_read(path):
    with Ledger.create(path) as ledger:
        ledger.record(timing(1))
    with Ledger.open(path, read_only=True) as reader:
        assert reader.outcomes() == (timing(1),)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_reader_sees_one_moment(ledger, path):
    with Ledger.open(path, read_only=True) as reader:
        with reader.snapshot():
            assert reader.outcomes() == ()
            ledger.record(timing(1))
            assert reader.outcomes() == ()
        assert reader.outcomes() == (timing(1),)


def test_a_run_on_a_read_only_disk_can_be_read(path, monkeypatch):
    with Ledger.create(path) as ledger:
        ledger.record(timing(1))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Ledger.open(path, read_only=True) as reader:
        assert reader.outcomes() == (timing(1),)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_torn_or_flipped_write_ahead_log_leaves_a_prefix(path, tmp_path):
    keys = []
    with Ledger.create(path) as ledger:
        for number in range(12):
            ledger.record(timing(number))
            keys.append(timing(number).key)
        main, log = path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()
    lengths = set()
    for step in range(40):
        copy = tmp_path / f"torn-{step}" / "ledger.sqlite"
        copy.parent.mkdir()
        copy.write_bytes(main)
        at = len(log) * step // 40
        flipped = bytearray(log)
        flipped[at] ^= 0x10
        copy.with_name("ledger.sqlite-wal").write_bytes(log[:at] if step % 2 else flipped)
        with Ledger.open(copy) as ledger:
            found = [outcome.key for outcome in ledger.outcomes()]
            assert found == keys[: len(found)]
            assert ledger.integrity_check() == ()
            lengths.add(len(found))
        shutil.rmtree(copy.parent)
    assert len(lengths) > 5  # the tears did tear


# --- a full disk -------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_sentence_and_loses_nothing(ledger):
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages + 6}")
    acknowledged = []

    def record_until_full():
        for number in range(1000):
            assert ledger.record(timing(number))
            acknowledged.append(timing(number))

    with pytest.raises(LedgerWriteError, match="free space and resume, all that was acknowledged is kept"):
        record_until_full()
    assert 3 < len(acknowledged) < 1000
    assert ledger.outcomes() == tuple(acknowledged)
    assert ledger.integrity_check() == ()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert ledger.record(timing(1000))


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from proxies.records import Outcome
from results.errors import LedgerWriteError
from results.ledger import Ledger

def outcome(number):
    return Outcome(key=f"key-{number}", kind="train", digest="d", status="ok", details={"pad": "x" * 500})

def fill(ledger, start):
    for number in range(start, 10_000):
        try:
            ledger.record(outcome(number))
        except LedgerWriteError:
            return number

path = Path(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
rounds = []
with Ledger.create(path) as ledger:
    failed = 0
    for limit in (200_000, 300_000, 400_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        failed = fill(ledger, failed)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        rounds.append(failed)
    ledger.record(outcome(failed))
with Ledger.open(path) as ledger:
    keys = [each.key for each in ledger.outcomes()]
    print(json.dumps([rounds, keys == [f"key-{n}" for n in range(failed + 1)], ledger.integrity_check()]))
"""


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY, reason="file size is limited"
)
def test_writes_that_fail_in_the_system_lose_nothing_and_go_on_afterwards(path):
    rounds, is_complete, problems = in_another_process(FULL_DISK, path)
    assert rounds == sorted(set(rounds))
    assert rounds[0] > 10
    assert is_complete
    assert problems == []
