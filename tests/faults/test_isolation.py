"""A search of the real command needs no network, and writes no secret of its environment anywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_exits import PROXY, ROOT, SEARCH

SECRETS = {
    name: f"sentinel-of-{name.lower()}" for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OWN_PASSWORD")
}
TRY_NETWORK = "import socket; socket.create_connection(('192.0.2.1', 9), 3.0)"


def without_network(*command: str) -> list[str]:
    """The command in a network namespace of its own, in which there is no device but a silent loopback."""
    return ["unshare", "--net", *command]


def why_not() -> str | None:
    if shutil.which("unshare") is None:
        return "there is no unshare"
    tried = subprocess.run(without_network("true"), capture_output=True, text=True)
    return None if tried.returncode == 0 else tried.stderr.strip()


def leaks(folder: Path) -> list[str]:
    """Files that hold a secret, each with its name."""
    return [
        f"{path.relative_to(folder)}: {name}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for name, secret in SECRETS.items()
        if secret.encode() in path.read_bytes()
    ]


def test_a_search_without_a_network_that_keeps_secrets(tmp_path: Path) -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no namespace without a network here: {reason}")
    (tmp_path / "proxy.yaml").write_text(PROXY)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "cli.main", *SEARCH, "--candidates", "3", "--keep-weights"]
    done = subprocess.run(
        without_network(*command),
        cwd=tmp_path,
        env={**os.environ, **SECRETS, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert [name for name, secret in SECRETS.items() if secret in said] == []
    assert (tmp_path / "run" / "ledger.sqlite").exists()
    assert leaks(tmp_path) == []


def test_both_halves_of_the_test_above_can_fail(tmp_path: Path) -> None:
    """The controls: a secret that was written is found, and in the namespace nothing can be reached."""
    (tmp_path / "run.yaml").write_text(f"env: {SECRETS['HF_TOKEN']}\n")
    assert leaks(tmp_path) == ["run.yaml: HF_TOKEN"]
    if why_not() is None:
        tried = subprocess.run(
            without_network(sys.executable, "-c", TRY_NETWORK), capture_output=True, text=True
        )
        assert "unreachable" in tried.stderr
