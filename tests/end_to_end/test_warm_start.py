"""A search that begins with what another one found."""

from pathlib import Path

import pytest
from counting_task import CountingTask

import nas
from nas.errors import ConfigError
from results.run import Run

pytestmark = pytest.mark.thorough  # two searches with real timings

SETTINGS = {
    "space": "tiny",
    "hardware": "cpu",
    "executor": "local",
    "objectives": ["accuracy", "params"],
    "resolution": 16,
    "batch": 2,
    "strategy": "evolution",
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("first") / "run"
    return nas.search(task=CountingTask(), candidates=4, out=str(out), no_reuse=True, **SETTINGS)


def test_the_front_of_the_other_comes_first_and_is_not_measured_again(first: Run, tmp_path: Path) -> None:
    run = nas.search(
        task=CountingTask(),
        candidates=8,
        seed=5,
        out=str(tmp_path / "second"),
        warm_start=[str(first.path)],
        **SETTINGS,
    )
    best = {each.digest for each in first.pareto()}
    begun = run.candidates()[: min(len(best), 2)]
    assert {each.digest for each in begun} <= best
    assert {each.copied_from for each in begun} == {(first.path.name,)}
    assert len({each.digest for each in run.candidates()}) == 8
    assert nas.resume(run.path, task=CountingTask()).candidates() == run.candidates()


def test_another_task_teaches_nothing(first: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="measured with another proxy task"):
        nas.search(
            task=CountingTask(version=2),
            candidates=2,
            out=str(tmp_path / "second"),
            warm_start=[str(first.path)],
            **SETTINGS,
        )
