"""Tables of measured networks: what is written from a space reads back; what cannot be read is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from recorded_run import make_run

from results.run import load_run
from results.table import TableError, read_table, table_of_run
from search_spaces.space_document import load_space, space

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "accel_nasbench.csv"

GATED = {
    "schema": "nas.space/1",
    "name": "gated",
    "stem": {"width": 8, "kernel": 3, "stride": 2},
    "stages": [
        {
            "stride": 1,
            "depth": {"int": [0, 2]},
            "width": 8,
            "block": {
                "op": "mbconv",
                "expand": {"one_of": [1, 4]},
                "se": {"one_of": ["none", {"ratio": 0.25}, {"ratio": 0.5}]},
            },
        },
        {"stride": 2, "depth": 1, "width": 16, "block": {"op": "mbconv", "expand": 4}},
    ],
    "head": {"width": 32},
}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


ROW = {
    "stages[0].depth": 1,
    "stages[0].block.expand": "4.0",
    "stages[0].block.se": 0.25,
    "step_ms": 2.5,
    "images_per_second": 400,
}


@pytest.mark.parametrize("name", ["tiny", "effnetv2", "mnasnet"])
def test_what_a_space_draws_reads_back(name, tmp_path):
    found = load_space(name)
    genes = found.sample(np.random.default_rng(8), 40)
    rows = []
    for row in genes:
        cells: dict[str, object] = dict.fromkeys((gene.column for gene in found.genes), "")
        cells |= {
            gene.column: gene.labels[option]
            for gene, option in zip(found.genes, row, strict=True)
            if option >= 0
        }
        rows.append(cells | {"step_ms": 1.0})
    table = read_table(write(tmp_path / "table.csv", rows), found)
    assert (table.genes == genes).all()
    assert list(table.texts) == ["step_ms"]


@pytest.mark.parametrize(
    ("cell", "option"),
    [("0", 0), ("none", 0), ("0.0", 0), (".25", 1), ("{ratio: 0.25}", 1), ("0.50", 2)],
)
def test_short_spellings(cell, option, tmp_path):
    found = space(GATED)
    table = read_table(write(tmp_path / "t.csv", [ROW | {"stages[0].block.se": cell}]), found)
    gene = [each.column for each in found.genes].index("stages[0].block.se")
    assert table.genes[0, gene] == option


def test_cells_of_an_absent_run_are_not_looked_at(tmp_path):
    found = space(GATED)
    row = ROW | {"stages[0].depth": 0, "stages[0].block.expand": "", "stages[0].block.se": "whatever"}
    table = read_table(write(tmp_path / "t.csv", [row]), found)
    assert len(found.decode(table.genes[0]).stages) == 1
    assert (table.genes[0] == found.encode(found.decode(table.genes[0]))).all()


def test_rates_come_as_times_and_empty_cells_are_left_out(tmp_path):
    rows = [ROW, ROW | {"images_per_second": "", "step_ms": 3}, ROW | {"images_per_second": 100}]
    table = read_table(write(tmp_path / "t.csv", rows), space(GATED))
    times = table.column("images_per_second")
    assert (times.name, times.values.tolist(), times.rows.tolist()) == ("images_ms", [2.5, 10.0], [0, 2])
    assert table.column("step_ms").values.tolist() == [2.5, 3.0, 2.5]


@pytest.mark.parametrize(
    ("name", "as_time"),
    [
        ("images_per_second_a100", "images_ms_a100"),
        ("steps_per_second", "steps_ms"),
        ("images_per_seconds", None),
    ],
)
def test_a_rate_is_one_with_a_device_behind_it_too(name, as_time, tmp_path):
    table = read_table(write(tmp_path / "t.csv", [ROW | {name: 250}]), space(GATED))
    found = table.column(name)
    assert (found.name, found.values.tolist()) == ((as_time, [4.0]) if as_time else (name, [250.0]))


@pytest.mark.parametrize(
    ("drop", "kept"),
    [
        (["step_ms>3"], [1.0, 3.0]),
        (["step_ms >= 3"], [1.0]),
        (["step_ms<3", "images_per_second == 50"], [3.0]),
        (["images_per_second<=60"], [1.0, 3.0]),
    ],
)
def test_rows_are_dropped_by_condition(drop, kept, tmp_path):
    rates = {1.0: 400, 3.0: "", 5.0: 50}
    rows = [ROW | {"step_ms": step, "images_per_second": rate} for step, rate in rates.items()]
    table = read_table(write(tmp_path / "t.csv", rows), space(GATED), drop=drop)
    assert table.column("step_ms").values.tolist() == kept
    assert len(table.genes) == len(kept)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("step_ms", "'step_ms' is no condition"),
        ("step_ms>fast", "is no condition"),
        ("stepms>1", "no column 'stepms'"),
        ("step_ms>1", "no row is left after dropping step_ms>1"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(drop, message, tmp_path):
    with pytest.raises(TableError, match=message):
        read_table(write(tmp_path / "t.csv", [ROW]), space(GATED), drop=[drop])


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"stages[0].block.expand": "5"}, "step_ms", r"row 1: stages\[0\].block.expand: '5' is no option"),
        ({"stages[0].block.expand": ""}, "step_ms", r"'' is no option of gated; there are 1, 4"),
        ({"step_ms": "fast"}, "step_ms", "row 1: step_ms: 'fast' is not a number"),
        ({"step_ms": "nan"}, "step_ms", "is not finite; leave unknown cells empty"),
        ({"images_per_second": 0}, "images_per_second", "a rate must be above 0"),
        ({}, "stepms", "no column 'stepms'; did you mean 'step_ms'?"),
    ],
)
def test_what_cannot_be_read_is_refused(change, column, message, tmp_path):
    with pytest.raises(TableError, match=message):
        read_table(write(tmp_path / "t.csv", [ROW | change]), space(GATED)).column(column)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("step_ms\n1\n", r"no column 'stages\[0\].depth', a choice of the space gated"),
        ("a,a\n1,2\n", "column 'a' is there twice"),
        ("a,b\n1\n", "row 1 has 1 cells, the header has 2"),
    ],
)
def test_files_that_are_no_tables(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        read_table(path, space(GATED))


@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"the archive is not at {ARCHIVE}")
def test_the_archive_reads_as_networks_whose_parameters_are_known():
    found = load_space("mnasnet")
    table = read_table(ARCHIVE, found)
    params = table.column("params")
    assert len(params.rows) == len(table) == 2_577
    assert (found.costs(table.genes).params == params.values).all()


RECORDED = {
    "schema": "nas.space/1",
    "name": "recorded",
    "stem": {"width": 8},
    "stages": [
        {
            "stride": 2,
            "depth": 1,
            "width": {"int": [8, 12]},
            "block": {"op": "fused_mbconv", "expand": {"one_of": [1, 2]}},
        }
    ],
    "head": {"width": 32},
}


def test_a_run_is_a_table_of_what_it_measured(tmp_path):
    run = load_run(make_run(tmp_path / "run"))
    members = space(RECORDED)
    table = table_of_run(run, members)
    assert table.written("accuracy").values.tolist() == [0.5, 0.7, 0.6, 0.8]
    assert table.column("step_ms").values.tolist() == [10.0, 20.0, 30.0, 40.0]
    assert [members.decode(genes).digest for genes in table.genes] == [
        each.digest for each in run.candidates() if each.is_measured
    ]
    assert table_of_run(run, members, drop=["step_ms>25"]).written("accuracy").values.tolist() == [0.5, 0.7]


def test_a_run_of_another_space_is_refused(tmp_path):
    run = load_run(make_run(tmp_path / "run"))
    with pytest.raises(TableError, match="none of its 4 measured candidates is a member of gated"):
        table_of_run(run, space(GATED))
