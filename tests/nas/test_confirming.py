"""Which jobs confirm a front, and where their outcomes go."""

import json
from types import SimpleNamespace

import pytest
from given import candidate, result

import nas.confirming
from nas.beside_run import run_jobs
from nas.confirming import confirm, fresh_jobs
from nas.errors import ConfigError
from nas.evaluations import Evaluations
from proxies.records import Outcome, Partial, TimingSettings
from results.ledger import Ledger
from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv

ARCH = Architecture(
    stem=Stem(width=8),
    stages=(Stage(stride=2, depth=1, width=8, block=FusedMBConv(expand=1)),),
    head=Head(width=32),
)
EVALUATIONS = Evaluations(
    hardware_fingerprint="here",
    timing=lambda arch: TimingSettings(resolution=16, batch_size=2),
    task_fingerprint="task",
    seeds=(0, 2),
)
PLAN = SimpleNamespace(evaluations=lambda: EVALUATIONS, task_fingerprint="task", task_seeds=(0, 2))


def chosen():
    return [result(1, of=candidate(1, json.dumps(ARCH.to_document()), ARCH.digest))]


def outcome(job):
    return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics={"step_ms": 1.0})


def test_fresh_jobs_are_repeats_and_seeds_that_nobody_has_used():
    (one,) = chosen()
    first = fresh_jobs(PLAN, [one], [], timings=2, seeds=2)
    assert [job.repeat for job in first if job.kind == "time"] == [1, 2]
    assert [job.seed for job in first if job.kind == "train"] == [1, 3], "0 and 2 are the search's own"
    again = fresh_jobs(PLAN, [one], [outcome(job) for job in first], timings=1, seeds=1)
    assert [job.repeat for job in again if job.kind == "time"] == [3]
    assert [job.seed for job in again if job.kind == "train"] == [4]
    assert fresh_jobs(PLAN, [one], [], timings=0, seeds=1) == [first[2]]
    own = {
        job.key
        for job in [*EVALUATIONS.time_jobs(one.candidate, ARCH), *EVALUATIONS.train_jobs(one.candidate)]
    }
    assert own.isdisjoint(job.key for job in first + again)


class Executor:
    """Ends jobs two at a time, the last first, with a report in between."""

    def __init__(self):
        self.jobs = []

    def submit(self, job):
        self.jobs.append(job)

    def wait(self):
        ended, self.jobs = self.jobs[-2:], self.jobs[:-2]
        return [Partial(key=ended[0].key, step=1, metrics={}), *map(outcome, ended)]


def test_outcomes_are_filed_beside_the_run_and_added_to_later(tmp_path):
    path = tmp_path / "confirmations.sqlite"
    jobs = fresh_jobs(PLAN, chosen(), [], timings=2, seeds=1)
    run_jobs(jobs[:1], Executor(), path)
    run_jobs(jobs[1:], Executor(), path)
    with Ledger.open(path, read_only=True) as ledger:
        assert {each.key for each in ledger.outcomes()} == {job.key for job in jobs}


@pytest.mark.parametrize("amounts", [{"timings": 0, "seeds": 0}, {"timings": -1}])
def test_nothing_to_measure_is_refused_before_a_run_is_looked_for(amounts, monkeypatch):
    monkeypatch.setattr(nas.confirming, "load_run", None)
    with pytest.raises(ConfigError, match="nothing to measure; give 1 or more"):
        confirm("nowhere", **amounts)
