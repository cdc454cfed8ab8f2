"""The script that makes tables of step times: fixed order, each row once, taken up where it stopped."""

import csv
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tables" / "step_times.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("step_times", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(file):
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_a_table_is_taken_up_where_it_stopped(script, monkeypatch, tmp_path):
    table = tmp_path / "cpu.csv"
    measured = []

    def stop_after(count):
        def measure(row, hardware):
            if len(measured) == count:
                raise KeyboardInterrupt
            measured.append(row.name)
            return {"status": "ok", "step_ms": 1.0, "ratio": 2.0, "pairs": 6, "seconds": 0.0}

        return measure

    given = ["--out", str(table), "--hardware", "cpu", "--members", "2"]
    monkeypatch.setattr(script, "measured", stop_after(3))
    with pytest.raises(KeyboardInterrupt):
        script.main(given)
    assert [row["network"] for row in rows_of(table)] == [f"efficientnetv2-b{number}" for number in range(3)]
    monkeypatch.setattr(script, "measured", stop_after(99))
    script.main(given)
    names = [row["network"] for row in rows_of(table)]
    assert (
        names
        == measured
        == [f"efficientnetv2-{name}" for name in script.PUBLISHED] + ["effnetv2-0", "effnetv2-1"]
    )
    script.main(given)
    assert len(rows_of(table)) == len(names)


def test_a_row_is_a_real_measurement(script, tmp_path):
    """One small network, really timed, and one that takes too long for the seconds it is given."""
    table = tmp_path / "cpu.csv"
    given = ["--hardware", "cpu", "--members", "0", "--resolution", "32", "--batch", "2", "--budget", "1.0"]
    script.PUBLISHED = ("b0", "l")
    script.main([*given, "--out", str(table)])
    b0, large = rows_of(table)
    assert (b0["network"], b0["mode"], b0["params"]) == ("efficientnetv2-b0", "eager", "7139704")
    assert b0["status"] in {"ok", "unstable"}
    assert float(b0["step_ms_low"]) <= float(b0["step_ms"]) <= float(b0["step_ms_high"])
    assert large["status"] in {"timeout", "unstable", "ok"}
    assert (large["step_ms"] == "") == (large["status"] == "timeout")
