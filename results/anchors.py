"""Published networks beside a run: measured just as its own networks were, and kept beside its ledger.

What they are known for, an accuracy on ImageNet, is no quantity of a run: it was reached at another
resolution with months of training. It is told with them, and never put where a proxy's accuracy stands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxies.records import TimeJob, TimingSettings, TrainJob
from results.candidate import CandidateResult, join
from results.contents import DEFAULT_JOBS
from results.directory import LEDGER_NAME
from results.ledger import Ledger
from results.run import Run
from search_spaces.architecture import Architecture
from search_spaces.document import architecture_from_document, shipped_digests

ANCHORS_NAME = "anchors.sqlite"
PUBLISHED = "published"

IMAGENET_TOP1 = {
    "efficientnet-b0": 0.771,
    "efficientnet-b1": 0.791,
    "efficientnet-b2": 0.801,
    "efficientnet-b3": 0.816,
    "efficientnet-b4": 0.829,
    "efficientnet-b5": 0.836,
    "efficientnet-b6": 0.840,
    "efficientnet-b7": 0.843,
    "efficientnetv2-b0": 0.787,
    "efficientnetv2-b1": 0.798,
    "efficientnetv2-b2": 0.805,
    "efficientnetv2-b3": 0.821,
    "efficientnetv2-s": 0.839,
    "efficientnetv2-m": 0.851,
    "efficientnetv2-l": 0.857,
}
"""Top-1 accuracy on ImageNet's validation set as published, trained on ImageNet-1k alone, each network at its
own resolution: Tan & Le 2019 (arXiv:1905.11946v5, table 2), Tan & Le 2021 (arXiv:2104.00298, table 7; B0 to
B3 as in the authors' released code)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published network as a run has it: one of its candidates, or measured beside it later.

    `result` says what was measured; of one that was only timed, its status is that of its timings.
    `imagenet_top1` is the published accuracy, None where this package states none.
    """

    name: str
    imagenet_top1: float | None
    result: CandidateResult

    @property
    def standing(self) -> str:
        """What there is to say of its measurements in a few words."""
        if self.result.reason is not None:
            return self.result.reason
        return self.result.status if self.result.num_seeds else "timed, not trained"


def published_networks(run: Run) -> tuple[Published, ...]:
    """The published networks of which a run knows anything, by name: its own measurement where it has one.

    Those in `anchors.sqlite` may be others, measured to compare with. Of what is there only that counts which
    was measured exactly as the run's networks were: on the same device and software, with the same settings,
    with the same proxy task and seeds.
    """
    shipped = shipped_digests()
    own = {each.digest: each for each in run.candidates() if each.digest in shipped and each.is_measured}
    beside = {each.digest: each for each in _measured_beside(run)}
    found = []
    for digest, result in (beside | own).items():
        name = shipped.get(digest) or str(result.architecture.get("name", digest[:12]))
        found.append(Published(name=name, imagenet_top1=IMAGENET_TOP1.get(name), result=result))
    return tuple(sorted(found, key=lambda each: each.name))


def timings_of(run: Run) -> tuple[TimingSettings, ...]:
    """How a run's networks are timed, a setting for each kind of step; empty before the first timing."""
    if not (run.path / LEDGER_NAME).exists():
        return ()
    with Ledger.open(run.path / LEDGER_NAME, read_only=True) as ledger:
        timings = ledger.first_timings()
    found: dict[str, TimingSettings] = {}
    for outcome in timings:
        if outcome.status in ("ok", "unstable") and "settings" in outcome.details:
            settings = TimingSettings.model_validate(outcome.details["settings"])
            found.setdefault(settings.work, settings)
    return tuple(found.values())


def jobs_like(
    run: Run, arch: Architecture, timings: Sequence[TimingSettings]
) -> Iterator[TimeJob | TrainJob]:
    """The jobs that measure a network as the run's own were: timings, then a training for each seed.

    Their keys hold device, software, settings, task and seed, so an outcome under one is of the same kind.
    """
    device = (run.config.get("hardware") or {}).get("fingerprint")
    task = run.config.get("task") or {}
    document = arch.to_document()
    if device is not None:
        for settings in timings:
            yield TimeJob(
                digest=arch.digest, architecture=document, hardware_fingerprint=device, settings=settings
            )
    if task.get("fingerprint") is not None:
        for seed in task.get("seeds") or (0,):
            yield TrainJob(
                digest=arch.digest, architecture=document, task_fingerprint=task["fingerprint"], seed=seed
            )


def _measured_beside(run: Run) -> tuple[CandidateResult, ...]:
    if not (run.path / ANCHORS_NAME).exists():
        return ()
    timings = timings_of(run)
    with Ledger.open(run.path / ANCHORS_NAME, read_only=True) as ledger, ledger.snapshot():
        candidates, records = ledger.candidates(), ledger.records(with_details=False)
    with Ledger.open(run.path / LEDGER_NAME, read_only=True) as ledger:
        records += tuple(
            record for each in candidates for record in ledger.records(digest=each.digest, with_details=False)
        )
    wanted = {
        job.key
        for each in candidates
        for job in jobs_like(run, architecture_from_document(each.architecture), timings)
    }
    kept = [record for record in records if record.outcome.key in wanted]
    trained = {record.outcome.digest for record in kept if record.outcome.kind == "train"}
    jobs = run.config.get("jobs_per_candidate") or DEFAULT_JOBS
    return tuple(
        result
        for is_trained, expected in ((True, jobs), (False, {**jobs, "train": 0}))
        for result in join(
            [each for each in candidates if (each.digest in trained) == is_trained],
            kept,
            (),
            jobs_per_candidate=expected,
        )
    )
