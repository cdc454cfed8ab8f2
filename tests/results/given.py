"""Candidates as values, with the measurements that a test gives them and no ledger behind them."""

from results.candidate import CandidateResult
from results.entries import Candidate
from search_spaces.cost import Cost


def candidate(number, architecture_json="{}", digest=None):
    return Candidate(
        id=number,
        digest=digest or f"{number:064x}",
        architecture_json=architecture_json,
        cost=Cost(1000 * number, 1000 * number, 10_000, 100),
        resolution=64,
        origin="random",
        proposal_index=number - 1,
        created_at=0.0,
    )


def result(number, *, status="ok", finished_at=None, num_seeds=1, of=None, cost=None, **metrics):
    """Candidate `number` with these metrics, settled `finished_at` seconds after 1970."""
    filed = of or candidate(number)
    return CandidateResult(
        id=number,
        digest=filed.digest,
        status=status,
        reason=None if status == "ok" else "because",
        origin="random",
        proposal_index=number - 1,
        cost=cost or filed.cost,
        resolution=64,
        metrics=metrics,
        num_seeds=num_seeds,
        seconds=1.0,
        copied_from=(),
        finished_at=float(number) if finished_at is None else finished_at,
        candidate=filed,
    )
