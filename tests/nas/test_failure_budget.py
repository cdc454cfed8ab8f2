"""When failures stop a search."""

from pathlib import Path

import pytest
from replayed import ReplayExecutor, fail_where, lawful, make_session

from nas.errors import StoppedEarlyError
from nas.failure_budget import SAME_REASON, FailureBudget
from proxies.records import Outcome, TimeJob, TrainJob, failure
from results.ledger import Ledger
from search_spaces.space_document import load_space

TINY = load_space("tiny")


def ended(status: str, reason: str | None = None) -> list[Outcome]:
    return [Outcome(key="k", kind="time", digest="d", status=status, reason=reason)]  # type: ignore[arg-type]


def test_the_first_failures_of_one_reason_stop_the_search_and_say_it() -> None:
    budget = FailureBudget()
    for number in range(SAME_REASON - 1):
        budget.settle(ended("oom", f"took {number}.5 GiB of memory"), is_new=True)
    with pytest.raises(StoppedEarlyError, match=r"first 5 .*one reason \(oom: took 9 GiB.*--retry-failed"):
        budget.settle(ended("oom", "took 9 GiB of memory"), is_new=True)


@pytest.mark.parametrize(
    "other", [ended("ok"), ended("error", "another"), ended("timeout", "it broke"), ended("infeasible", "x")]
)
def test_one_that_ended_otherwise_lets_it_go_on(other: list[Outcome]) -> None:
    budget = FailureBudget()
    budget.settle(other, is_new=True)
    for _ in range(SAME_REASON * 3):
        budget.settle(ended("error", "it broke"), is_new=True)


def test_what_was_turned_away_has_not_failed() -> None:
    budget = FailureBudget(max_failed=0)
    for status in ("ok", "unstable", "infeasible", "stopped"):
        budget.settle(ended(status, "why"), is_new=True)
    assert budget.failed == 0
    with pytest.raises(StoppedEarlyError, match="1 candidates failed, more than --max-failed 0"):
        budget.settle(ended("diverged", "loss is nan"), is_new=True)


def is_broken(job: TimeJob | TrainJob) -> Outcome:
    return failure(job, "error", "no such file: /data/digits")


def test_a_resumed_search_goes_on_past_old_failures_once_the_reason_is_put_right(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        broken = ReplayExecutor(is_broken)
        with pytest.raises(StoppedEarlyError, match="no such file"):
            make_session(TINY, ledger, broken, tmp_path, candidates=12).run()
        assert len(ledger.outcomes()) == SAME_REASON
        make_session(TINY, ledger, ReplayExecutor(lawful), tmp_path, candidates=12).run()
        assert len(ledger.candidates()) == 12
        assert sum(outcome.status == "error" for outcome in ledger.outcomes()) == SAME_REASON


def test_the_number_that_may_fail_is_over_the_whole_run(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        mixed = fail_where(lambda job: int(job.digest[0], 16) % 2 == 0)
        with pytest.raises(StoppedEarlyError, match="--max-failed 3"):
            make_session(TINY, ledger, ReplayExecutor(mixed), tmp_path, candidates=40, max_failed=3).run()
        with pytest.raises(StoppedEarlyError, match="5 candidates failed, more than --max-failed 3"):
            make_session(TINY, ledger, ReplayExecutor(mixed), tmp_path, candidates=40, max_failed=3).run()
        make_session(TINY, ledger, ReplayExecutor(mixed), tmp_path, candidates=20, max_failed=40).run()
