"""What `nas.measure` asks of its workers, and what it makes of their answers; the workers are played."""

import pytest

from nas import measuring
from nas.errors import ConfigError
from nas.measuring import FREE_SHARE, measure
from proxies.baselines import BaselineStore, conditions_of
from proxies.probes import MemoryProbe, SoundnessProbe
from proxies.records import Outcome, failure

NAMES = ["efficientnetv2-b0", "efficientnetv2-b1"]
FIXED_BYTES, IMAGE_BYTES = 1000, 100


class Workers:
    """Answers jobs as a device would: 10 ms a step, half of it in bf16; memory in proportion to the batch."""

    def __init__(self) -> None:
        self.jobs = []
        self.memory_error: str | None = None
        self.is_bf16_sound = True

    def __call__(self, jobs, settings):
        self.jobs += [(settings.runner, job) for job in jobs]
        return [self._answer(job, settings.runner) for job in jobs]

    def _answer(self, job, runner):
        if isinstance(runner, MemoryProbe):
            if self.memory_error is not None:
                return failure(job, "error", self.memory_error)
            peak = FIXED_BYTES + IMAGE_BYTES * job.settings.batch_size
            return self._outcome(job, {"peak_memory_bytes": float(peak)})
        if isinstance(runner, SoundnessProbe):
            is_sound = self.is_bf16_sound or job.settings.precision != "bf16"
            return self._outcome(job, {}) if is_sound else failure(job, "error", "it is wrong")
        ms = 5.0 if job.settings.precision == "bf16" else 10.0
        return self._outcome(job, {"step_ms": ms, "step_ms_low": 0.99 * ms, "step_ms_high": 1.01 * ms})

    def _outcome(self, job, metrics):
        details = {"settings": job.settings.model_dump()}
        return Outcome(
            key=job.key, kind="time", digest=job.digest, status="ok", metrics=metrics, details=details
        )

    def timed(self):
        return [job for runner, job in self.jobs if runner is None]


@pytest.fixture
def workers(monkeypatch):
    played = Workers()
    monkeypatch.setattr(measuring, "run_jobs", played)
    return played


def test_without_more_each_architecture_is_one_timing_in_order(workers):
    outcomes = measure(NAMES, hardware="cpu", resolution=32, batch=3)
    assert [job.digest for job in workers.timed()] == [outcome.digest for outcome in outcomes]
    assert len(workers.jobs) == 2
    assert {job.settings.batch_size for job in workers.timed()} == {3}
    assert not {"runtime", "largest_batch"} & set(outcomes[0].details)


# --- the largest batch ------------------------------------------------------------------------------------


def test_the_largest_batch_within_the_limit_is_timed_and_on_record(workers):
    limit = FIXED_BYTES + 50 * IMAGE_BYTES + 99
    outcomes = measure(NAMES, hardware="cpu", resolution=32, largest_batch=True, memory_limit_bytes=limit)
    assert [job.settings.batch_size for job in workers.timed()] == [50, 50]
    for outcome in outcomes:
        found = outcome.details["largest_batch"]
        assert found["batch_size"] == 50
        assert 51 <= found["refused"] <= 50 + 50 // 16 + 1
        assert found["peak_bytes"] == FIXED_BYTES + 50 * IMAGE_BYTES <= found["limit_bytes"] == limit
        assert outcome.details["settings"]["batch_size"] == 50


def test_on_a_cpu_the_limit_is_most_of_the_free_memory(workers, monkeypatch):
    free = type("Memory", (), {"available": 10_000})
    monkeypatch.setattr(measuring.psutil, "virtual_memory", lambda: free)
    (outcome,) = measure(NAMES[:1], hardware="cpu", resolution=32, largest_batch=True)
    assert outcome.details["largest_batch"]["limit_bytes"] == int(FREE_SHARE * 10_000)
    assert [job.settings.batch_size for job in workers.timed()] == [70]


def test_where_not_even_one_image_fits_the_batch_that_was_asked_for_is_tried(workers):
    (outcome,) = measure(
        NAMES[:1], hardware="cpu", resolution=32, batch=4, largest_batch=True, memory_limit_bytes=10
    )
    assert outcome.details["largest_batch"]["batch_size"] is None
    assert [job.settings.batch_size for job in workers.timed()] == [4]


def test_a_probe_that_fails_otherwise_ends_the_search_with_its_reason(workers):
    workers.memory_error = "the driver is gone"
    with pytest.raises(ConfigError, match="batch 4 could not be tried: error: the driver is gone"):
        measure(NAMES[:1], hardware="cpu", resolution=32, largest_batch=True)


# --- ways of running --------------------------------------------------------------------------------------


def test_the_fastest_sound_way_is_the_outcome_and_all_are_on_record(workers):
    outcomes = measure(NAMES, hardware="cpu", resolution=32, tune_runtime=True)
    for outcome in outcomes:
        assert outcome.metrics["step_ms"] == 5.0
        assert outcome.details["settings"]["precision"] == "bf16"
        kept = [way for way in outcome.details["runtime"] if way["why_not"] is None]
        assert [way["precision"] for way in kept] == ["bf16"]
        assert len(outcome.details["runtime"]) == 5


def test_the_fastest_way_is_refused_where_it_is_not_sound(workers):
    workers.is_bf16_sound = False
    (outcome,) = measure(NAMES[:1], hardware="cpu", resolution=32, tune_runtime=True)
    assert outcome.details["settings"]["precision"] == "fp32"
    assert "it is wrong" in [way["why_not"] for way in outcome.details["runtime"]]


@pytest.mark.parametrize(
    ("given", "axis", "value"),
    [
        ({"precision": "fp32"}, "precision", "fp32"),
        ({"memory_format": "contiguous"}, "memory_format", "contiguous"),
        ({"fused_optimizer": True}, "fused_optimizer", True),
    ],
)
def test_what_is_given_is_not_tuned(workers, given, axis, value):
    measure(NAMES[:1], hardware="cpu", resolution=32, tune_runtime=True, **given)
    assert {getattr(job.settings, axis) for job in workers.timed()} == {value}


def test_both_go_together_at_the_batch_that_was_found(workers):
    limit = FIXED_BYTES + 20 * IMAGE_BYTES
    (outcome,) = measure(
        NAMES[:1],
        hardware="cpu",
        resolution=32,
        tune_runtime=True,
        largest_batch=True,
        memory_limit_bytes=limit,
    )
    assert {"runtime", "largest_batch"} <= set(outcome.details)
    assert {job.settings.batch_size for job in workers.timed()} == {20}


def test_only_training_steps_are_tuned(workers):
    with pytest.raises(ValueError, match="tune_runtime is for training steps; leave it out for inference"):
        measure(NAMES[:1], hardware="cpu", tune_runtime=True, work="inference")
    assert not workers.jobs


def test_recalibrating_forgets_the_baseline_of_these_settings_alone(workers):
    measure(NAMES[:1], hardware="cpu", resolution=32)
    (job,) = workers.timed()
    store = BaselineStore.of_user()
    mine = conditions_of(job.hardware_fingerprint, job.settings)
    other = conditions_of(job.hardware_fingerprint, job.settings.model_copy(update={"batch_size": 99}))
    for conditions in (mine, other):
        store.see(conditions, 7.0, tolerance=0.1)
    measure(NAMES[:1], hardware="cpu", resolution=32, recalibrate=True)
    assert store.find(mine) is None
    assert store.find(other) is not None


def test_recalibrating_while_tuning_measures_the_reference_in_every_way(workers):
    """Ways are compared in milliseconds, so their baselines must be of one sitting."""
    measure(NAMES[:1], hardware="cpu", resolution=32, tune_runtime=True)
    store = BaselineStore.of_user()
    ways = [conditions_of(job.hardware_fingerprint, job.settings) for job in workers.timed()]
    for conditions in ways:
        store.see(conditions, 7.0, tolerance=0.1)
    measure(NAMES[:1], hardware="cpu", resolution=32, tune_runtime=True)
    assert all(store.find(conditions) is not None for conditions in ways)
    measure(NAMES[:1], hardware="cpu", resolution=32, tune_runtime=True, recalibrate=True)
    assert not any(store.find(conditions) is not None for conditions in ways)
