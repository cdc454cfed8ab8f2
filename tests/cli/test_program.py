"""`nas` as a program: streams, signals, pipes, and what it loads. Each case starts a process."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from nas_program import ROOT, assert_one_problem, environment, run_program, start_program

from cli.main import COMMANDS
from search_spaces.shipped import SPACES, shipped_names

HEAVY = ("torch", "ray", "pandas", "optuna", "sklearn", "scipy")

PROBE = """
import sys
from cli.main import main
code = main(sys.argv[1:])
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def run_probe(*arguments, cwd):
    """The command, and the top-level modules that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *lines, loaded = done.stderr.splitlines()
    assert loaded.startswith("LOADED")
    return done.returncode, done.stdout, lines, set(loaded.split()[1:])


def test_the_probe_sees_what_is_loaded(tmp_path):
    """Negative control of the tests below: a command that needs numpy is seen to load it."""
    *_, loaded = run_probe("space", "show", "tiny", cwd=tmp_path)
    assert "numpy" in loaded


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["--help"], ("numpy", "pydantic", "rich", "yaml")),
        (["search", "--help"], ("numpy", "rich", "yaml")),
        (["space", "list"], ("numpy", "rich", "yaml")),
        (["space", "validate", str(SPACES / "effnetv2.yaml")], ("rich",)),
        (["arch", "list"], ("rich",)),
        (["hardware", "list"], ("rich",)),
        (["doctor"], ("rich",)),
        (["list"], ("rich",)),
    ],
)
def test_quick_commands_load_nothing_heavy(tmp_path, arguments, also):
    code, out, _, loaded = run_probe(*arguments, cwd=tmp_path)
    assert code == 0
    assert out
    assert loaded & {*HEAVY, *also} == set()


def test_only_the_command_that_is_asked_for_is_loaded(tmp_path):
    modules = """
import sys
from cli.main import main
main(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.startswith("cli.")))
"""

    def loaded(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", modules, *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.splitlines()[-1].split())

    everything = {place.partition(":")[0] for place, _ in COMMANDS.values()}
    assert loaded("--debug", "space", "list") & everything == {"cli.space"}
    assert loaded("--help") & everything == everything
    assert loaded("no-such-command") & everything == everything


def test_hardware_that_is_not_here_is_refused_at_once(tmp_path):
    code, out, lines, loaded = run_probe(
        "search", "--space", "effnetv2", "--hardware", "tpu-v6e", cwd=tmp_path
    )
    assert (code, out, len(lines)) == (4, "", 1)
    assert "tpu-v6e" in lines[0]
    assert "--hardware" in lines[0]
    assert loaded & set(HEAVY) == set()
    assert list(tmp_path.iterdir()) == []


def test_completion_offers_names_and_loads_nothing_heavy(tmp_path):
    done = run_program(
        cwd=tmp_path,
        env=environment(_NAS_COMPLETE="complete_bash", COMP_WORDS="nas space show ", COMP_CWORD="3"),
    )
    assert (done.code, done.err) == (0, "")
    assert set(shipped_names(SPACES)) <= set(done.out.split())


def test_json_alone_is_on_stdout(tmp_path):
    done = run_program("space", "sample", "tiny", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert len(json.loads(done.out)) == 5


def test_an_unknown_command_suggests_one(tmp_path):
    assert_one_problem(
        run_program("serach", cwd=tmp_path), 2, "'serach'", "Did you mean 'search'", "nas --help"
    )


def test_a_defect_is_one_line_and_debug_shows_the_traceback(tmp_path):
    """The defect is planted: the program's working directory holds a broken module that is imported late."""
    (tmp_path / "sitecustomize.py").write_text("import search_spaces.shipped as s\ndel s.shipped_names\n")
    env = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert_one_problem(run_program("space", "list", cwd=tmp_path, env=env), 1, "shipped_names", "nas --debug")
    done = run_program("--debug", "space", "list", cwd=tmp_path, env=env)
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err
    assert "cli/space.py" in done.err


@pytest.mark.parametrize(
    "arguments", [["space", "show", "effnetv2"], ["space", "list"], ["search", "--help"]]
)
def test_a_reader_that_leaves_is_no_error(tmp_path, arguments):
    reading, writing = os.pipe()
    os.close(reading)  # nobody reads from the start: `nas ... | true`
    try:
        done = run_program(*arguments, cwd=tmp_path, stdout=writing)
    finally:
        os.close(writing)
    assert (done.code, done.err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_under_stdout_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run_program("space", "list", cwd=tmp_path, stdout=full)
    assert (done.code, done.out) == (1, None)
    assert done.err == "error: No space left on device\n"


SLEEPY = """
import sys, time
import nas.api
from cli.main import main
def search(config, *, progress):
    print("started", flush=True)
    time.sleep(60)
nas.api.search = search
sys.exit(main(["search", "--executor", "local", "--hardware", "cpu"]))
"""


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_end_with_their_codes(tmp_path, number, code, word):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPY],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, f"{word}\n")


@pytest.mark.parametrize(("changes", "is_drawn"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_drawn_tables_unless_it_wants_no_colour(tmp_path, changes, is_drawn):
    ours, theirs = pty.openpty()
    process = start_program(
        "space", "list", cwd=tmp_path, env=environment(TERM="xterm-256color", **changes), stdout=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the terminal's other end is closed
        pass
    finally:
        os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"effnetv2" in shown
    assert (b"\x1b[" in shown) == is_drawn
    assert ("─".encode() in shown) == is_drawn
