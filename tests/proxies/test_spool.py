"""Laws of the spool: what was written is read, what is torn is not, and durable means synced."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.records import Outcome
from proxies.spool import Spool, SpoolError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
outcomes = st.builds(
    Outcome,
    key=st.from_regex(r"[a-f0-9]{64}", fullmatch=True),
    kind=st.sampled_from(["time", "train"]),
    digest=st.text(max_size=64),
    status=st.sampled_from(["ok", "oom", "error"]),
    reason=st.none() | st.text(),
    metrics=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    details=st.dictionaries(st.text(), plain, max_size=3),
    seconds=st.floats(0, 1e9),
)


def outcome(key: str = "k", **fields: object) -> Outcome:
    return Outcome.model_validate({"key": key, "kind": "train", "digest": "d", "status": "ok", **fields})


@settings(max_examples=25, deadline=None)
@given(written=st.lists(outcomes, max_size=3, unique_by=lambda each: each.key))
def test_what_was_written_is_read_until_it_is_removed(
    written: list[Outcome], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(directory=tmp_path_factory.mktemp("spool"))
    for each in written:
        spool.write(each)
    assert sorted(spool.read_all(), key=lambda each: each.key) == sorted(written, key=lambda each: each.key)
    for each in written:
        spool.remove(each.key)
        spool.remove(each.key)
    assert spool.read_all() == []


def test_a_spool_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert Spool(directory=tmp_path / "nothing").read_all() == []


def test_a_second_outcome_replaces_the_first(tmp_path: Path) -> None:
    spool = Spool(directory=tmp_path)
    spool.write(outcome(status="timeout"))
    spool.write(outcome(metrics={"accuracy": 0.5}))
    assert [each.status for each in spool.read_all()] == ["ok"]


def test_outcomes_come_oldest_first(tmp_path: Path) -> None:
    spool = Spool(directory=tmp_path)
    for age, key in enumerate(["c", "a", "b"]):
        path = spool.write(outcome(key))
        os.utime(path, ns=(0, age))
    assert [each.key for each in spool.read_all()] == ["c", "a", "b"]


def test_a_torn_file_is_set_aside_wherever_it_is_torn(tmp_path: Path) -> None:
    spool = Spool(directory=tmp_path)
    whole = spool.write(outcome(metrics={"accuracy": 0.123456789})).read_bytes()
    path = tmp_path / "k.json"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert spool.read_all() == [], length
        assert not path.exists()
        assert (tmp_path / "k.torn").read_bytes() == whole[:length]


def test_a_changed_digit_is_noticed(tmp_path: Path) -> None:
    spool = Spool(directory=tmp_path)
    path = spool.write(outcome(metrics={"accuracy": 0.125}))
    path.write_text(path.read_text().replace("0.125", "0.925"))
    assert spool.read_all() == []


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"sha256": 1}', "[" * 100_000, '{"outcome": {}, "sha256": ""}']
)
def test_a_foreign_file_is_set_aside(text: str, tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(text)
    assert Spool(directory=tmp_path).read_all() == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".torn"]


def test_both_file_and_folder_are_synced_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def record(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append("folder" if is_folder else Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", record)
    Spool(directory=tmp_path).write(outcome())
    assert sorted(synced) == ["folder", "k.json"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(
        SpoolError, match=r"could not be stored \(.*No space left on device\); free space there"
    ):
        Spool(directory=tmp_path).write(outcome())
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_path_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="could not be stored"):
        Spool(directory=tmp_path / "file").write(outcome())


@pytest.mark.parametrize("key", ["", "..", "a/b", "a.json", "k" * 200, "\0"])
def test_a_key_that_is_no_file_name_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file name"):
        Spool(directory=tmp_path).write(outcome(key))


def test_leftovers_of_dead_writers_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f"a.json.{dead.pid}.tmp").write_text("{")
    (tmp_path / f"b.json.{os.getpid()}.tmp").write_text("{")
    assert Spool(directory=tmp_path).read_all() == []
    assert [path.name[0] for path in tmp_path.iterdir()] == ["b"]


def test_what_is_not_a_number_is_stored_as_missing(tmp_path: Path) -> None:
    path = Spool(directory=tmp_path).write(outcome(details={"drift": float("nan")}))
    assert json.loads(path.read_text())["outcome"]["details"] == {"drift": None}
    assert [each.details for each in Spool(directory=tmp_path).read_all()] == [{"drift": None}]
