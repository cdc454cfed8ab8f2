"""Whole files, the lock, and the checks before a search."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from results.errors import RunError, RunLockedError, RunWriteError
from results.filesystem import (
    DirectoryLock,
    check_writable,
    filesystem_type,
    point_symlink,
    remove_leftovers,
    write_atomically,
)

ROOT = Path(__file__).parents[2]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "front größer.yaml"
    write_atomically(path, "old\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunWriteError, match=r"front größer.yaml could not be written \(No space left on device\)"
    ):
        write_atomically(path, "new\n")
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_atomically(path, "new\n")
    assert path.read_text() == "new\n"


def test_what_killed_writers_left_is_removed(tmp_path):
    for name in (".pareto.yaml.17.tmp", "kept.tmp", ".kept"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".kept", "kept.tmp"]


HOLD = """
import sys
from pathlib import Path
from results.filesystem import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_names_its_owner_and_ends_with_it(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            RunLockedError, match=rf"in use by process {holder.pid} on \S+ since 20\S+Z; wait"
        ):
            DirectoryLock(path)
        holder.kill()
    # The file is still there and still names the dead owner; the lock is free.
    assert str(holder.pid) in path.read_text()
    DirectoryLock(path).release()


def test_a_released_lock_can_be_taken_again_and_says_nothing(tmp_path):
    path = tmp_path / "lock"
    lock = DirectoryLock(path, clock=lambda: 0.0)
    assert '"started": "1970-01-01T00:00:00Z"' in path.read_text()
    with pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
        DirectoryLock(path)
    lock.release()
    lock.release()
    assert path.read_text() == ""
    with DirectoryLock(path):
        path.write_text("not json")
        with pytest.raises(RunLockedError, match="in use by another process"):
            DirectoryLock(path)


def test_too_little_space_and_unwritable_places_are_told(tmp_path):
    check_writable(tmp_path)
    with pytest.raises(RunError, match=r"MiB free and a run needs \d+; free space"):
        check_writable(tmp_path, min_free_bytes=2**62)
    with pytest.raises(RunError, match="cannot be written"):
        check_writable(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_moved_in_one_step_and_never_replaces_a_directory(tmp_path):
    link = tmp_path / "latest"
    for target in ("a", "b"):
        point_symlink(link, target)
        assert link.readlink() == Path(target)
    (tmp_path / "real").mkdir()
    with pytest.raises(FileExistsError, match="not a link"):
        point_symlink(tmp_path / "real", "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "real"]


def test_the_file_system_is_that_of_the_deepest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    home = tmp_path / "my home"
    (home / "runs").mkdir(parents=True)
    octal = str(home).replace(" ", r"\040")
    mounts.write_text(
        f"/dev/sda / ext4 rw 0 0\nserver:/x {octal} nfs4 rw 0 0\ntmpfs {octal}er tmpfs rw 0 0\n"
    )
    assert filesystem_type(home / "runs", mounts) == "nfs4"
    assert filesystem_type(tmp_path, mounts) == "ext4"
    assert filesystem_type(tmp_path / "my homeless", mounts) == "ext4"
    assert filesystem_type(tmp_path, tmp_path / "missing") is None
