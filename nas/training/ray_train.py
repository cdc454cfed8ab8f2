"""A training of several workers through Ray Train, each a process with a device of its own.

The driver, which holds the training's directory, starts the workers, hears from the chief among them through
a channel, and passes Ctrl-C on. Ray Train starts and ends processes and connects them; logs, checkpoints and
resuming are ours, as in a training alone.
"""

import contextlib
import shutil
import threading
from dataclasses import dataclass, field
from typing import Any

from nas.errors import NasError
from nas.executors.protocol import ExecutorError
from nas.executors.ray_environment import (
    ENVIRONMENT,
    authentication,
    environment,
    make_folder,
    refuse_open_cluster,
)
from nas.executors.ray_settings import first_line
from nas.interruption import Interruption
from nas.training.directory import TrainingDirectory
from nas.training.loop import TrainingInterruptedError
from nas.training.plan import TrainingPlan
from nas.training.progress import TrainingEvent, TrainingProgress

OTHERWISE = "--workers 1 works without"
TRAIN_ENVIRONMENT = ENVIRONMENT | {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
}

try:
    with environment({**authentication(), **TRAIN_ENVIRONMENT}):  # Ray reads these when it is imported
        import ray
        from ray import train as ray_train
        from ray.train.torch import TorchConfig, TorchTrainer, get_device

        from nas.executors.ray_cluster import require_resources, silence, start_cluster
except ImportError as error:
    raise ExecutorError(f'several workers need Ray (pip install "ray[train]"); {OTHERWISE}') from error

HEAR_SECONDS = 0.5
COLLECTIVE_SECONDS = 7200
"""How long a worker waits for the others; the chief may take that long to judge and to save."""
CLOSE_SECONDS = 20.0


class WorkersLostError(NasError):
    """A worker died, and the training with it; everything up to the last checkpoint is kept."""


@dataclass(slots=True)
class Channel:
    """Between chief and driver; an actor. `ending` is a word and what belongs to it."""

    events: list[TrainingEvent] = field(default_factory=list)
    ending: tuple[str, Any] | None = None
    signal: int | None = None

    def tell(self, event: TrainingEvent) -> int | None:
        """Take an event; returns the signal that the driver was sent."""
        self.events.append(event)
        return self.signal

    def end(self, word: str, body: Any) -> None:
        """Say how a worker ended; the first word holds."""
        self.ending = self.ending or (word, body)

    def stop(self, number: int) -> None:
        """The driver was sent a signal."""
        self.signal = number

    def hear(self) -> tuple[list[TrainingEvent], tuple[str, Any] | None]:
        """What has happened since the last time."""
        events, self.events = self.events, []
        return events, self.ending


def execute_together(
    plan: TrainingPlan,
    directory: TrainingDirectory,
    progress: TrainingProgress,
    interruption: Interruption,
    checkpoint_seconds: float,
) -> dict[str, Any]:
    """Train with `plan.workers` workers; returns what result.json holds.

    A Ray that this process has started already is used as it is; its nodes must share the directory.

    Raises:
        ExecutorError: Ray does not start, or has not enough devices.
        WorkersLostError: a worker died.
        Whatever `execute` raises.
    """
    refuse_open_cluster(insecure=False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment(TRAIN_ENVIRONMENT))
        stack.enter_context(silence())
        folder = make_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if not ray.is_initialized():
            stack.callback(ray.shutdown)
            gpus = 0 if plan.hardware.device.kind == "cpu" else len(plan.hardware.devices)
            start_cluster(num_cpus=plan.workers, num_gpus=gpus, folder=folder, otherwise=OTHERWISE)
        needs = {"CPU": 1.0} if plan.hardware.device.kind == "cpu" else {"CPU": 1.0, "GPU": 1.0}
        require_resources({name: amount * plan.workers for name, amount in needs.items()})
        channel = ray.remote(num_cpus=0)(Channel).remote()
        stack.callback(ray.kill, channel)
        given = {
            "plan": plan,
            "path": directory.path.absolute(),
            "channel": channel,
            "checkpoint_seconds": checkpoint_seconds,
        }
        fit = Fit(_trainer(plan, given, needs, str(folder / "train")))
        stack.callback(fit.join, CLOSE_SECONDS)
        ending = _supervise(fit, channel, progress, interruption)
    return _ended(ending, fit.problem, directory)


class Fit:
    """`TorchTrainer.fit` in a thread, where it leaves signals alone."""

    def __init__(self, trainer: Any) -> None:
        self.problem: str | None = None
        self._trainer = trainer
        self._thread = threading.Thread(target=self._run, name="nas-ray-train", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait; returns whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:  # noqa: BLE001 -- the thread's only way to tell
            self.problem = f"{type(error).__name__}: {first_line(error)}"


def _trainer(plan: TrainingPlan, given: dict[str, Any], needs: dict[str, float], storage: str) -> Any:
    is_on_cpu = "GPU" not in needs
    return TorchTrainer(
        _work,
        train_loop_config=given,
        # Words and random states are on the CPU in any case.
        torch_config=TorchConfig(
            backend="gloo" if is_on_cpu else "cpu:gloo,cuda:nccl", timeout_s=COLLECTIVE_SECONDS
        ),
        scaling_config=ray_train.ScalingConfig(
            num_workers=plan.workers, use_gpu=not is_on_cpu, resources_per_worker=needs
        ),
        run_config=ray_train.RunConfig(
            name="training", storage_path=storage, failure_config=ray_train.FailureConfig(max_failures=0)
        ),
    )


def _supervise(
    fit: Fit, channel: Any, progress: TrainingProgress, interruption: Interruption
) -> tuple[str, Any] | None:
    """Show what the chief tells, and pass a signal on, until the workers have ended."""
    is_told = False
    while True:
        is_over = fit.join(HEAR_SECONDS)
        events, ending = ray.get(channel.hear.remote())
        for event in events:
            progress.update(event)
        if is_over:
            return ending  # type: ignore[no-any-return]
        if interruption.is_requested and not is_told:
            channel.stop.remote(interruption.signal)
            is_told = True


def _ended(
    ending: tuple[str, Any] | None, problem: str | None, directory: TrainingDirectory
) -> dict[str, Any]:
    word: str
    body: Any
    word, body = ending or ("lost", problem)
    if word == "done":
        return dict(body)
    if word == "interrupted":
        raise TrainingInterruptedError(*body)
    if word == "failed":
        raise body
    raise WorkersLostError(
        f"a worker of the training died ({body}); go on from the last checkpoint: "
        f"nas train {directory.path} --resume"
    )


def _work(given: dict[str, Any]) -> None:
    """What each worker does."""
    from nas.training.execution import execute_part

    channel, interruption = given["channel"], Interruption()
    try:
        result = execute_part(
            given["plan"],
            TrainingDirectory.of_worker(given["path"]),
            _Relay(channel, interruption),
            interruption,
            given["checkpoint_seconds"],
            get_device(),
        )
    except TrainingInterruptedError as stop:
        ray.get(channel.end.remote("interrupted", (str(stop), stop.signal)))
    except Exception as error:
        try:
            ray.get(channel.end.remote("failed", error))
        except Exception:  # noqa: BLE001 -- one that cannot be sent
            ray.get(channel.end.remote("failed", NasError(f"{type(error).__name__}: {error}")))
        raise
    else:
        if result is not None:
            ray.get(channel.end.remote("done", result))


class _Relay:
    """The chief's progress: to the driver, and back comes whether it was asked to end."""

    def __init__(self, channel: Any, interruption: Interruption) -> None:
        self._channel = channel
        self._interruption = interruption

    def update(self, event: TrainingEvent) -> None:
        """Tell the driver."""
        number = ray.get(self._channel.tell.remote(event))
        if number is not None and not self._interruption.is_requested:
            self._interruption.signal = number
            self._interruption.request()
