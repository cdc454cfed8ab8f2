"""What is settled before Ray starts. Ray itself is not needed."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nas.executors import ray_environment
from nas.executors.protocol import ExecutorError
from nas.executors.ray_environment import (
    environment,
    make_folder,
    own_sigterm,
    private_files,
    refuse_open_cluster,
    require_reachable,
)


def test_an_open_cluster_is_refused_unless_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ExecutorError, match=r"RAY_AUTH_MODE=disabled .*; unset it; .* and --insecure if"):
        refuse_open_cluster(insecure=False)
    refuse_open_cluster(insecure=True)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    refuse_open_cluster(insecure=False)


@pytest.mark.parametrize("address", ["", "here", "host:", ":6379", "host:0", "host:65536", "host:six"])
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(ExecutorError, match="is not a Ray address; use HOST:PORT"):
        require_reachable(address)


def test_a_ray_client_address_is_refused() -> None:
    with pytest.raises(ExecutorError, match="a Ray client cannot host a search"):
        require_reachable("ray://head:10001")


def test_an_address_is_probed_before_ray_waits_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        require_reachable(f"127.0.0.1:{port}")
    with pytest.raises(ExecutorError, match=f"no Ray cluster answers at 127.0.0.1:{port} .*start one with"):
        require_reachable(f"127.0.0.1:{port}")
    require_reachable("auto")


def test_a_name_that_is_looked_up_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(ray_environment, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60.0) and [])
    try:
        with pytest.raises(ExecutorError, match=r"head:6379 \(no answer within 0.05 s\)"):
            require_reachable("head:6379")
        assert not answered.is_set()
    finally:
        answered.set()


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_TEST_KEPT", "before")
    monkeypatch.setenv("NAS_TEST_HIDDEN", "before")
    monkeypatch.delenv("NAS_TEST_NEW", raising=False)
    before = dict(os.environ)
    with environment({"NAS_TEST_KEPT": "during", "NAS_TEST_NEW": "during"}, without=("NAS_TEST_HIDDEN",)):
        assert os.environ["NAS_TEST_KEPT"] == os.environ["NAS_TEST_NEW"] == "during"
        assert "NAS_TEST_HIDDEN" not in os.environ
    assert dict(os.environ) == before


def test_files_made_meanwhile_are_private_and_an_old_token_becomes_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.touch(0o644)
    before = os.umask(0o022)
    try:
        with private_files():
            (tmp_path / "file").touch()
        (tmp_path / "later").touch()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (token, tmp_path / "file", tmp_path / "later")]
    assert modes == [0o600, 0o600, 0o644]


def test_the_handler_of_sigterm_is_kept() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with own_sigterm():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_folder_is_private_short_and_those_of_the_dead_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_environment, "SHARED_TEMPORARY_FOLDER", tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"nas-ray-{dead.pid}-old", f"nas-ray-{os.getpid()}-mine", "nas-ray-else"):
        (tmp_path / name / "session").mkdir(parents=True)
    folder = make_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {folder.name, f"nas-ray-{os.getpid()}-mine", "nas-ray-else"}


def test_sockets_below_the_folder_have_room(tmp_path: Path) -> None:
    folder = make_folder()
    folder.rmdir()
    deepest = folder / "ray" / "session_2026-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store"
    assert len(os.fsencode(deepest)) <= 107
    assert str(deepest).isascii()
