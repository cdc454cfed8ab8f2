"""Published networks are measured as a run's own were: by which jobs, on which scale, and kept where."""

import pytest
from reported import CONFIG, make_run, sampled

import nas
import nas.published
from nas.beside_run import run_jobs
from proxies.baselines import conditions_of
from proxies.hardware import hardware_fingerprint, resolve_hardware
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from proxies.reference_network import REFERENCE
from results.anchors import ANCHORS_NAME, IMAGENET_TOP1, jobs_like, published_networks, timings_of
from results.compare import compare
from results.errors import RunError, RunMismatchError
from results.ledger import Ledger
from results.run import load_run
from search_spaces.architecture import cost
from search_spaces.document import load_architecture

NAMES = ("efficientnet-b0", "efficientnetv2-s")
SETTINGS = TimingSettings(resolution=64, batch_size=8)


@pytest.fixture(scope="module")
def device():
    """The fingerprint of this machine, as a search would file it."""
    here = resolve_hardware("cpu")
    return hardware_fingerprint(here, threads=here.profile.defaults.threads)


@pytest.fixture
def make(tmp_path, device):
    """Make a run of this machine, its step times on a scale of its own."""

    def made(name, *, reference_ms=10.0, seed=0, **changes):
        hardware = {"profile": "cpu", "device": "Test CPU", "fingerprint": device}
        task = {"name": "quick", "fingerprint": "b" * 64, "seeds": [0, 3]}
        jobs = {"time": 1, "train": 2}
        config = CONFIG | {"hardware": hardware, "task": task, "jobs_per_candidate": jobs} | changes
        path = make_run(tmp_path / name, count=5, seed=seed, config=config)
        arch = load_architecture("efficientnetv2-b3")  # timed by the search, as a seed of its space is
        with Ledger.open(path / "ledger.sqlite") as ledger:
            ledger._connection.execute("DELETE FROM outcomes WHERE kind = 'time'")
            job = TimeJob(digest=arch.digest, architecture={}, hardware_fingerprint=device, settings=SETTINGS)
            ledger.record(timed(job, 55.0, reference_ms))
        return load_run(path)

    return made


def timed(job, step_ms, reference_ms, **changes):
    method = {
        "reference": {"digest": REFERENCE.digest},
        "reference_ms": reference_ms,
        "reference_ms_from": "the baseline",
    }
    details = {
        "settings": job.settings.model_dump(),
        "hardware_fingerprint": job.hardware_fingerprint,
        "method": method,
    }
    given = {"status": "ok", "metrics": {"step_ms": step_ms}, "details": details}
    return Outcome(key=job.key, kind="time", digest=job.digest, **(given | changes))


class Executor:
    """Ends each job at once: a timing with 20 ms on the scale it was sent, a training with 0.4."""

    def __init__(self, fails=()):
        self.jobs, self.waiting, self.fails = [], [], fails

    def submit(self, job):
        self.jobs.append(job)
        self.waiting.append(job)

    def wait(self):
        ended, self.waiting = self.waiting[:1], self.waiting[1:]
        return [self._outcome(job) for job in ended]

    def _outcome(self, job):
        if job.digest in self.fails:
            return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="oom", reason="no memory")
        if isinstance(job, TrainJob):
            metrics = {"accuracy": 0.4 + job.seed / 10}
            return Outcome(key=job.key, kind="train", digest=job.digest, status="ok", metrics=metrics)
        return timed(job, 20.0, job.reference_ms)


@pytest.fixture
def executor(monkeypatch):
    """The executor that takes the place of processes, with what the workers were told."""
    fake = Executor()

    def run_here(jobs, settings, path, *, workers, told):
        fake.settings, fake.workers = settings, workers
        run_jobs(jobs, fake, path, told=told)

    monkeypatch.setattr(nas.published, "run_here", run_here)
    return fake


def test_jobs_are_the_run_s_own_settings_device_and_scale(make, executor, device):
    run = make("a", reference_ms=12.5)
    heard = []
    found = nas.measure_anchors(run, NAMES, told=lambda name, outcome: heard.append((name, outcome.status)))
    assert [job.settings for job in executor.jobs] == [SETTINGS] * 2
    assert {job.hardware_fingerprint for job in executor.jobs} == {device}
    assert {job.reference_ms for job in executor.jobs} == {12.5}
    conditions = conditions_of(device, SETTINGS)
    assert conditions["settings"]["resolution"] == 64, "not the 300 px that the network was published with"
    assert (executor.workers, executor.settings.task) == (1, None)
    assert heard == [(name, "ok") for name in NAMES]
    assert [each.name for each in found] == list(NAMES)
    for each in found:
        assert each.result.step_ms == 20.0
        assert each.result.accuracy is None
        assert (each.result.status, each.standing) == ("ok", "timed, not trained")
        assert each.result.cost == cost(load_architecture(each.name), run.results[0].resolution)
        assert each.imagenet_top1 == IMAGENET_TOP1[each.name]
    assert load_run(run.path).candidates() == run.candidates(), "the search's own ledger stays as it was"


def test_what_is_known_is_not_measured_again(make, executor):
    run, other = make("a"), make("b", seed=5)
    nas.measure_anchors(run, NAMES[:1])
    nas.measure_anchors(run, (*NAMES, "efficientnetv2-b3"))
    assert [job.digest for job in executor.jobs] == [load_architecture(name).digest for name in NAMES]
    executor.jobs.clear()
    (searched,) = nas.measure_anchors(run, ["efficientnetv2-b3"])
    assert searched.result.step_ms == 55.0
    found = nas.measure_anchors(other, NAMES, reuse=[run])
    assert executor.jobs == []
    assert [each.result.copied_from for each in found] == [("a",), ("a",)]


def test_a_timing_on_another_scale_is_not_taken_over(make, executor):
    run, other = make("a", reference_ms=10.0), make("b", reference_ms=11.0)
    nas.measure_anchors(run, NAMES)
    executor.jobs.clear()
    nas.measure_anchors(other, NAMES, reuse=[run])
    assert [job.reference_ms for job in executor.jobs] == [11.0, 11.0]


def test_what_failed_is_tried_once_more(make, executor):
    run = make("a")
    executor.fails = {load_architecture(NAMES[0]).digest}
    for _ in range(3):
        first, second = nas.measure_anchors(run, NAMES)
    assert len(executor.jobs) == 3
    assert (first.result.status, first.result.reason) == ("oom", "no memory")
    assert (second.result.status, second.result.step_ms) == ("ok", 20.0)


def test_a_time_that_missed_its_tolerance_says_so(make, executor, monkeypatch):
    run = make("a")
    monkeypatch.setattr(
        executor,
        "_outcome",
        lambda job: timed(job, 20.0, job.reference_ms, status="unstable", reason="the device was busy"),
    )
    (found,) = nas.measure_anchors(run, NAMES[:1])
    assert (found.result.step_ms, found.result.is_provisional) == (20.0, True)
    assert found.standing == "the device was busy"


def test_trained_by_the_proxy_they_have_a_place(make, executor, monkeypatch):
    run = make("a")
    plan = type("Plan", (), {"task_fingerprint": "b" * 64, "task": "the task", "workers": 2})
    monkeypatch.setattr(nas.published, "make_plan", lambda config, **given: plan)
    (found,) = nas.measure_anchors(run, NAMES[:1], train=True)
    assert [job.seed for job in executor.jobs if isinstance(job, TrainJob)] == [0, 3]
    assert (executor.settings.task, executor.workers) == ("the task", 2)
    assert (found.result.status, found.result.num_seeds) == ("ok", 2)
    assert found.result.accuracy == pytest.approx(0.55)
    plan.task_fingerprint = "c" * 64
    with pytest.raises(RunMismatchError, match="a: its proxy task is not the one here"):
        nas.measure_anchors(run, NAMES[1:], train=True)


def test_other_hardware_is_refused_before_anything_is_measured(make, executor):
    run = make("a", hardware={"device": "Other CPU", "fingerprint": "e" * 64})
    with pytest.raises(
        RunMismatchError, match=r"a was measured on Other CPU .*search anew here with --reuse"
    ):
        nas.measure_anchors(run, NAMES)
    estimated = make("b", hardware={"estimated": True, "fingerprint": "e" * 64})
    with pytest.raises(RunError, match="b: its step times are estimates"):
        nas.measure_anchors(estimated, NAMES)
    empty = make("c")
    with Ledger.open(empty.path / "ledger.sqlite") as ledger:
        ledger._connection.execute("DELETE FROM outcomes")
    with pytest.raises(RunError, match="c has timed no network yet"):
        nas.measure_anchors(empty, NAMES)
    assert executor.jobs == []
    assert not (run.path / ANCHORS_NAME).exists()


def test_what_another_device_measured_does_not_count(make, executor):
    """A file that was copied from a run elsewhere changes nothing."""
    run = make("a")
    nas.measure_anchors(run, NAMES)
    moved = make("b", hardware={"profile": "cpu", "device": "Other", "fingerprint": "e" * 64})
    (moved.path / ANCHORS_NAME).write_bytes((run.path / ANCHORS_NAME).read_bytes())
    assert [each.result.step_ms for each in published_networks(moved)] == [None, None]
    assert [each.result.step_ms for each in published_networks(run)] == [20.0, 20.0]


def test_the_jobs_are_those_of_the_search(make, device):
    """The key under which a search files a network is that under which it is looked for."""
    run = make("a")
    (arch, *_), _ = sampled(count=1)
    time_job, *trainings = jobs_like(run, arch, timings_of(run))
    assert (
        time_job.key
        == TimeJob(digest=arch.digest, architecture={}, hardware_fingerprint=device, settings=SETTINGS).key
    )
    assert [job.key for job in trainings] == [
        TrainJob(digest=arch.digest, architecture={}, task_fingerprint="b" * 64, seed=seed).key
        for seed in (0, 3)
    ]


def test_a_comparison_tells_them_apart_from_what_has_a_place(make, executor):
    run, other = make("a"), make("b", seed=5)
    nas.measure_anchors(run, NAMES)
    found = compare(run, other, objectives=["step_ms", "params"])
    by_name = {anchor.name: anchor for anchor in found.anchors}
    assert by_name.keys() == set(NAMES)
    assert all(anchor.num_better is not None for anchor in found.anchors)
    with_accuracy = compare(run, other)
    assert [anchor.num_better for anchor in with_accuracy.anchors] == [None, None]
    told = with_accuracy.summary()["anchors"][0]
    assert (told["step_ms"], told["accuracy"], told["imagenet_top1"]) == (20.0, None, 0.771)
    assert (told["id"], told["standing"]) == (None, "timed, not trained")
