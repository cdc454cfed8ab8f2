"""Starting, locking, resuming and describing a run."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from recorded import LAW, timing

from results.directory import RunDirectory, config_differences, list_runs, read_config
from results.errors import RunError, RunLockedError
from results.ledger import Ledger
from results.text import dump_yaml
from search_spaces.document import read_yaml

CONFIG = {
    "space": "tiny",
    "candidates": 8,
    "objectives": [{"name": "accuracy", "direction": "maximize"}],
    "limits": {"params": 1e-5},
    "git": {"commit": "12e45678"},
}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs of größe"


def clock():
    return 1_700_000_000.0


def create(root, out=None, **changes):
    return RunDirectory.create(
        out, **({"hint": "tiny-cpu", "config": CONFIG, "root": root, "clock": clock} | changes)
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
KEY = TEXT.filter(lambda key: key != "<<")  # refused as a merge key, quoted or not
NUMBER_LIKE = st.from_regex(r"[-+]?\.?[0-9][0-9e.:_x+-]{0,8}", fullmatch=True)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**16), 10**16)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | NUMBER_LIKE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY | NUMBER_LIKE, inner, max_size=3),
    max_leaves=10,
)


@LAW
@given(st.dictionaries(KEY, PLAIN, max_size=4))
def test_written_yaml_reads_back_unchanged_by_the_strict_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("yaml") / "run.yaml"
    path.write_text(dump_yaml(data, "test"), encoding="utf-8")
    assert read_yaml(path) == data


def test_a_new_run_is_named_after_hint_and_time_and_is_the_latest(root):
    with create(root) as first, create(root) as second:
        assert first.name == "tiny-cpu-20231114-221320"
        assert second.name == "tiny-cpu-20231114-221320-2"
        assert (root / "latest").readlink() == Path(second.name)
        assert read_config(first.path) == CONFIG == first.config
    assert set(list_runs(root)) == {root / first.name, root / second.name}


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        ("../../etc", "etc"),
        ("-rf", "rf"),
        ("a b\nc\0", "a-b-c"),
        ("größe", "größe"),
        ("//", "run"),
        ("x" * 300, "x" * 80),
    ],
)
def test_a_hint_cannot_leave_the_root(root, hint, name):
    with create(root, hint=hint) as run:
        assert run.path == (root / f"{name}-20231114-221320").resolve()


def test_a_run_elsewhere_is_linked_by_its_full_path(root, tmp_path):
    with create(root, tmp_path / "elsewhere") as run:
        assert (root / "latest").readlink() == run.path
    with create(root), RunDirectory.open(run.path, root=root):
        assert (root / "latest").readlink() == run.path


def test_a_directory_in_use_or_taken_is_refused(root, tmp_path):
    out = tmp_path / "mine"
    with create(root, out):
        with pytest.raises(RunLockedError, match=f"mine is in use by process {os.getpid()}"):
            create(root, out)
        with pytest.raises(RunLockedError):
            RunDirectory.open(out, root=root)
    with pytest.raises(RunError, match="holds a run already; continue it with nas resume"):
        create(root, out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"not empty \(thesis.tex\)"):
        create(root, other)
    assert sorted(path.name for path in other.iterdir()) == ["lock", "thesis.tex"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\nb", "control character"), ("x" * 300, "File name too long"), ("file/inside", "Not a directory")],
)
def test_an_impossible_out_is_told(root, tmp_path, name, message):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=message):
        create(root, tmp_path / name)


def test_the_link_cannot_be_the_output_nor_replace_a_directory(root):
    with pytest.raises(RunError, match="link to the newest run"):
        create(root, root / "latest")
    (root / "latest").mkdir(parents=True)
    with pytest.raises(RunError, match="move it away"):
        create(root)


def test_a_failed_start_holds_no_lock_and_can_be_repeated(root, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(RunError, match="MiB free"):
        create(root, out, min_free_bytes=2**62)
    with create(root, out) as run:
        assert run.path == out


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"limits": float("inf")}, "configuration of the run: .*finite numbers"),
        ({"seed": 2**64}, r"configuration of the run:1:7: .*too large; a run could not be resumed"),
        ({"notes": "x" * 2**19}, "larger than"),
        ({"<<": 1}, "merge keys are not allowed"),
    ],
)
def test_a_configuration_that_could_not_be_resumed_is_refused_before_anything_is_made(root, config, message):
    with pytest.raises(ValueError, match=message):
        create(root, config=config)
    assert not root.exists()


def test_the_ledger_is_made_once_and_found_again(root):
    with create(root) as run:
        with run.ledger() as ledger:
            assert isinstance(ledger, Ledger)
            ledger.record(timing(1))
        (run.path / ".ledger.sqlite.17.tmp").touch()
    with RunDirectory.open(run.path, root=root) as again, again.ledger() as ledger:
        assert ledger.outcomes() == (timing(1),)
        assert not list(again.path.glob(".*"))


def test_every_difference_of_two_configurations_is_named():
    changed = CONFIG | {"limits": {"params": 2e-5}, "seed": 1, "objectives": ["accuracy", "step_ms"]}
    del changed["space"]
    assert config_differences(CONFIG, changed) == (
        'space: "tiny" -> absent',
        'objectives: [{"direction": "maximize", "name": "accuracy"}] -> ["accuracy", "step_ms"]',
        "limits.params: 1e-05 -> 2e-05",
        "seed: absent -> 1",
    )


@LAW
@given(PLAIN, PLAIN)
@example(1, True)
@example(1, 1.0)
@example([{"a": 1}, 2], [{"a": 1}])
def test_documents_without_differences_are_equal(old, new):
    assert config_differences(old, old) == ()
    assert bool(config_differences(old, new)) == (
        json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True)
    )


def test_the_log_goes_on_after_a_torn_line(root):
    with create(root) as run:
        run.log("started", {"workers": 2})
        path = run.path / "log.jsonl"
        path.write_bytes(path.read_bytes() + b'{"time": 1, "ev')
        run.log("resumed")
    lines = path.read_text().splitlines()
    assert json.loads(lines[0]) == {"time": clock(), "event": "started", "workers": 2}
    assert json.loads(lines[2])["event"] == "resumed"


@pytest.mark.parametrize("text", ["- a\n", "a: 1\na: 2\n", "a: &x 1\nb: *x\n", ""])
def test_a_broken_configuration_is_told_with_its_place(root, text):
    with create(root) as run:
        (run.path / "run.yaml").write_text(text)
    with pytest.raises(RunError, match=r"run\.yaml.*restore it from a copy"):
        RunDirectory.open(run.path, root=root)
