"""Published networks filed beside a run, as measuring them would."""

from proxies.records import Outcome
from results.anchors import ANCHORS_NAME, PUBLISHED, jobs_like, timings_of
from results.ledger import Ledger
from search_spaces.architecture import cost
from search_spaces.document import load_architecture


def file_anchor(run, name, step_ms, *, accuracy=None):
    """A published network, timed; trained only where an accuracy is given."""
    arch = load_architecture(name)
    path = run.path / ANCHORS_NAME
    with Ledger.open(path) if path.exists() else Ledger.create(path) as ledger:
        ledger.add_candidate(
            digest=arch.digest,
            architecture=arch.to_document(),
            cost=cost(arch, run.results[0].resolution),
            resolution=run.results[0].resolution,
            origin=PUBLISHED,
            proposal_index=len(ledger.candidates()),
        )
        for job in jobs_like(run, arch, timings_of(run)):
            metrics = {"step_ms": step_ms} if job.kind == "time" else {"accuracy": accuracy}
            if None not in metrics.values():
                ledger.record(
                    Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics=metrics)
                )
