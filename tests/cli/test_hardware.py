"""`nas hardware` shows the profiles and which of them is here."""

import pytest
from nas_program import assert_one_problem, run_here

from proxies.detection import GIB, Device, Machine
from proxies.hardware import load_profile, profile_names

A100 = Device(kind="cuda", index=0, name="NVIDIA A100-SXM4-80GB", memory_bytes=79 * GIB, uuid="GPU-1")
BROKEN = Device(kind="cuda", index=1, name="Tesla T4", memory_bytes=15 * GIB, defect="torch cannot drive it")
MACHINE = Machine(
    accelerators=(A100, BROKEN), cpu=Device(kind="cpu", index=0, name="Test CPU"), torch_version="2.13.0"
)


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr("proxies.detection.find_machine", lambda: MACHINE)


def test_list_marks_what_is_here(capsys):
    listed = run_here(capsys, "hardware", "list", "--json").json
    assert [each["name"] for each in listed] == profile_names()
    here = {each["name"]: each["here"] for each in listed if each["here"]}
    assert here == {"a100-80g": [str(A100)], "cpu": ["Test CPU"]}
    ended = run_here(capsys, "hardware", "list")
    assert len(ended.out.splitlines()) == len(listed) + 1
    assert "NVIDIA A100-SXM4-80GB" in ended.err


def test_show_is_the_profile(capsys):
    shown = run_here(capsys, "hardware", "show", "t4", "--json").json
    assert shown.pop("here") == []
    assert shown == load_profile("t4").model_dump(mode="json", by_alias=True)
    assert "defaults.batch_size: " in run_here(capsys, "hardware", "show", "t4").out


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("h10", ["'h10'", "did you mean h100"]),
        ("a100", ["a100-40g or a100-80g"]),
        ("my.yaml", ["my.yaml", "No such file"]),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, name, fragments):
    monkeypatch.chdir(tmp_path)
    assert_one_problem(run_here(capsys, "hardware", "show", name), 2, *fragments)
