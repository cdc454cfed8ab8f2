"""The reference's time: calibrated once, kept, replaced only on evidence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.baselines import KEPT_SIGHTINGS, REPLACED_AFTER, Baseline, BaselineStore, conditions_of
from proxies.records import TimingSettings
from proxies.reference_network import REFERENCE
from proxies.user_cache import cache_folder

SETTINGS = TimingSettings(resolution=32, batch_size=4)
HERE = conditions_of("this device", SETTINGS)
TOLERANCE = 0.1


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    times = iter(range(10_000))
    return BaselineStore(folder=tmp_path / "baselines", clock=lambda: f"t{next(times):05}")


def see(store: BaselineStore, *milliseconds: float) -> Baseline:
    found = None
    for ms in milliseconds:
        found = store.see(HERE, ms, tolerance=TOLERANCE)
    assert found is not None
    return found


def test_the_first_sighting_is_the_baseline_and_stays(store: BaselineStore) -> None:
    assert store.find(HERE) is None
    assert see(store, 10.0).reference_ms == 10.0
    later = see(store, 10.4, 9.7, 10.9)
    assert later.reference_ms == 10.0
    assert [one.reference_ms for one in later.sightings] == [10.0, 10.4, 9.7, 10.9]
    assert BaselineStore(folder=store.folder).find(HERE) == later  # on disk


@pytest.mark.parametrize(
    "other",
    [
        conditions_of("another device", SETTINGS),
        conditions_of("this device", SETTINGS.model_copy(update={"batch_size": 8})),
        conditions_of("this device", SETTINGS.model_copy(update={"compile": "default"})),
        {**HERE, "reference": "another reference network"},
    ],
    ids=["device", "batch", "compile", "reference"],
)
def test_other_conditions_have_a_baseline_of_their_own(
    store: BaselineStore, other: dict[str, object]
) -> None:
    see(store, 10.0)
    assert store.find(other) is None
    store.see(other, 20.0, tolerance=TOLERANCE)
    assert store.find(HERE).reference_ms == 10.0


def test_how_well_to_measure_is_no_condition() -> None:
    hasty = SETTINGS.model_copy(update={"tolerance": 0.5, "budget_seconds": 1.0})
    assert conditions_of("this device", hasty) == HERE
    assert HERE["reference"] == REFERENCE.digest


def test_evidence_replaces_a_baseline_and_is_kept_with_it(store: BaselineStore) -> None:
    see(store, 10.0)
    evidence = (12.0, 12.5, 11.9, 12.1, 12.2)
    assert see(store, *evidence[:-1]).reference_ms == 10.0
    replaced = see(store, evidence[-1])
    assert replaced.reference_ms == 12.1
    (former,) = replaced.former
    assert (former.reference_ms, former.evidence_ms) == (10.0, evidence)
    assert former.replaced_at == replaced.calibrated_at
    assert see(store, 12.0).reference_ms == 12.1


@given(
    st.lists(st.floats(0.5, 2.0), max_size=20).filter(
        lambda ratios: all(
            any(abs(ratio - 1) <= TOLERANCE for ratio in ratios[i : i + REPLACED_AFTER])
            or {ratio > 1 for ratio in ratios[i : i + REPLACED_AFTER]} == {True, False}
            for i in range(max(0, len(ratios) - REPLACED_AFTER + 1))
        )
    )
)
def test_nothing_less_than_five_agreeing_sightings_moves_a_baseline(ratios: list[float]) -> None:
    baseline = Baseline(conditions={}, reference_ms=10.0, calibrated_at="t")
    for ratio in ratios:
        baseline = baseline.seen(10.0 * ratio, tolerance=TOLERANCE, at="t")
        assert (baseline.reference_ms, baseline.former) == (10.0, ())
        assert len(baseline.sightings) <= KEPT_SIGHTINGS


def test_old_sightings_are_let_go(store: BaselineStore) -> None:
    found = Baseline(conditions=HERE, reference_ms=10.0, calibrated_at="t")
    for number in range(KEPT_SIGHTINGS + 5):
        found = found.seen(10.0 + number / 1000, tolerance=TOLERANCE, at="t")
    assert len(found.sightings) == KEPT_SIGHTINGS
    assert found.sightings[-1].reference_ms == 10.054


def test_forgetting_calibrates_anew(store: BaselineStore) -> None:
    see(store, 10.0)
    assert store.forget(HERE)
    assert not store.forget(HERE)
    assert see(store, 11.0).reference_ms == 11.0


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": "nas.baseline/9"}', b"[1]"])
def test_a_damaged_file_is_no_baseline_and_is_replaced(store: BaselineStore, content: bytes) -> None:
    see(store, 10.0)
    (file,) = store.folder.glob("*.json")
    file.write_bytes(content)
    assert store.find(HERE) is None
    assert see(store, 11.0).reference_ms == 11.0


def test_a_file_that_was_renamed_is_not_taken_for_other_conditions(store: BaselineStore) -> None:
    other = conditions_of("another device", SETTINGS)
    see(store, 10.0)
    (file,) = store.folder.glob("*.json")
    store.see(other, 20.0, tolerance=TOLERANCE)
    (its_file,) = set(store.folder.glob("*.json")) - {file}
    file.replace(its_file)
    assert store.find(other) is None


def test_processes_that_calibrate_at_once_agree(tmp_path: Path) -> None:
    """Of several writers at once one sets the baseline for all, and no sighting is lost."""
    program = """
import json, sys
from pathlib import Path
from proxies.baselines import BaselineStore
folder, ms = Path(sys.argv[1]), float(sys.argv[2])
conditions = json.loads(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
print({BaselineStore(folder=folder).see(conditions, ms, tolerance=0.1).reference_ms for _ in range(12)})
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(10.0 + n / 100), json.dumps(HERE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    answers = {writer.communicate()[0].strip() for writer in writers}
    found = BaselineStore(folder=tmp_path).find(HERE)
    assert answers == {str({found.reference_ms})}
    seen = [one.reference_ms for one in found.sightings]
    assert sorted(seen) == sorted([10.0, 10.01, 10.02, 10.03] * 12)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", next(tmp_path.glob("*.json")).name}


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE_DIR", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert cache_folder() == Path("/one")
    assert BaselineStore.of_user().folder == Path("/one/baselines")
    monkeypatch.delenv("NAS_CACHE_DIR")
    assert cache_folder() == Path("/two/training-aware-nas")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path("~/.cache/training-aware-nas").expanduser()
