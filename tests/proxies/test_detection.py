from pathlib import Path

import pytest
from fake_nvml import Card, FakeNvml

from proxies.detection import (
    GIB,
    cpu_name,
    find_amd,
    find_machine,
    find_tpus,
    installed_version,
    nvidia_devices,
    visible_devices,
)

A, B, C = (Card(name=f"NVIDIA card {x}", memory_gib=40, uuid=f"GPU-{x}{x}{x}") for x in "abc")


def test_nvidia_cards_are_read_without_torch():
    (device,) = nvidia_devices(FakeNvml(Card("NVIDIA A100-SXM4-40GB", 39.6, "GPU-1")), "2.13.0")
    assert (device.kind, device.index, device.name) == ("cuda", 0, "NVIDIA A100-SXM4-40GB")
    assert device.memory_bytes == int(39.6 * GIB)
    assert (device.driver, device.uuid, device.lock_name) == ("580.65.06", "GPU-1", "GPU-1")
    assert device.defect is None
    assert str(device) == "NVIDIA A100-SXM4-40GB (40 GiB)"


@pytest.mark.parametrize(
    ("version", "defect"),
    [
        ("2.13.0", None),
        ("2.13.0+cu130", None),
        ("2.13.0+cpu", "torch 2.13.0+cpu cannot drive it"),
        ("2.13.0+rocm6.4", "torch 2.13.0+rocm6.4 cannot drive it"),
        (None, "torch is not installed"),
    ],
)
def test_a_card_that_the_installed_torch_cannot_drive_is_defective(version, defect):
    assert nvidia_devices(FakeNvml(A), version)[0].defect == defect


def test_a_card_split_by_mig_is_defective():
    whole, split = nvidia_devices(
        FakeNvml(Card("NVIDIA H100 80GB HBM3", 79.6, "GPU-1", mig=False), Card("x", 79.6, "GPU-2", mig=True)),
        "2.13.0",
    )
    assert whole.defect is None
    assert split.defect is not None
    assert "a slice of a card is not the card" in split.defect


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        (None, [0, 1, 2]),
        ("2,0", [2, 0]),
        ("GPU-bbb", [1]),
        ("GPU-b,0", [1, 0]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),
        ("1,1", [1]),
        ("GPU-", []),
    ],
)
def test_cuda_visible_devices_is_obeyed(setting, shown):
    devices = nvidia_devices(FakeNvml(A, B, C), "2.13.0")
    assert [device.index for device in visible_devices(devices, setting)] == shown


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_amd_cards_are_found_by_pci_id(tmp_path):
    card = tmp_path / "class/drm/card0/device"
    _file(card / "vendor", "0x1002")
    _file(card / "device", "0x74a1")
    _file(card / "mem_info_vram_total", str(192 * GIB))
    assert find_amd(tmp_path, "2.13.0+rocm6.4") == []  # the kernel driver is not there
    (tmp_path / "class/kfd").mkdir()
    (device,) = find_amd(tmp_path, "2.13.0+rocm6.4")
    assert (device.kind, device.name, device.memory_bytes) == ("rocm", "AMD Instinct MI300X", 192 * GIB)
    assert device.defect is None
    assert device.lock_name == "rocm-0"
    assert find_amd(tmp_path, "2.13.0")[0].defect == "torch 2.13.0 cannot drive it"


def test_tpus_are_found_by_pci_id_or_by_the_environment_of_a_tpu_machine(tmp_path):
    assert find_tpus(tmp_path, {}) == []
    for index in range(4):
        _file(tmp_path / f"dev/accel{index}", "")
    assert find_tpus(tmp_path, {}) == []  # accel devices of some other maker
    chips = find_tpus(tmp_path, {"TPU_ACCELERATOR_TYPE": "v5litepod-4"})
    assert [chip.name for chip in chips] == ["Google TPU v5e"] * 4
    _file(tmp_path / "sys/bus/pci/devices/0000:00:04.0/vendor", "0x1ae0")
    _file(tmp_path / "sys/bus/pci/devices/0000:00:04.0/device", "0x006f")
    (chip,) = find_tpus(tmp_path, {})
    assert (chip.name, chip.kind, chip.memory_bytes) == ("Google TPU v6e", "tpu", 32 * GIB)


def test_the_cpu_is_named_by_its_model_numbers_too(tmp_path):
    one = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
    _file(tmp_path / "cpuinfo", f"{one}\n{one.replace('17', '99')}")
    assert cpu_name(tmp_path / "cpuinfo") == "AMD EPYC, family 25 model 17 stepping 1"
    _file(tmp_path / "arm", "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd40\n")
    assert cpu_name(tmp_path / "arm").endswith(", implementer 0x41 part 0xd40")
    assert cpu_name(tmp_path / "missing")


def test_this_machine_can_be_looked_at():
    machine = find_machine()
    assert machine.cpu.kind == "cpu"
    assert machine.cpu.lock_name == "cpu"
    assert machine.torch_version == installed_version("torch")
    assert str(machine)
    assert installed_version("no-such-distribution") is None
