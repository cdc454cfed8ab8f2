"""Ctrl-C once ends in order, twice at once."""

import os
import signal
import threading
from pathlib import Path

import pytest
from replayed import Heard, ReplayExecutor, make_session

from nas.interruption import Interruption, noting_interrupts
from proxies.records import Outcome, Partial
from results.ledger import Ledger
from search_spaces.space_document import load_space

TINY = load_space("tiny")


class InterruptedAfter(ReplayExecutor):
    """Asks for the end once so many jobs have ended; `is_stuck`: after that no job ends any more."""

    def __init__(self, interruption: Interruption, after: int, *, is_stuck: bool = False) -> None:
        super().__init__()
        self._interruption = interruption
        self._after = after
        self._is_stuck = is_stuck

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome | Partial]:
        if self._is_stuck and self._interruption.is_requested:
            return []
        events = super().wait(timeout_seconds)
        if len(self.done) == self._after:
            self._interruption.request()
        return events


@pytest.mark.parametrize("after", [1, 2, 7, 20])
def test_what_runs_is_let_finish_and_nothing_more_is_started(after: int, tmp_path: Path) -> None:
    interruption = Interruption()
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        executor = InterruptedAfter(interruption, after)
        heard = Heard()
        session = make_session(
            TINY, ledger, executor, tmp_path, candidates=14, progress=heard, interruption=interruption
        )
        with pytest.raises(KeyboardInterrupt):
            session.run()
        assert {outcome.key for outcome in ledger.outcomes()} == {outcome.key for outcome in executor.done}
        assert len(executor.done) <= after + executor.capacity
        assert heard.events[-1].is_ending
        resumed = ReplayExecutor()
        make_session(TINY, ledger, resumed, tmp_path, candidates=14).run()
        assert len(ledger.candidates()) == 14
        assert not {job.key for job in resumed.jobs} & {outcome.key for outcome in executor.done}


def test_what_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    ticks = iter(range(0, 10_000, 10))
    interruption = Interruption(grace_seconds=30.0, clock=lambda: float(next(ticks)))
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        executor = InterruptedAfter(interruption, 3, is_stuck=True)
        with pytest.raises(KeyboardInterrupt):
            make_session(TINY, ledger, executor, tmp_path, interruption=interruption).run()
        assert len(ledger.outcomes()) == 3
    assert next(ticks) <= 100


def test_the_first_signal_is_noted_and_the_second_raised() -> None:
    interruption = Interruption()
    before = signal.getsignal(signal.SIGINT)
    with noting_interrupts(interruption):
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.is_requested
        assert not interruption.is_overdue
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_program_that_ignores_the_signal_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noting_interrupts(Interruption()) as _:
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_the_handler_alone() -> None:
    found = []

    def look() -> None:
        with noting_interrupts(Interruption()):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
