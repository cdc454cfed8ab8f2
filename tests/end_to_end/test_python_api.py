"""From Python: a real search with a user's task on local workers, its run, its exports, its resumption."""

from dataclasses import replace
from pathlib import Path

import pytest
from counting_task import CountingTask

import nas
from nas.errors import ConfigError
from results.errors import RunMismatchError
from results.run import Run
from search_spaces.document import load_architecture

SETTINGS = {
    "hardware": "cpu",
    "executor": "local",
    "objectives": ["accuracy", "brightness:max", "step_ms"],
    "resolution": 16,
    "batch": 2,
    "no_reuse": True,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "first"
    return nas.search(
        space="tiny", task=CountingTask(), candidates=3, out=str(out), keep_weights=True, **SETTINGS
    )


@pytest.mark.xdist_group("api")
def test_every_candidate_has_its_costs_its_time_and_the_tasks_own_metric(run: Run) -> None:
    frame = run.frame()
    assert len(frame) == 3
    assert list(frame.columns[:9]) == [
        "id",
        "digest",
        "status",
        "accuracy",
        "step_ms",
        "step_ms_low",
        "step_ms_high",
        "params",
        "macs",
    ]
    assert set(frame["status"]) <= {"ok", "unstable"}
    assert (frame["step_ms_low"] <= frame["step_ms"]).all()
    assert (frame["step_ms"] <= frame["step_ms_high"]).all()
    for row in frame.itertuples():
        arch = nas.load_architecture(_file_of(run, row.id))
        assert nas.cost(arch, resolution=32).params == row.params
        built = sum(p.numel() for p in nas.build(arch, num_classes=3).parameters())
        assert row.brightness == pytest.approx(built % 97 / 97)


@pytest.mark.xdist_group("api")
def test_the_front_is_over_the_objectives_that_were_asked_for(run: Run) -> None:
    assert [str(objective) for objective in run.objectives] == [
        "accuracy:maximize",
        "brightness:maximize",
        "step_ms:minimize",
    ]
    assert run.pareto()
    assert run.hypervolume() > 0.0


@pytest.mark.xdist_group("api")
def test_a_candidate_is_built_from_its_run(run: Run) -> None:
    network = run.build(2, num_classes=3)
    assert sum(p.numel() for p in network.parameters()) == nas.cost(run.architecture(2), 32, 3).params
    assert run.timeline().evaluated.tolist() == [1, 2, 3]


@pytest.mark.thorough
@pytest.mark.xdist_group("api")
def test_a_front_is_confirmed_by_measurements_that_the_search_did_not_make(run: Run) -> None:
    with pytest.raises(RunMismatchError, match="task changed"):
        nas.confirm(run, task=CountingTask(version=2))
    before = run.reload().results
    found = nas.confirm(run, top=1, task=CountingTask())
    assert found == nas.honest(run)
    confirmed = {each.id: each.num_measurements["accuracy"] for each in found}
    assert sorted(confirmed.values()) == [1, 1, 2], "one was trained from a second seed"
    assert all(0.0 <= each.probability <= 1.0 for each in found)
    assert any(each.is_member for each in found)
    assert run.reload().results == before


@pytest.mark.xdist_group("api")
def test_weights_are_kept_when_asked_for(run: Run) -> None:
    from safetensors.torch import load_file

    files = list((run.path / "weights").glob("*.safetensors"))
    assert len(files) == 3
    assert any(key.startswith("classifier") for key in load_file(files[0]))


@pytest.mark.xdist_group("api")
def test_exports_read_back_to_the_same_networks(run: Run, tmp_path: Path) -> None:
    files = nas.export(run, top=2, out=tmp_path / "networks")
    assert 1 <= len(files) <= 2
    digests = {member.digest for member in run.pareto()}
    for file in files:
        assert load_architecture(file).digest in digests


@pytest.mark.xdist_group("api")
def test_a_complete_run_resumes_to_itself(run: Run) -> None:
    again = nas.resume(run.path, task=CountingTask())
    assert again.frame().equals(run.frame())


@pytest.mark.xdist_group("api")
def test_a_run_goes_on_with_more_candidates(run: Run, tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(run.path, copied)
    more = nas.resume(copied, task=CountingTask(), changes={"candidates": 4})
    assert len(more.candidates()) == 4
    assert [c.digest for c in more.candidates()[:3]] == [c.digest for c in run.candidates()]


@pytest.mark.xdist_group("api")
def test_another_task_is_not_taken_for_the_same_run(run: Run) -> None:
    with pytest.raises(RunMismatchError, match=r"task changed since this run was started; start a new run"):
        nas.resume(run.path, task=replace(CountingTask(), version=2))


@pytest.mark.xdist_group("api")
def test_what_decides_results_cannot_be_changed_by_resuming(run: Run) -> None:
    with pytest.raises(ConfigError, match="seed: cannot be changed when resuming"):
        nas.resume(run.path, task=CountingTask(), changes={"seed": 5})


@pytest.mark.xdist_group("api")
def test_a_second_run_measures_nothing_that_the_first_one_has(run: Run, tmp_path: Path) -> None:
    settings = {**SETTINGS, "no_reuse": False, "reuse": [str(run.path)]}
    second = nas.search(
        space="tiny", task=CountingTask(), candidates=3, out=str(tmp_path / "second"), **settings
    )
    copied = {candidate.copied_from for candidate in second.candidates() if candidate.status == "ok"}
    assert copied <= {(run.name,)}
    assert copied, "nothing was copied"
    assert [c.digest for c in second.candidates()] == [c.digest for c in run.candidates()]


def test_a_dry_run_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.api import plan
    from nas.config import make_config

    monkeypatch.chdir(tmp_path)
    dry = plan(make_config({"space": "tiny", "hardware": "cpu", "candidates": 5}))
    assert dry.predicted_seconds is None
    assert "no earlier run" in dry.prediction
    assert len(dry.samples) == 3
    assert all(dry.plan.space.contains(arch) for arch, _ in dry.samples)
    assert list(tmp_path.iterdir()) == []


def test_large_networks_are_reduced_for_training_on_a_cpu() -> None:
    from nas.planning import automatic_proxy
    from proxies.hardware import declared_hardware, resolve_hardware

    cpu = resolve_hardware("cpu")
    assert automatic_proxy(nas.load_space("tiny"), cpu) == "default"
    assert automatic_proxy(nas.load_space("effnetv2"), cpu) == "reduced"
    assert automatic_proxy(nas.load_space("effnetv2"), declared_hardware("h100")) == "default"


def _file_of(run: Run, candidate_id: int) -> Path:
    from results.export import export_architecture

    path = run.path / f"exported-{candidate_id}.yaml"
    export_architecture(run.candidate(candidate_id), run, path)
    return path
