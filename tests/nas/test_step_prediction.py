"""Predictions in the place of timings: what they replace, what they never decide, and how they are told."""

import numpy as np
import pytest
from replayed import ReplayExecutor, make_session

from cli.front import write_run
from nas.config import make_config
from nas.errors import ConfigError
from nas.executors.protocol import ExecutorError
from nas.goal import goal_of
from nas.objectives import parse_objectives
from nas.planning import require_predictable
from nas.step_prediction import StepPrediction, decided_by_timing, prediction_key
from nas.strategies.protocol import Evaluation
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from results.candidate import join
from results.ledger import Ledger
from results.pareto import non_dominated
from results.run import Run
from search_spaces.architecture import cost
from search_spaces.document import architecture_from_document
from search_spaces.space_document import load_space

TINY = load_space("tiny")
OBJECTIVES = parse_objectives(["accuracy", "step_ms"])
CANDIDATES = 60
FEWEST = 24


def law(job: TimeJob | TrainJob, noise: float = 0.002) -> Outcome:
    """Step times in proportion to the work, which can be learned; accuracies that grow with it, by chance."""
    costs = cost(architecture_from_document(job.architecture), 32)
    rng = np.random.default_rng(int(job.key[:12], 16))
    if isinstance(job, TimeJob):
        step = (2.0 + costs.macs / 1e6 + costs.activation_bytes / 2e5) * float(np.exp(noise * rng.normal()))
        metrics = {"step_ms": step, "step_ms_low": 0.99 * step, "step_ms_high": 1.01 * step}
    else:
        metrics = {"accuracy": float(0.5 + 0.03 * np.log(costs.macs / 1e6) + 0.05 * rng.normal())}
    return Outcome(key=job.key, kind=job.kind, digest=job.digest, status="ok", metrics=metrics)


def searched(ledger, folder, *, width=0.05, noise=0.002, executor=None, **settings):
    executor = executor or ReplayExecutor(lambda job: law(job, noise))
    session = make_session(
        TINY,
        ledger,
        executor,
        folder,
        candidates=CANDIDATES,
        objectives=["accuracy", "step_ms"],
        **settings,
    )
    if width is not None:
        session.prediction = StepPrediction(TINY, OBJECTIVES, width, fewest=FEWEST)
    session.run()
    return session, executor


def results(ledger):
    jobs = {"time": 1, "train": 1}
    return join(ledger.candidates(), ledger.records(), ledger.decisions(), jobs_per_candidate=jobs)


def front(found):
    points = [each.values(["accuracy", "step_ms"]) for each in found]
    return {found[place].digest for place in non_dominated(points, OBJECTIVES)}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same proposals, with and without predictions."""
    found = {}
    for name, width in (("measured", None), ("predicted", 0.05)):
        folder = tmp_path_factory.mktemp(name)
        with Ledger.create(folder / "ledger.sqlite") as ledger:
            session, executor = searched(ledger, folder, width=width)
            found[name] = session, executor, results(ledger), ledger.decisions(), ledger.outcomes()
        found[f"{name} run"] = Run(
            path=folder, config={}, objectives=OBJECTIVES, results=found[name][2], wall_seconds=1.0
        )
    return found


def first_timings(executor):
    return {job.digest for job in executor.jobs if isinstance(job, TimeJob) and job.repeat == 0}


def test_predictions_spare_timings_and_leave_the_front_as_it_is(both):
    _, measured, everyone, _, _ = both["measured"]
    _, executor, found, _, _ = both["predicted"]
    assert [each.digest for each in found] == [each.digest for each in everyone]
    assert len(first_timings(measured)) == CANDIDATES
    assert FEWEST <= len(first_timings(executor)) < 0.75 * CANDIDATES
    assert front(found) == front(everyone)


def test_what_was_predicted_is_told_as_that_and_is_on_no_front(both):
    session, executor, found, decisions, _ = both["predicted"]
    untimed = {each.digest for each in found} - first_timings(executor)
    assert untimed == {each.digest for each in decisions if each.kind == "prediction"}
    for each in found:
        assert each.is_predicted == (each.digest in untimed)
        if each.is_predicted:
            assert each.status == "skipped"
            assert "ms are predicted, and" in each.reason
            assert each.step_ms is None
            assert each.value("predicted_step_ms_low") < each.value("predicted_step_ms")
            assert each.accuracy is not None
    assert not untimed & front(found)
    for evaluation in session.evaluations_so_far():
        assert (evaluation.ending == "predicted") == (evaluation.digest in untimed)
        assert ("step_ms" in evaluation.values) == (evaluation.digest not in untimed)


def test_the_records_say_predicted_and_how(both):
    _, _, _, _, outcomes = both["predicted"]
    predictions = [each for each in outcomes if each.kind == "estimate"]
    assert predictions
    for each in predictions:
        assert each.details["predicted"] is True
        assert "timings of this run; 90% interval" in each.details["basis"]
        assert not {"step_ms", "estimated_step_ms"} & set(each.metrics)


def test_the_intervals_hold_for_those_that_were_timed_after_all_and_for_the_truth(both):
    _, _, found, _, _ = both["predicted"]
    _, _, everyone, _, _ = both["measured"]
    truth = {each.digest: each.step_ms for each in everyone}
    predicted = [each for each in found if "predicted_step_ms" in each.metrics]
    inside = [
        each.metrics["predicted_step_ms_low"] <= truth[each.digest] <= each.metrics["predicted_step_ms_high"]
        for each in predicted
    ]
    assert np.mean(inside) >= 0.8


def test_the_run_says_how_often(both, capsys):
    executor, run = both["predicted"][1], both["predicted run"]
    summary = run.summary()
    told = summary["predicted_steps"]
    assert told["not_timed"] == CANDIDATES - len(first_timings(executor))
    assert told["predicted"] == told["not_timed"] + told["timed"]
    assert 0 <= told["inside_interval"] <= told["timed"]
    assert summary["gated"] == 0
    write_run(run)
    assert (
        f"step times predicted for {told['predicted']}: {told['not_timed']} not timed;"
        in capsys.readouterr().out
    )
    assert "predicted_steps" not in both["measured run"].summary()


@pytest.mark.thorough
@pytest.mark.parametrize(("width", "noise"), [(0.001, 0.002), (0.05, 0.3)])
def test_a_wide_interval_replaces_nothing(width, noise, tmp_path):
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        _, executor = searched(ledger, tmp_path, width=width, noise=noise)
        assert len(first_timings(executor)) == CANDIDATES
        assert not [each for each in ledger.outcomes() if each.kind == "estimate"]


@pytest.mark.thorough
def test_a_search_that_was_killed_keeps_its_predictions(tmp_path, both):
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(ExecutorError):
            searched(ledger, tmp_path, executor=ReplayExecutor(law, die_after=75))
        before = {each.digest for each in ledger.decisions() if each.kind == "prediction"}
        filed = {each.key: each for each in ledger.outcomes() if each.kind == "estimate"}
        assert before
        _, executor = searched(ledger, tmp_path)
        assert not before & {job.digest for job in executor.jobs}
        after = {each.key: each for each in ledger.outcomes() if each.kind == "estimate"}
        assert filed.items() <= after.items()
        assert front(results(ledger)) == front(both["measured"][2])


def evaluation(index, genes, **values):
    return Evaluation(index=index, genes=genes, digest=f"{index:064}", values=values)


def test_a_value_outside_of_what_was_timed_is_not_predicted():
    genes = TINY.sample(np.random.default_rng(0), 120)
    costs = TINY.costs(genes)
    times = 1.0 + costs.macs / 1e6
    order = np.argsort(times)
    known = [evaluation(int(i), genes[i], step_ms=float(times[i])) for i in order[10:70]]
    prediction = StepPrediction(TINY, OBJECTIVES, 0.2)
    settings = TimingSettings(resolution=32, batch_size=8)

    def asked(place):
        arch = TINY.decode(genes[place])
        job = TimeJob(
            digest=arch.digest,
            architecture=arch.to_document(),
            hardware_fingerprint="h",
            settings=settings,
        )
        found = prediction.predict(job, genes[place], known)
        assert found is None or found.key == prediction_key(job) != job.key
        return found

    assert asked(order[40]).metrics["predicted_step_ms"] == pytest.approx(times[order[40]], rel=0.1)
    assert asked(order[-1]) is None
    assert prediction.predict(None, genes[0], known[:39]) is None or prediction._fitted == 60


def test_only_a_complete_network_makes_another_irrelevant():
    prediction = StepPrediction(TINY, OBJECTIVES, 0.05)
    values = {"accuracy": 0.6, "predicted_step_ms": 10.0, "predicted_step_ms_low": 9.0}
    values["predicted_step_ms_high"] = 11.0
    genes = TINY.sample(np.random.default_rng(0))
    better = evaluation(0, genes, accuracy=0.7, step_ms=8.9)
    assert prediction.irrelevant(values, [better]).startswith("not timed: 9 to 11 ms are predicted, and 0000")
    assert prediction.irrelevant(values, [evaluation(0, genes, accuracy=0.7, step_ms=9.1)]) is None
    stopped = Evaluation(index=0, genes=genes, digest="d", values=better.values, ending="stopped")
    assert prediction.irrelevant(values, [stopped]) is None


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"estimate": True, "hardware": "a100"}, "leave out --estimate"),
        ({"objectives": ["accuracy", "peak_memory_bytes"]}, "peak_memory_bytes must be measured"),
        ({"objectives": ["accuracy", "step_ms", "inference_ms"]}, "inference_ms must be measured"),
        ({"limits": ["step_ms<=40"]}, "step_ms must be measured"),
        ({"target": "step_ms<=40"}, "step_ms must be measured"),
    ],
)
def test_a_search_whose_outcome_would_hang_on_a_prediction_is_refused(settings, why):
    config = make_config({"predict_steps": 0.05, **settings})
    with pytest.raises(ConfigError, match=why):
        require_predictable(config, goal_of(config))
    require_predictable(make_config({"predict_steps": 0.05}), goal_of(make_config({})))


def test_what_only_a_timing_gives():
    names = ["accuracy", "params", "step_ms", "step_ratio", "inference_ms", "onnx_ms", "images_per_second"]
    assert decided_by_timing(names) == ["step_ratio", "inference_ms", "onnx_ms", "images_per_second"]
