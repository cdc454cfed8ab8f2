import pytest
from recorded import add_candidate, timing, training

from results.directory import RunDirectory
from results.errors import RunError
from results.watching import snapshots

CONFIG = {
    "schema": "nas.run/1",
    "config": {"candidates": 4},
    "objectives": ["accuracy:maximize", "step_ms:minimize"],
}


def never():
    raise AssertionError("there is nothing to wait for")


class Search:
    """A search in this process that goes on by one step at each wait of whoever watches it."""

    def __init__(self, path, *steps):
        self.directory = RunDirectory.create(path, hint="x", config=CONFIG, root=path.parent)
        self.directory.log("started")
        self.ledger = self.directory.ledger()
        self.steps = iter(steps)

    def __call__(self):
        next(self.steps)(self)

    def evaluate(self, number):
        add_candidate(self.ledger, number)
        self.ledger.record(timing(number, 10.0 + number))
        self.ledger.record(training(number, 0.5 + 0.1 * number))

    def end(self, *, orderly=True):
        if orderly:
            self.directory.log("finished")
        self.ledger.close()
        self.directory.close()


def test_everything_that_happens_is_seen_and_the_end_ends_it(tmp_path):
    def fail(search):
        add_candidate(search.ledger, 1)
        search.ledger.record(timing(1, status="oom", reason="out of memory"))

    search = Search(
        tmp_path / "run", lambda s: s.evaluate(0), fail, lambda s: None, lambda s: s.evaluate(2), Search.end
    )
    seen = list(snapshots(tmp_path / "run", wait=search))
    assert [each.evaluated for each in seen] == [0, 1, 2, 2, 3, 3]
    assert [each.state.phase for each in seen] == ["running"] * 5 + ["finished"]
    assert [len(each.summary["front"]) for each in seen] == [0, 1, 1, 1, 2, 2]
    assert seen[-1].failures == {"oom": 1}
    assert [each.id for each in seen[-1].last] == [3, 2, 1]
    assert [moment.evaluated for moment in seen[-1].moments] == [1, 2, 3]
    assert {each.target for each in seen} == {4}


def test_what_came_with_the_end_is_seen(tmp_path):
    def finish(search):
        search.evaluate(0)
        search.end()

    seen = list(snapshots(tmp_path / "run", wait=Search(tmp_path / "run", finish)))
    assert [each.evaluated for each in seen] == [0, 1]


def test_the_ledger_is_read_again_only_when_it_was_written(tmp_path):
    search = Search(tmp_path / "run", lambda s: s.evaluate(0), lambda s: None, Search.end)
    _, first, idle, _ = snapshots(tmp_path / "run", wait=search)
    assert idle.run is first.run
    assert idle.now >= first.now


@pytest.mark.parametrize(("orderly", "phase"), [(True, "finished"), (False, "interrupted")])
def test_a_run_that_has_ended_is_seen_once(tmp_path, orderly, phase):
    search = Search(tmp_path / "run")
    search.evaluate(0)
    search.end(orderly=orderly)
    (only,) = snapshots(tmp_path / "run", wait=never)
    assert (only.state.phase, only.evaluated, only.eta_seconds) == (phase, 1, None)


def test_time_left_is_told_by_the_pace_so_far(tmp_path):
    search = Search(tmp_path / "run", lambda s: s.evaluate(0), Search.end)
    before, running, _ = snapshots(tmp_path / "run", wait=search)
    assert before.eta_seconds is None
    assert running.eta_seconds == pytest.approx(3 * running.run.wall_seconds)


def test_quiet_time_is_that_since_the_last_result(tmp_path):
    search = Search(tmp_path / "run", lambda s: s.evaluate(0), Search.end)
    before, after, _ = snapshots(tmp_path / "run", wait=search, clock=lambda: 4e9)
    assert before.quiet_seconds is None
    assert after.quiet_seconds == 4e9 - after.last[0].finished_at


def test_a_directory_that_is_no_run_and_one_that_goes_away_are_errors(tmp_path):
    with pytest.raises(RunError, match="not the directory of a run"):
        next(snapshots(tmp_path, wait=never))

    def remove(search):
        for name in ("run.yaml", "ledger.sqlite"):
            (tmp_path / "run" / name).unlink()

    search = Search(tmp_path / "run", remove)
    with pytest.raises(RunError, match="not the directory of a run"):
        list(snapshots(tmp_path / "run", wait=search))
    search.end()
