"""Transfer: laws of the curve, of the anchors and of the imagined devices; a device that is carried over."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import main
from nas.prediction_bench import bench_roofline, bench_transfer
from nas.predictor import fit_predictor
from nas.transfer import Curve, ImaginedDevices, choose_anchors, fit_curve, transfer
from proxies.estimates import raw_seconds
from proxies.hardware import load_profile
from results.table import Table, read_table
from search_spaces.space_document import load_space
from search_spaces.workload import PHYSICAL_QUANTITIES

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "accel_nasbench.csv"
SPACE = load_space("mnasnet")
TOTALS = len(PHYSICAL_QUANTITIES)
GENES = SPACE.sample(np.random.default_rng(0), 260)
FEATURES = SPACE.physical_features(GENES)


def priced(**prices: float) -> np.ndarray:
    """Times of a device that pays so much for each group of quantities, in shares of a mean network."""
    totals = FEATURES[:, :TOTALS]
    parts = []
    for group, price in prices.items():
        columns = [i for i, name in enumerate(PHYSICAL_QUANTITIES) if name.startswith(group)]
        work = totals[:, columns].sum(axis=1)
        parts.append(price * work / work.mean())
    return np.sum(parts, axis=0)


HERE = priced(macs=1.0, elements=2.0, operations=0.2)
KNOWN = FEATURES[:60]


@pytest.fixture(scope="module")
def source():
    return fit_predictor(KNOWN, HERE[:60], num_totals=TOTALS)


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.median(np.abs(predicted / truth - 1)))


def test_another_mix_of_prices_is_learned_from_ten_anchors(source) -> None:
    there = priced(macs=0.3, elements=2.0, operations=0.9)
    chosen = choose_anchors(source, KNOWN)
    moved = transfer(source, KNOWN[chosen], there[chosen], known=KNOWN)
    before = source.predict(FEATURES[60:]).values
    ratio = np.median(there[chosen] / HERE[chosen])
    found = moved.predict(FEATURES[60:])
    assert error(found.values, there[60:]) < 0.75 * error(ratio * before, there[60:])
    assert np.mean((found.low <= there[60:]) & (there[60:] <= found.high)) > 0.85


def test_a_floor_is_found_where_there_is_one_and_not_where_there_is_none(source) -> None:
    floor = 1.5 * np.median(HERE)
    chosen = choose_anchors(source, KNOWN)
    for there in (0.4 * HERE, np.maximum(0.9 * HERE, floor)):
        moved = transfer(source, KNOWN[chosen], there[chosen], known=KNOWN)
        assert error(moved.predict(FEATURES[60:]).values, there[60:]) < 0.04
        has_floor = moved.curve.floor > 0.0
        assert has_floor == (there.min() == floor)


@given(st.floats(0.01, 100.0), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_the_unit_of_the_other_device_does_not_matter(unit, seed) -> None:
    rng = np.random.default_rng(seed)
    before = rng.uniform(1.0, 10.0, 10)
    values = np.maximum(2.0, 0.5 * before) * np.exp(0.01 * rng.standard_normal(10))
    at = np.linspace(1.0, 10.0, 7)
    assert fit_curve(before, unit * values)(at) == pytest.approx(
        unit * fit_curve(before, values)(at), rel=1e-6
    )


@given(st.floats(0.0, 5.0), st.floats(0.01, 5.0), st.sampled_from([1.0, 2.0, 4.0]))
@settings(max_examples=25)
def test_a_curve_rises_and_stays_above_floor_and_slope(floor, slope, power) -> None:
    at = np.linspace(0.1, 20.0, 50)
    found = Curve(floor=floor, slope=slope, power=power)(at)
    assert (np.diff(found) >= -1e-9).all()
    assert (found >= np.maximum(floor, slope * at) * (1 - 1e-9)).all()
    assert (found <= (floor + slope * at) * (1 + 1e-9)).all()


def test_anchors_differ_and_are_the_same_each_time(source) -> None:
    chosen = choose_anchors(source, KNOWN)
    assert len(set(chosen.tolist())) == 10
    assert (chosen == choose_anchors(source, KNOWN)).all()
    assert (chosen[:4] == choose_anchors(source, KNOWN, 4)).all()

    def nearest(rows: np.ndarray) -> float:
        logs = np.log1p(KNOWN[rows][:, :TOTALS])
        distances = ((logs[:, None] - logs[None]) ** 2).sum(axis=2) + 1e9 * np.eye(len(rows))
        return float(distances.min(axis=1).mean())

    rng = np.random.default_rng(0)
    by_chance = np.mean([nearest(rng.permutation(60)[:10]) for _ in range(50)])
    assert nearest(chosen) > 1.3 * by_chance
    with pytest.raises(ValueError, match="61 anchors of 60 networks"):
        choose_anchors(source, KNOWN, 61)


def test_devices_are_imagined_around_any_networks() -> None:
    devices = ImaginedDevices.around(KNOWN[:, :TOTALS])
    mixes = devices(KNOWN[:, :TOTALS])
    assert np.sqrt((mixes**2).sum(axis=1).mean()) == pytest.approx(1.0)
    assert mixes.mean(axis=0) == pytest.approx(np.zeros(mixes.shape[1]), abs=1e-9)
    # A network twice as large in everything is the same mix of work.
    assert devices(2.0 * KNOWN[:, :TOTALS]) == pytest.approx(mixes, abs=1e-9)


def test_what_cannot_be_transferred_is_refused(source) -> None:
    with pytest.raises(ValueError, match="3 anchors are too few"):
        transfer(source, KNOWN[:3], HERE[:3], known=KNOWN)
    with pytest.raises(ValueError, match="finite and above 0"):
        transfer(source, KNOWN[:5], -HERE[:5], known=KNOWN)


def table_of(**columns: np.ndarray) -> Table:
    texts = {name: tuple(map(str, values.tolist())) for name, values in columns.items()}
    return Table(path=Path("t.csv"), genes=GENES, texts=texts)


def test_benches_of_transfer_and_roofline() -> None:
    there = priced(macs=0.3, elements=2.0, operations=0.9)
    found = bench_transfer(table_of(here=HERE, there=there), SPACE, "there", "here", rows=60, splits=1)
    assert found.predictor.median_error < found.others["single_ratio"].median_error
    profile = load_profile("rtx3090")
    inference = np.array(
        [
            raw_seconds(
                SPACE.decode(genes),
                profile,
                resolution=224,
                batch_size=64,
                precision="bf16",
                mode="inference",
            )
            for genes in GENES
        ]
    )
    table = table_of(inference_ms=7.0 * inference, step_ms=7.0 * inference)
    exact = bench_roofline(table, SPACE, "inference_ms", "rtx3090", rows=20, splits=1)
    assert exact.predictor.median_error < 1e-9
    assert exact.predictor.kendall_tau == pytest.approx(1.0)
    # A column that is not called inference is taken for training, which is another time.
    other = bench_roofline(table, SPACE, "step_ms", "rtx3090", rows=20, splits=1)
    assert other.predictor.median_error > 1e-3


def test_command(tmp_path, capsys) -> None:
    columns = [gene.column for gene in SPACE.genes]
    lines = [",".join([*columns, "here_ms", "there_ms"])]
    for row, here in zip(GENES[:60], HERE, strict=False):
        cells = [gene.labels[option] for gene, option in zip(SPACE.genes, row, strict=True)]
        lines.append(",".join([*cells, str(here), str(3.0 * here)]))
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    common = [
        "bench",
        str(path),
        "--space",
        "mnasnet",
        "--predict",
        "there_ms",
        "--rows",
        "40",
        "--splits",
        "1",
    ]
    keys = {"column", "rows", "kendall_tau", "median_error", "coverage", "half_width", "two_term", "method"}
    assert main([*common, "--from", "here_ms", "--anchors", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert keys | {"single_ratio"} <= set(found)
    assert found["method"] == "6 anchors from here_ms"
    assert main([*common, "--roofline", "a100"]) == 0
    assert "roofline of a100-80g, training" in capsys.readouterr().out
    assert main([*common, "--roofline", "a100", "--from", "here_ms"]) == 2
    assert "cannot be given with --roofline" in capsys.readouterr().err
    assert main([*common, "--roofline", "cpu"]) != 0
    assert "states no fp32 rate" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"the archive is not at {ARCHIVE}")
def test_real_devices() -> None:
    """Zero-shot and transfer between devices that were measured, where neither was fitted to."""
    table, name = read_table(ARCHIVE, SPACE), "inference_images_per_second_"
    for card in ("a100", "rtx3090"):
        found = bench_roofline(table, SPACE, name + card, card, rows=100, splits=2)
        assert found.predictor.kendall_tau > 0.93
        assert found.predictor.median_error < 0.03
    for here, there, most in (("rtx3090", "a100", 0.022), ("tpuv2", "tpuv3", 0.045)):
        found = bench_transfer(table, SPACE, name + there, name + here, rows=100, splits=6)
        assert found.predictor.median_error < most
        assert found.predictor.median_error < found.others["single_ratio"].median_error
