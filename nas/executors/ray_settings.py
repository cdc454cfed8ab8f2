"""What a Ray worker is told, in a form that reaches it, and what it occupies. Knows nothing of Ray."""

import multiprocessing.spawn
import os
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

from nas.executors.protocol import ExecutorError
from nas.executors.ray_environment import environment
from proxies.worker import WorkerSettings

if TYPE_CHECKING:
    from proxies.detection import Machine

ACCELERATOR_SHARE = 0.001
"""An accelerator type is a label: a trial asks for a little of it, so that any number fits."""


def needs_of(settings: WorkerSettings, *, workers: int, is_local: bool) -> dict[str, float]:
    """What one trial occupies: on a cluster a device, on this machine its share of those that are here."""
    needs = {"CPU": 1.0}
    if settings.hardware is None or settings.is_on_cpu:
        return needs
    profile, num_devices = settings.hardware.profile, len(settings.hardware.devices)
    if profile.kind == "tpu":
        needs["TPU"] = 1.0
    else:
        needs["GPU"] = min(1.0, num_devices / workers) if is_local else 1.0
    if profile.ray_accelerator_type is not None:
        needs[f"accelerator_type:{profile.ray_accelerator_type}"] = ACCELERATOR_SHARE
    return needs


def packed(settings: WorkerSettings) -> tuple[bytes, dict[str, str]]:
    """Settings as the worker processes of `multiprocessing` get them, and the script they may refer to.

    Raises:
        ExecutorError: something in them is not importable elsewhere.
    """
    try:
        payload = bytes(ForkingPickler.dumps(settings))
    except Exception as error:
        raise ExecutorError(
            f"the settings cannot be sent to worker processes ({error}); "
            "define the task at the top level of a module that can be imported"
        ) from error
    if b"__main__" not in payload:
        return payload, {}
    preparation = multiprocessing.spawn.get_preparation_data("nas-ray-worker")
    return payload, {name: value for name, value in preparation.items() if name.startswith("init_main_from")}


def unpacked(payload: bytes, main: dict[str, str]) -> WorkerSettings:
    """What was `packed`, in a worker; a task defined in the user's script is found by loading the script."""
    if main:
        multiprocessing.spawn.prepare(main)
    settings = ForkingPickler.loads(payload)
    assert isinstance(settings, WorkerSettings)
    return settings


def on_this_node(settings: WorkerSettings, *, is_local: bool) -> WorkerSettings:
    """The settings with the device that Ray has given this process.

    Raises:
        ExecutorError: the node has no such device.
    """
    hardware = settings.hardware
    if hardware is None or (is_local and settings.is_on_cpu):
        return settings
    from proxies.detection import find_machine

    machine = find_machine()
    devices = [
        device for device in (*machine.accelerators, machine.cpu) if hardware.profile.recognises(device)
    ]
    if not devices:
        raise ExecutorError(f"no {hardware.profile.name} on this node: found {machine}")
    here = replace(hardware, devices=(devices[0],), torch_version=machine.torch_version)
    return replace(settings, hardware=here)


def machine_of_node() -> "Machine":
    """What this node has. Ray hides the devices from a task that asks for none, which is undone."""
    from proxies.detection import find_machine

    hides = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    with environment({}, without=("CUDA_VISIBLE_DEVICES",) if hides else ()):
        return find_machine()


def node_problem(
    payload: bytes, main: dict[str, str], torch_version: str | None, data: str | None
) -> str | None:
    """Why this node cannot work as the search's own machine would, as a clause; None: it can.

    `torch_version` and `data`, the fingerprint of the task and its data, are those of the search's machine;
    None: not asked for.
    """
    from proxies.detection import installed_version

    here = installed_version("torch")
    if torch_version is not None and here != torch_version:
        return f"has torch {here or 'not installed'}, not {torch_version}; install the same"
    if data is None:
        return None
    try:
        found = fingerprint_of(unpacked(payload, main))
    except Exception as error:  # noqa: BLE001 -- whatever it is, this node cannot train
        return f"cannot train: {first_line(error)}"
    return None if found == data else "has other data for this task; give every node the same"


def fingerprint_of(settings: WorkerSettings) -> str | None:
    """What the task and its data come to on this machine; None where there is no task."""
    fingerprint = getattr(settings.task, "fingerprint", None)
    return None if fingerprint is None else str(fingerprint())


def first_line(error: BaseException) -> str:
    """The gist of an error of Ray's, whose messages are long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"
