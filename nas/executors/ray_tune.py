"""Jobs as trials of Ray Tune, on this machine or on a cluster.

One job is one trial, and trials reuse their actors. Each actor hosts a guarded worker process (the local
executor with one worker), so whatever a job does, Tune sees a trial that ended well. Trials are made ahead
of jobs and take one from a mailbox: were a trial made for each job as it comes, Tune would end the actors
that idle between two jobs (it keeps one), and starting another takes seconds.
"""

import atexit
import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nas.executors.local import LocalExecutor
from nas.executors.mailbox import Letter, Mailbox
from nas.executors.protocol import ExecutorError
from nas.executors.ray_environment import (
    ENVIRONMENT,
    authentication,
    environment,
    make_folder,
    refuse_open_cluster,
    require_reachable,
)
from nas.executors.ray_settings import fingerprint_of, first_line, needs_of, on_this_node, packed, unpacked
from proxies.records import Job, Outcome, Partial, TimeJob, TrainJob
from proxies.spool import Spool
from proxies.worker import WorkerSettings

try:
    with environment(authentication()):  # Ray reads this when it is imported
        import ray
        from ray import tune
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from nas.executors.ray_cluster import (
            join_cluster,
            machines_of,
            require_able_nodes,
            require_resources,
            require_same_cluster,
            silence,
            start_cluster,
        )
except ImportError as error:
    raise ExecutorError(
        'the ray executor needs Ray (pip install "ray[tune]"); --executor local works without'
    ) from error

OTHERWISE = "--executor local works without"
"""What to do where Ray does not start."""
SLICE_SECONDS = 0.5
"""How long an actor works before it lets Tune have a word."""
LISTEN_SECONDS = 0.2
"""How often an actor with a job asks whether to stop it."""
COLLECT_SECONDS = 1.0
CLOSE_SECONDS = 20.0
MAX_FAILED_STARTS = 3

__all__ = ["JobSearcher", "JobTrial", "RayTuneExecutor", "StopWhenClosing", "machines_of"]

_JOB: TypeAdapter[TimeJob | TrainJob] = TypeAdapter(Job)


class RayTuneExecutor:
    """Runs up to `workers` jobs at once as trials of Ray Tune.

    Without `ray_address`, a cluster of this machine's own is started, private to this user, and ended by
    `close`; RAY_ADDRESS is ignored. With it ("auto" or "host:port"), the cluster there is used, which gets
    our packages and `py_modules` (folders of the user's own) to run. A Ray that this process has started
    already is used as it is and left running.

    Raises:
        ExecutorError: no cluster, an open one, or one without the hardware.
        ValueError: fewer than one worker.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        workers: int = 1,
        ray_address: str | None = None,
        py_modules: Sequence[Path] = (),
        insecure: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; at least one is needed")
        self._num_workers = workers
        self._clock = clock
        self._spool = Spool(directory=settings.spool) if settings.spool is not None else None
        self._collecting: Any = None
        self._is_closing = threading.Event()
        self._broken: str | None = None
        self._resources = contextlib.ExitStack()
        try:
            self._open(settings, ray_address, py_modules, insecure=insecure)
        except BaseException:
            self._resources.close()
            raise
        atexit.register(self.close)  # before Ray's own, under which Tune would start Ray again

    @property
    def capacity(self) -> int:
        """The number of workers."""
        return self._num_workers

    def submit(self, job: TimeJob | TrainJob) -> None:
        """Accept a job; see `Executor`.

        Raises:
            ExecutorError: the executor is closed.
        """
        if self._is_closing.is_set():
            raise ExecutorError("the executor is closed; start another")
        self._mailbox.put.remote(job.key, job.model_dump_json())

    def stop(self, key: str) -> None:
        """Ask a training to end at its next report; one that has not begun ends now."""
        if not self._is_closing.is_set():
            self._mailbox.stop.remote(key)

    def go_on(self, key: str) -> None:
        """Let a training go on that waits for word; see `Executor`."""
        if not self._is_closing.is_set():
            self._mailbox.go_on.remote(key)

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome | Partial]:
        """What has happened; see `Executor`.

        Raises:
            ExecutorError: Tune or the cluster is gone, or the executor is closed.
        """
        deadline = None if timeout_seconds is None else self._clock() + timeout_seconds
        while True:
            if self._is_closing.is_set():
                raise ExecutorError("the executor is closed; start another")
            left = COLLECT_SECONDS if deadline is None else deadline - self._clock()
            happened = self._collect(min(max(left, 0.0), COLLECT_SECONDS))
            if happened:
                return happened
            if self._broken is not None:
                raise ExecutorError(self._broken)
            if deadline is not None and self._clock() >= deadline:
                return []

    def close(self) -> None:
        """Stop everything; see `Executor`."""
        if not self._is_closing.is_set():
            self._is_closing.set()
            atexit.unregister(self.close)
            self._thread.join(CLOSE_SECONDS)
            self._resources.close()
            self._thread.join(CLOSE_SECONDS)

    def _collect(self, timeout_seconds: float) -> list[Outcome | Partial]:
        try:
            if self._collecting is None:
                self._collecting = self._mailbox.collect.remote(timeout_seconds)
            letters = ray.get(self._collecting)  # kept, lest an interrupt here lose what it brings
            self._collecting = None
        except ray.exceptions.RayError as error:
            self._broken = self._broken or f"the Ray cluster is gone ({first_line(error)}); resume to go on"
            return []
        happened: list[Outcome | Partial] = []
        for word, body in letters:
            if word == "broken":
                self._broken = body
            elif word == "partial":
                happened.append(Partial.model_validate_json(body))
            else:
                outcome = Outcome.model_validate_json(body)
                if word == "unstored" and self._spool is not None:
                    self._spool.write(outcome)
                happened.append(outcome)
        return happened

    def _open(
        self, settings: WorkerSettings, address: str | None, py_modules: Sequence[Path], *, insecure: bool
    ) -> None:
        refuse_open_cluster(insecure=insecure)
        if address is not None:
            require_reachable(address)
        payload, main = packed(settings if address is None else replace(settings, spool=None))
        self._resources.enter_context(environment(ENVIRONMENT))
        self._resources.enter_context(silence())
        folder = make_folder()
        self._resources.callback(shutil.rmtree, folder, ignore_errors=True)
        if ray.is_initialized():
            require_same_cluster(address)
        else:
            self._resources.callback(ray.shutdown)
            if address is None:
                hardware = settings.hardware
                gpus = 0 if settings.is_on_cpu or hardware is None else len(hardware.devices)
                start_cluster(num_cpus=self._num_workers, num_gpus=gpus, folder=folder, otherwise=OTHERWISE)
            else:
                join_cluster(address, py_modules)
        needs = needs_of(settings, workers=self._num_workers, is_local=address is None)
        require_resources(needs)
        if address is not None:
            require_able_nodes(needs, payload, main, data=fingerprint_of(settings))
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # Not on a node that may die while the search lives: the jobs would be lost with it.
        mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox)
        self._mailbox = mailbox.remote(self._num_workers)
        self._resources.callback(ray.kill, self._mailbox)
        tuner = _tuner(
            tune.with_parameters(
                JobTrial, mailbox=self._mailbox, payload=payload, main=main, is_local=address is None
            ),
            searcher=JobSearcher(self._mailbox, self._num_workers, self._is_closing),
            is_closing=self._is_closing,
            needs=needs,
            folder=folder,
        )
        self._thread = threading.Thread(target=self._fit, args=(tuner,), name="nas-ray-tune", daemon=True)
        self._thread.start()

    def _fit(self, tuner: Any) -> None:
        try:
            tuner.fit()
            reason = "by itself"
        except BaseException as error:  # noqa: BLE001 -- the thread's only way to tell
            reason = f"with {type(error).__name__}: {first_line(error)}"
        if not self._is_closing.is_set():
            self._broken = f"Ray Tune ended {reason}; resume to go on, or use --executor local"


class JobTrial(tune.Trainable):  # type: ignore[misc]
    """One job, from taking it to telling its outcome. Never fails: what goes wrong is told."""

    def setup(self, config: dict[str, Any], **parameters: Any) -> None:
        """Start the worker process. Called once an actor; `reset_config` makes it the next trial's."""
        self._mailbox = parameters["mailbox"]
        self._executor: LocalExecutor | None = None
        self._has_job = False
        try:
            settings = unpacked(parameters["payload"], parameters["main"])
            self._is_stored = settings.spool is not None
            self._executor = LocalExecutor(on_this_node(settings, is_local=parameters["is_local"]))
        except Exception as error:  # noqa: BLE001 -- Tune would try for ever
            self._tell_broken(error)

    def step(self) -> dict[str, Any]:
        """Work on the job, or wait for one, for a moment; done with the outcome."""
        if self._executor is None:
            return {"done": True}
        try:
            return {"done": self._work(self._executor)}
        except Exception as error:  # noqa: BLE001 -- no failure may reach Tune
            self._tell_broken(error)
            return {"done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial may have this actor."""
        self._has_job = False
        return True

    def cleanup(self) -> None:
        """End the worker process."""
        if self._executor is not None:
            self._executor.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: a job that was interrupted is run again."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""

    def _work(self, executor: LocalExecutor) -> bool:
        if not self._has_job:
            job = ray.get(self._mailbox.take.remote(self.trial_id, SLICE_SECONDS))
            if job is None:
                return False
            executor.submit(_JOB.validate_json(job))
            self._has_job = True
        deadline = time.monotonic() + SLICE_SECONDS
        while time.monotonic() < deadline:
            letters = [self._letter(event) for event in executor.wait(LISTEN_SECONDS)]
            for key, word in ray.get(self._mailbox.exchange.remote(self.trial_id, letters)):
                (executor.stop if word == "stop" else executor.go_on)(key)
            if any(letter.word != "partial" for letter in letters):
                self._has_job = False
                return True
        return False

    def _letter(self, event: Outcome | Partial) -> Letter:
        if isinstance(event, Partial):
            return Letter("partial", event.model_dump_json())
        return Letter("stored" if self._is_stored else "unstored", event.model_dump_json())

    def _tell_broken(self, error: Exception) -> None:
        text = str(error) if isinstance(error, ExecutorError) else f"{type(error).__name__}: {error}"
        letter = Letter("broken", f"a Ray worker cannot run jobs: {text}")
        with contextlib.suppress(Exception):  # then the search is gone too
            ray.get(self._mailbox.exchange.remote(self.trial_id, [letter]))


class JobSearcher(tune.search.Searcher):  # type: ignore[misc]
    """Keeps one trial more than there are workers: Tune reuses an actor only for a trial that waits."""

    def __init__(self, mailbox: Any, num_workers: int, is_closing: threading.Event) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._num_trials = num_workers + 1
        self._is_closing = is_closing
        self._live: set[str] = set()
        self._failed_starts = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A trial without settings, if another is wanted."""
        if self._is_closing.is_set():
            return str(self.FINISHED)
        if len(self._live) >= self._num_trials:
            return None
        self._live.add(trial_id)
        return {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Its actor works."""
        self._failed_starts = 0

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """It has told its outcome; if it failed, its actor is gone."""
        self._live.discard(trial_id)
        if error and not self._is_closing.is_set():
            ray.get(self._mailbox.lose.remote(trial_id))
            self._failed_starts += 1
            if self._failed_starts > MAX_FAILED_STARTS * self._num_trials:
                raise RuntimeError("no Ray worker could be started")

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a search resumes from its ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher to a file that nobody reads."""
        return {}


class StopWhenClosing(tune.Stopper):  # type: ignore[misc]
    """Ends all trials once the executor closes."""

    def __init__(self, is_closing: threading.Event) -> None:
        self._is_closing = is_closing

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether the executor closes."""
        return self._is_closing.is_set()

    def __getstate__(self) -> dict[str, Any]:
        """As `JobSearcher`."""
        return {}


def _tuner(
    trainable: Any,
    *,
    searcher: JobSearcher,
    is_closing: threading.Event,
    needs: dict[str, float],
    folder: Path,
) -> Any:
    bundle = {name: amount for name, amount in needs.items() if amount}
    return tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(folder / "tune"),
            verbose=0,
            stop=StopWhenClosing(is_closing),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
