"""What a Ray worker is told, in a form that reaches it, and what it occupies. Knows nothing of Ray."""

import multiprocessing.spawn
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

from nas.executors.protocol import ExecutorError
from proxies.worker import WorkerSettings

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


def first_line(error: BaseException) -> str:
    """The gist of an error of Ray's, whose messages are long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"
