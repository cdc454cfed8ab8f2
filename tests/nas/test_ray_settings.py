"""What a Ray worker is told, and what it occupies. Ray itself is not needed."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas.executors.protocol import ExecutorError
from nas.executors.ray_settings import (
    fingerprint_of,
    first_line,
    machine_of_node,
    needs_of,
    node_problem,
    on_this_node,
    packed,
    unpacked,
)
from proxies.detection import Device, DeviceKind, Machine, installed_version
from proxies.hardware import Defaults, HardwareProfile, Match, MemoryRange, ResolvedHardware
from proxies.worker import WorkerSettings

CPU = Device(kind="cpu", index=0, name="test")
GPUS = [Device(kind="cuda", index=i, name="test", memory_bytes=2**29, uuid=f"GPU-{i}") for i in range(4)]


def on(*devices: Device, kind: DeviceKind | None = None, ray_type: str | None = None) -> WorkerSettings:
    kind = kind or devices[0].kind
    match = None if kind == "cpu" else Match(name="test", memory_gib=MemoryRange(low=0.0, high=1.0))
    profile = HardwareProfile(
        name="test", kind=kind, match=match, ray_accelerator_type=ray_type, defaults=Defaults(batch_size=1)
    )
    return WorkerSettings(
        hardware=ResolvedHardware(profile=profile, devices=devices, torch_version=None), preload=()
    )


@pytest.mark.parametrize(
    ("settings", "workers", "is_local", "needs"),
    [
        (WorkerSettings(), 2, True, {"CPU": 1.0}),
        (on(CPU), 2, False, {"CPU": 1.0}),
        (on(*GPUS), 4, True, {"CPU": 1.0, "GPU": 1.0}),
        (on(*GPUS), 2, True, {"CPU": 1.0, "GPU": 1.0}),
        (on(GPUS[0]), 4, True, {"CPU": 1.0, "GPU": 0.25}),
        (on(GPUS[0]), 4, False, {"CPU": 1.0, "GPU": 1.0}),
        (on(GPUS[0], ray_type="A100"), 1, False, {"CPU": 1.0, "GPU": 1.0, "accelerator_type:A100": 0.001}),
        (
            on(CPU, kind="tpu", ray_type="TPU-V4"),
            1,
            False,
            {"CPU": 1.0, "TPU": 1.0, "accelerator_type:TPU-V4": 0.001},
        ),
    ],
)
def test_a_trial_occupies_its_device_and_no_more(
    settings: WorkerSettings, workers: int, is_local: bool, needs: dict[str, float]
) -> None:
    assert needs_of(settings, workers=workers, is_local=is_local) == needs


def test_settings_arrive_as_they_were() -> None:
    settings = on(*GPUS)
    payload, main = packed(settings)
    assert main == {}
    assert unpacked(payload, main) == settings


def test_settings_that_cannot_travel_are_refused() -> None:
    task: Any = lambda: None  # noqa: E731 -- what a user might try
    with pytest.raises(ExecutorError, match="define the task at the top level of a module"):
        packed(WorkerSettings(task=task))


def test_a_task_of_the_users_script_is_found_by_loading_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text("class MyTask:\n    def __eq__(self, other): return type(other) is type(self)\n")
    main = ModuleType("__main__")
    main.__file__ = str(script)
    exec(script.read_text(), main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    payload, preparation = packed(WorkerSettings(task=main.MyTask(), preload=()))
    assert preparation == {"init_main_from_path": str(script)}
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # as in a worker
    monkeypatch.setitem(sys.modules, "__mp_main__", ModuleType("__mp_main__"))
    arrived = unpacked(payload, preparation)
    assert type(arrived.task).__name__ == "MyTask"


@dataclass(frozen=True)
class Found:
    """Stands for looking at the machine."""

    accelerators: tuple[Device, ...]

    def __call__(self) -> Machine:
        return Machine(accelerators=self.accelerators, cpu=CPU, torch_version="2.x")


def test_a_worker_takes_the_device_that_its_node_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Device(kind="cuda", index=0, name="another", memory_bytes=2**29)
    monkeypatch.setattr("proxies.detection.find_machine", Found((other, GPUS[3])))
    here = on_this_node(on(GPUS[0]), is_local=False).hardware
    assert here is not None
    assert here.devices == (GPUS[3],)
    assert here.torch_version == "2.x"


@pytest.mark.parametrize(("visible", "seen"), [("", None), ("1", "1"), (None, None)])
def test_what_ray_hides_from_a_question_is_found(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, seen: str | None
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    looked: list[str | None] = []
    monkeypatch.setattr(
        "proxies.detection.find_machine", lambda: looked.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
    )
    machine_of_node()
    assert looked == [seen]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible


def test_a_node_without_the_device_says_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxies.detection.find_machine", Found(()))
    with pytest.raises(ExecutorError, match=r"no test on this node: found only a CPU \(test\)"):
        on_this_node(on(GPUS[0]), is_local=False)


def test_the_local_cpu_needs_no_look() -> None:
    assert on_this_node(on(CPU), is_local=True) == on(CPU)
    assert on_this_node(WorkerSettings(), is_local=False) == WorkerSettings()


@dataclass(frozen=True)
class DataTask:
    """A task whose data is a file."""

    path: Path

    def fingerprint(self) -> str:
        return self.path.read_text()


def test_a_node_is_asked_for_torch_and_data(tmp_path: Path) -> None:
    here = installed_version("torch")
    file = tmp_path / "data"
    payload, main = packed(WorkerSettings(task=DataTask(file), preload=()))  # type: ignore[arg-type]
    said = node_problem(payload, main, here, "1")
    assert said is not None
    assert said.startswith("cannot train: [Errno 2] No such file or directory")
    file.write_text("1")
    assert node_problem(payload, main, here, "1") is None
    said = node_problem(payload, main, here, "2")
    assert said == "has other data for this task; give every node the same"
    said = node_problem(payload, main, "1.0", "1")
    assert said == f"has torch {here}, not 1.0; install the same"


def test_a_node_without_a_task_to_train_needs_no_data() -> None:
    payload, main = packed(WorkerSettings(preload=()))
    assert fingerprint_of(WorkerSettings()) is None
    assert node_problem(payload, main, None, None) is None


def test_only_the_gist_of_an_error_is_shown() -> None:
    assert first_line(ValueError("\n  Failed to connect\nstack trace")) == "Failed to connect"
    assert first_line(ValueError()) == "no message"
