"""The roofline against step times that were measured on an H100 (docs/benchmarks/h100.csv).

Its scale was set by the six EfficientNetV2 of the table; the random members of `effnetv2` had no part in it.
"""

import csv
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from proxies.estimates import estimate_step
from proxies.hardware import load_profile, timing_settings
from search_spaces.space_document import load_space

TABLE = Path(__file__).parents[2] / "docs" / "benchmarks" / "h100.csv"
H100 = load_profile("h100")


def test_networks_that_did_not_set_the_scale_are_estimated_within_a_quarter():
    space = load_space("effnetv2")
    with TABLE.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["genes"] and row["status"] == "ok"]
    rows = [row for row in rows if row["mode"] == "cuda-graph"]
    measured, estimated, macs = [], [], []
    for row in rows:
        arch = space.decode(np.array([int(gene) for gene in row["genes"].split()]))
        settings = timing_settings(
            H100, arch, resolution=int(row["resolution"]), batch_size=int(row["batch_size"])
        )
        measured.append(float(row["step_ms"]))
        estimated.append(estimate_step(arch, H100, settings).estimated_step_ms)
        macs.append(int(row["macs"]))
    assert len(rows) >= 3
    assert np.abs(np.array(estimated) / measured - 1).max() < 0.25
    assert kendalltau(estimated, measured).statistic > kendalltau(macs, measured).statistic
