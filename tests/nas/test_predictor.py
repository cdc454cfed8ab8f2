"""The learned predictor on devices whose law is known, and on a table of real ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from nas.features import NetworkFeatures
from nas.prediction_bench import bench_prediction
from nas.predictor import MIN_ROWS, _scaler, fit_predictor
from nas.predictor_members import fit_members
from results.table import Table, read_table
from search_spaces.space_document import load_space
from search_spaces.workload import PHYSICAL_QUANTITIES

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "accel_nasbench.csv"
TOTALS = len(PHYSICAL_QUANTITIES)
SPACE = load_space("mnasnet")


def device(seed: int, count: int, noise: float, floor: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Networks, and times that are linear in their work above a floor, with log-normal noise."""
    rng = np.random.default_rng(seed)
    genes = SPACE.sample(rng, count)
    features = SPACE.physical_features(genes)
    totals = features[:, :TOTALS]
    weights = np.random.default_rng(1).uniform(0.2, 1.0, TOTALS) / np.maximum(totals.mean(axis=0), 1.0)
    return genes, np.maximum(totals @ weights, floor) * np.exp(noise * rng.standard_normal(count))


def test_a_linear_device_is_predicted_almost_exactly():
    genes, times = device(0, 300, noise=0.0)
    features = SPACE.physical_features(genes)
    fitted = fit_predictor(features[:100], times[:100], num_totals=TOTALS)
    predicted = fitted.predict(features[100:])
    assert np.median(np.abs(predicted.values / times[100:] - 1)) < 0.003
    assert (predicted.low < predicted.values).all()
    assert (predicted.values < predicted.high).all()


def test_intervals_cover_what_they_say_and_widen_with_noise():
    widths = []
    for noise in (0.02, 0.08):
        inside = []
        for seed in range(4):
            genes, times = device(seed, 700, noise)
            features = SPACE.physical_features(genes)
            fitted = fit_predictor(features[:100], times[:100], num_totals=TOTALS)
            found = fitted.predict(features[100:])
            inside.append(np.mean((found.low <= times[100:]) & (times[100:] <= found.high)))
        assert 0.85 <= np.mean(inside) <= 0.96
        widths.append(fitted.half_width)
    assert widths[1] > 2 * widths[0]


def test_outliers_do_not_move_the_fit():
    genes, times = device(0, 300, noise=0.01)
    features, spoiled = SPACE.physical_features(genes), times.copy()
    spoiled[:8] *= 4.0
    fitted = fit_predictor(features[:100], spoiled[:100], num_totals=TOTALS)
    assert np.median(np.abs(fitted.predict(features[100:]).values / times[100:] - 1)) < 0.05


def test_units_do_not_matter_and_a_fit_repeats():
    genes, times = device(0, 80, noise=0.03)
    features = SPACE.physical_features(genes)
    first, again, scaled = (
        fit_predictor(features[:60], scale * times[:60], num_totals=TOTALS).predict(features[60:]).values
        for scale in (1.0, 1.0, 1000.0)
    )
    assert (first == again).all()
    assert scaled == pytest.approx(1000.0 * first, rel=1e-3)


def test_what_cannot_be_fitted_is_refused():
    genes, times = device(0, MIN_ROWS, noise=0.0)
    features = SPACE.physical_features(genes)
    with pytest.raises(ValueError, match=f"{MIN_ROWS} or more are needed"):
        fit_predictor(features[1:], times[1:], num_totals=TOTALS)
    with pytest.raises(ValueError, match="finite and above 0"):
        fit_predictor(features, -times, num_totals=TOTALS)
    with pytest.raises(ValueError, match="the same features"):
        fit_predictor(features[[0] * MIN_ROWS], times, num_totals=TOTALS)


def test_bench_is_better_than_two_terms_and_random_rows_are_not_predicted():
    genes, times = device(5, 260, noise=0.02)
    shuffled = np.random.default_rng(0).permutation(times)
    table = Table(
        path=Path("t.csv"),
        genes=genes,
        texts={"step_ms": tuple(map(str, times)), "shuffled": tuple(map(str, shuffled))},
    )
    found = bench_prediction(table, SPACE, "step_ms", rows=60, splits=1)
    assert found.test_rows == 200
    assert found.predictor.median_error < found.two_term.median_error
    assert found.predictor.kendall_tau > 0.9
    control = bench_prediction(table, SPACE, "shuffled", rows=60, splits=1)
    assert abs(control.predictor.kendall_tau) < 0.2
    with pytest.raises(ValueError, match="ask for fewer with --rows"):
        bench_prediction(table, SPACE, "step_ms", rows=255, splits=1)


def test_command(tmp_path, capsys):
    genes, times = device(6, 60, noise=0.02)
    columns = [gene.column for gene in SPACE.genes]
    lines = [",".join([*columns, "images_per_second"])]
    for row, time in zip(genes, times, strict=True):
        cells = [gene.labels[option] for gene, option in zip(SPACE.genes, row, strict=True)]
        lines.append(",".join([*cells, str(1000.0 / time)]))
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    arguments = ["bench", str(path), "--space", "mnasnet", "--predict", "images_per_second"]
    arguments += ["--rows", "40", "--splits", "1"]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    keys = {"column", "rows", "kendall_tau", "median_error", "coverage", "half_width", "two_term"}
    assert keys <= set(document)
    assert document["kendall_tau"] > 0.8
    assert main(arguments) == 0
    assert "tested on 20" in capsys.readouterr().out


@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"the archive is not at {ARCHIVE}")
def test_training_time_of_real_networks():
    found = bench_prediction(read_table(ARCHIVE, SPACE), SPACE, "train_seconds", rows=100, splits=3)
    assert found.predictor.kendall_tau > 0.85 > found.two_term.kendall_tau
    assert 0.84 < found.coverage < 0.96


def test_what_depends_on_the_choices_is_learned_from_network_features():
    """A quantity that the work says little of: whether the first run has its widest kernel."""
    genes, _ = device(2, 160, noise=0.0)
    features, network = SPACE.physical_features(genes), NetworkFeatures(SPACE)(genes)
    values = np.exp(0.2 * (genes[:, 1:6] == 1).sum(axis=1))
    plain = fit_predictor(features[:80], values[:80], num_totals=TOTALS)
    both = fit_predictor(features[:80], values[:80], num_totals=TOTALS, network=network.rows(np.arange(80)))
    unseen = np.arange(80, 160)

    def error(values_of: np.ndarray) -> float:
        return float(np.mean(np.abs(np.log(values_of / values[80:]))))

    without = error(plain.predict(features[80:]).values)
    found = both.predict(features[80:], network.rows(unseen))
    assert error(found.values) < 0.7 * without
    assert np.mean((found.low <= values[80:]) & (values[80:] <= found.high)) > 0.8
    assert both.shares.sum() == pytest.approx(1.0)
    assert (both.shares >= 0).all()
    for predictor, given in ((plain, network.rows(unseen)), (both, None)):
        with pytest.raises(ValueError, match="give network features to both"):
            predictor.predict(features[80:], given)


@pytest.mark.parametrize("index", range(5))
def test_a_member_refitted_to_the_same_rows_is_nearly_itself(members, index):
    rows, targets, fitted = members
    again = fitted[index].refitted(rows, targets)
    assert again.logs(rows) == pytest.approx(fitted[index].logs(rows), abs=0.02)
    # The members are of the same networks, so each is right about most of what it saw.
    assert np.median(np.abs(again.logs(rows) - np.log(targets))) < 0.05


@pytest.fixture(scope="module")
def members():
    genes, times = device(3, 60, noise=0.02)
    features = SPACE.physical_features(genes)
    scaler = _scaler(features, times, TOTALS)
    rows = scaler(features, NetworkFeatures(SPACE)(genes))
    targets = times / scaler.scale
    return rows, targets, fit_members(rows, targets)
