"""`nas confirm` on a run that is on disk."""

from nas_program import assert_one_problem, run_here
from recorded_run import make_run

from results.confirmations import CONFIRMATIONS_NAME, honest
from results.ledger import Ledger
from results.run import load_run


def test_what_is_known_is_told_without_measuring(capsys, tmp_path):
    path = make_run(tmp_path / "first")
    arguments = ["confirm", path, "--timings", "0", "--seeds", "0"]
    assert_one_problem(
        run_here(capsys, *arguments), 1, "no network has two independent measurements of accuracy"
    )
    run = load_run(path)
    with Ledger.create(path / CONFIRMATIONS_NAME) as ledger:
        for record in run.records(run.candidate(1)):
            metrics = {name: 1.02 * value for name, value in record.outcome.metrics.items()}
            ledger.record(
                record.outcome.model_copy(update={"key": f"{record.outcome.key}x", "metrics": metrics})
            )
    found = run_here(capsys, *arguments, "--json").json
    assert [each["probability"] for each in found] == [each.probability for each in honest(run)]
    out = run_here(capsys, *arguments).out
    for fragment in (
        "P(not dominated)",
        "step_ms [95 % interval]",
        "2+2",
        "of 4 networks are on the honest front",
    ):
        assert fragment in out
    assert_one_problem(run_here(capsys, "confirm", "none"), 1, "no run 'none'")
