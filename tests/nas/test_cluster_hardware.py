"""What a hardware name means on a cluster. Ray itself is not needed."""

import re

import pytest

from nas.executors.cluster_hardware import cluster_hardware
from proxies.detection import GIB, Device, Machine
from proxies.hardware import HardwareNotFoundError, hardware_fingerprint, resolve_hardware


def a100(gib: int, index: int = 0) -> Device:
    name = f"NVIDIA A100-SXM4-{gib}GB"
    uuid = f"{gib}-{index}"
    return Device(kind="cuda", index=index, name=name, memory_bytes=gib * GIB, driver="550", uuid=uuid)


def node(*devices: Device, torch: str = "2.13.0") -> Machine:
    return Machine(
        accelerators=devices, cpu=Device(kind="cpu", index=0, name="Some CPU"), torch_version=torch
    )


def test_an_alias_means_what_the_nodes_have() -> None:
    machines = {"10.0.0.1": node(), "10.0.0.2": node(a100(80), a100(80, 1)), "10.0.0.3": node(a100(80))}
    found = cluster_hardware("a100", machines)
    assert found.profile.name == "a100-80g"
    assert [device.uuid for device in found.devices] == ["80-0", "80-1", "80-0"], "one worker a device"


def test_times_are_filed_as_the_node_itself_would() -> None:
    machine = node(a100(40))
    there = resolve_hardware("a100", find=lambda: machine)
    found = cluster_hardware("a100", {"10.0.0.2": machine, "10.0.0.3": node(a100(40))})
    assert hardware_fingerprint(found, threads=1) == hardware_fingerprint(there, threads=1)


@pytest.mark.parametrize("name", ["a100", "auto"])
def test_different_devices_of_one_name_are_refused(name: str) -> None:
    machines = {"10.0.0.2": node(a100(40)), "10.0.0.3": node(a100(80))}
    with pytest.raises(HardwareNotFoundError, match=r"10\.0\.0\.2 has .*40.*; 10\.0\.0\.3 has .*80"):
        cluster_hardware(name, machines)
    assert cluster_hardware("a100-40g", machines).profile.name == "a100-40g"


def test_another_torch_is_another_kind_of_time() -> None:
    machines = {"10.0.0.2": node(a100(40)), "10.0.0.3": node(a100(40), torch="2.12.0")}
    with pytest.raises(HardwareNotFoundError, match=re.escape("torch 2.12.0")):
        cluster_hardware("a100", machines)


def test_hardware_on_no_node_is_refused_with_what_they_have() -> None:
    with pytest.raises(HardwareNotFoundError, match=r"on no node of the cluster \(10.0.0.1 has only a CPU"):
        cluster_hardware("a100", {"10.0.0.1": node()})
    with pytest.raises(HardwareNotFoundError, match="none has a processor"):
        cluster_hardware("cpu", {})
