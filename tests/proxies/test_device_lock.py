import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxies import device_lock
from proxies.device_lock import DeviceBusyError, LockFolderError, exclusive, shared

ROOT = Path(__file__).parents[2]
FREE_WITHIN_SECONDS = 30.0  # of a kernel that frees at once; generous for a loaded machine

HOLDER = """if True:
    import sys
    from pathlib import Path
    from proxies.device_lock import exclusive, shared
    with {"shared": shared, "exclusive": exclusive}[sys.argv[1]]("gpu", folder=Path(sys.argv[2])):
        print("held", flush=True)
        sys.stdin.readline()
    print("freed", flush=True)
"""
FORKING_HOLDER = """if True:
    import os, sys
    from pathlib import Path
    from proxies import device_lock
    with device_lock.exclusive("gpu", folder=Path(sys.argv[1])):
        if sys.argv[2] == "leaky":
            device_lock._held.clear()  # the injected fault: the child is not told what to close
        if os.fork() == 0:
            print("held", flush=True)
            sys.stdin.readline()  # lives on until the test closes the pipe
            os._exit(0)
        os.waitpid(-1, 0)
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "locks"
    path.mkdir(mode=0o700)
    return path


@contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def says(child: subprocess.Popen[str], word: str) -> bool:
    assert child.stdout is not None
    return child.stdout.readline().strip() == word


def let_go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def can(mode, folder: Path) -> bool:
    """Whether the lock can be had at this moment."""
    try:
        with mode("gpu", folder=folder, timeout_seconds=0):
            return True
    except DeviceBusyError:
        return False


def wait_until_queued(folder: Path) -> None:
    """Until somebody waits inside the turnstile: the only sign that an exclusive waiter gives."""
    deadline = time.monotonic() + FREE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        with (folder / "gpu.turnstile").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        os.sched_yield()
    raise AssertionError("nobody queued")


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ("shared", shared, True),
        ("shared", exclusive, False),
        ("exclusive", shared, False),
        ("exclusive", exclusive, False),
    ],
)
def test_sharers_share_and_the_exclusive_holder_is_alone(folder, held, wanted, free):
    with process(HOLDER, held, folder) as child:
        assert says(child, "held")
        assert can(wanted, folder) is free
        with exclusive("another gpu", folder=folder, timeout_seconds=0):
            pass  # each device has its own lock
        let_go(child)
        assert says(child, "freed")
        assert can(wanted, folder)


@pytest.mark.parametrize("held", ["shared", "exclusive"])
def test_the_kernel_frees_the_lock_of_a_killed_holder(folder, held):
    with process(HOLDER, held, folder) as child:
        assert says(child, "held")
        child.send_signal(signal.SIGKILL)
        with exclusive("gpu", folder=folder, timeout_seconds=FREE_WITHIN_SECONDS):
            pass


@pytest.mark.parametrize(("fault", "is_freed"), [("sound", True), ("leaky", False)])
def test_a_forked_child_of_a_killed_holder_does_not_keep_the_lock(folder, fault, is_freed):
    with process(FORKING_HOLDER, folder, fault) as child:
        assert says(child, "held")
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert can(exclusive, folder) is is_freed


def share_in_turn(folder: Path, turns: int) -> int:
    """A stream of sharers, each arriving before the one before it leaves; the number that got in."""
    gone = threading.Event()
    gone.set()
    entered = 0

    def share(inside: threading.Event, leave: threading.Event) -> bool:
        try:
            with shared("gpu", folder=folder, timeout_seconds=0):
                inside.set()
                leave.wait(FREE_WITHIN_SECONDS)
                return True
        except DeviceBusyError:
            return False
        finally:
            inside.set()

    with ThreadPoolExecutor(2) as threads:
        leave_before = None
        for _ in range(turns):
            inside, leave = threading.Event(), threading.Event()
            sharer = threads.submit(share, inside, leave)
            inside.wait(FREE_WITHIN_SECONDS)
            if leave_before is not None:
                leave_before.set()
            if sharer.done() and not sharer.result():
                break
            entered += 1
            leave_before = leave
        if leave_before is not None:
            leave_before.set()
    return entered


def test_a_stream_of_sharers_cannot_starve_an_exclusive_waiter(folder):
    assert share_in_turn(folder, 20) == 20  # nobody waits: the stream flows
    with shared("gpu", folder=folder), process(HOLDER, "exclusive", folder) as waiter:
        wait_until_queued(folder)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(share_in_turn, folder, 20).result() == 0
    with shared("gpu", folder=folder), process(HOLDER, "exclusive", folder) as waiter:
        wait_until_queued(folder)
        with ThreadPoolExecutor(1) as other:
            blocked = other.submit(shared_once, folder)
            free_own_share(folder)
            assert says(waiter, "held")
            let_go(waiter)
            assert says(waiter, "freed")
            assert blocked.result(FREE_WITHIN_SECONDS)


def shared_once(folder: Path) -> bool:
    with shared("gpu", folder=folder, timeout_seconds=2 * FREE_WITHIN_SECONDS):
        return True


def free_own_share(folder: Path) -> None:
    """Unlock this process's share in place, as its holder leaving would."""
    for descriptor, held in list(device_lock._held.items()):  # a copy: other threads open locks meanwhile
        if held.path == folder / "gpu.lock" and held.thread == threading.get_ident():
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def test_without_the_turnstile_the_waiter_would_starve(folder, monkeypatch):
    """Negative control: the same stream flows past the waiter once sharers skip the turnstile."""
    acquire = device_lock._acquire

    def skip_turnstile(descriptor, mode, device, deadline):
        if mode != fcntl.LOCK_EX:
            acquire(descriptor, mode, device, deadline)

    with shared("gpu", folder=folder), process(HOLDER, "exclusive", folder):
        wait_until_queued(folder)
        monkeypatch.setattr(device_lock, "_acquire", skip_turnstile)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(share_in_turn, folder, 20).result() == 20


def test_a_wait_ends_with_a_sentence(folder):
    with process(HOLDER, "shared", folder) as child:
        assert says(child, "held")
        with (
            pytest.raises(
                DeviceBusyError, match="device 'gpu' was not free to be used alone in time; another run"
            ),
            exclusive("gpu", folder=folder, timeout_seconds=0.01),
        ):
            pass
        assert can(shared, folder)  # the failed wait left nothing behind


def test_a_thread_that_has_the_device_has_it_again_at_once(folder):
    with exclusive("gpu", folder=folder):
        with exclusive("gpu", folder=folder), shared("gpu", folder=folder):
            pass
        with ThreadPoolExecutor(1) as other:
            assert not other.submit(can, shared, folder).result()
    with shared("gpu", folder=folder):
        with shared("gpu", folder=folder):
            pass
        with (
            pytest.raises(DeviceBusyError, match="is shared by this thread"),
            exclusive("gpu", folder=folder),
        ):
            pass
    assert can(exclusive, folder)
    assert not device_lock._held


def test_an_exception_frees_the_lock(folder):
    with pytest.raises(ZeroDivisionError), exclusive("gpu", folder=folder):
        raise ZeroDivisionError
    assert not device_lock._held
    assert can(exclusive, folder)


def test_the_folder_is_private(folder, tmp_path):
    made = tmp_path / "made"
    with exclusive("GPU-1/2:3", folder=made):
        assert made.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in made.iterdir()} == {"GPU-1_2_3.lock", "GPU-1_2_3.turnstile"}
    folder.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(made)
    for bad in (folder, link):
        with pytest.raises(LockFolderError, match="not a private folder"), shared("gpu", folder=bad):
            pass
    assert device_lock.lock_folder().name == f"nas-device-locks-{os.getuid()}"
