"""Which hardware a name means on a cluster: what its nodes have, not the machine that a search runs on.

Knows nothing of Ray.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from proxies.detection import Machine
from proxies.hardware import HardwareNotFoundError, ResolvedHardware, hardware_fingerprint, resolve_hardware


def cluster_hardware(name_or_path: str | Path, machines: Mapping[str, Machine]) -> ResolvedHardware:
    """The devices of the nodes that a name means; `machines` are the nodes by address.

    Raises:
        HardwareNotFoundError: no node has it, or they have different ones, whose times are not of a kind.
        UnknownHardwareError, DocumentError, ValueError: as `proxies.hardware.load_profiles`.
    """
    found: dict[str, ResolvedHardware] = {}
    for address, machine in machines.items():
        try:
            found[address] = resolve_hardware(name_or_path, find=lambda here=machine: here)  # type: ignore[misc]
        except HardwareNotFoundError:
            continue
    if not found:
        have = "; ".join(f"{address} has {machine}" for address, machine in machines.items())
        raise HardwareNotFoundError(
            f"hardware {str(name_or_path)!r} is on no node of the cluster "
            f"({have or 'none has a processor'}); name what the nodes have, or add such a node"
        )
    kinds = {hardware_fingerprint(each, threads=1): each for each in found.values()}
    if len(kinds) > 1:
        have = "; ".join(
            f"{address} has {each.device} with torch {each.torch_version}" for address, each in found.items()
        )
        raise HardwareNotFoundError(
            f"hardware {str(name_or_path)!r} means different devices on this cluster ({have}), "
            "whose step times are not of one kind; name one of them, or search on equal nodes"
        )
    (hardware,) = kinds.values()
    return replace(hardware, devices=tuple(device for each in found.values() for device in each.devices))
