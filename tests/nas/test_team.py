"""Two workers over gloo are one that accumulates their halves; they save, stop and go on together."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import team_member
import torch
from nas_training_rows import loss_curve

from nas.errors import ConfigError
from nas.training.directory import read_rows
from nas.training.plan import TrainingChanges, make_training_plan, plan_from_document
from nas.training.team import worker_seed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Team:
    """What both workers found, and where they trained."""

    def __init__(self, chief: dict[str, Any], other: dict[str, Any], folder: Path) -> None:
        self.chief, self.other, self.folder = chief, other, folder


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Worker 0 is this process, worker 1 another."""
    folder = tmp_path_factory.mktemp("team")
    threads = torch.get_num_threads()
    code = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(ROOT)!r}]; import runpy; "
        f"sys.argv[1:] = [{str(folder)!r}]; runpy.run_module('team_member', run_name='__main__')"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) as other:
        try:
            chief = team_member.part(0, folder)
            _, err = other.communicate(timeout=120)
        finally:
            other.kill()
            torch.set_num_threads(threads)
    assert other.returncode == 0, err.decode()
    return Team(chief, torch.load(folder / "found.pt", weights_only=True), folder)


@pytest.mark.parametrize("case", team_member.CASES)
def test_two_workers_are_one_that_accumulates_their_halves(team: Team, case: str) -> None:
    """After 20 steps: losses and parameters to 1e-5, with every image moved and mixed as by one worker."""
    fields = team_member.CASES[case]
    alone = fields | {"accumulate": 2 * fields.get("accumulate", 1)}
    losses, tensors = team_member.trained(alone, None)
    assert len(losses) == team_member.STEPS
    for found_losses, found in (team.chief[case], team.other[case]):
        assert found_losses == pytest.approx(losses, abs=1e-5)
        for name, value in tensors.items():
            if name.startswith("network.") and "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0.0)
    whole = team_member.trained(fields, None)
    assert whole[0] != pytest.approx(losses, abs=1e-4), "halves and wholes differ in batch norm"


def test_what_is_judged_and_saved_is_the_same_in_all(team: Team) -> None:
    for case in team_member.CASES:
        mine, theirs = team.chief[case][1], team.other[case][1]
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
        assert "random.torch.1" in mine


def test_running_statistics_are_the_mean_of_the_workers(team: Team) -> None:
    (mine, shared), (theirs, also_shared) = team.chief["statistics"], team.other["statistics"]
    assert not torch.allclose(mine, theirs)
    torch.testing.assert_close(shared, (mine + theirs) / 2)
    assert torch.equal(shared, also_shared)


def test_a_restored_team_goes_on_to_the_last_bit(team: Team) -> None:
    for whole, again in (team.chief["resumed"], team.other["resumed"]):
        assert whole == again
    assert team.chief["resumed"] == team.other["resumed"], "the loss is everyone's"


def test_all_stop_where_one_diverges(team: Team) -> None:
    assert "training loss was nan at step 1" in team.chief["diverged"]
    assert team.chief["diverged"] == team.other["diverged"]


def test_a_team_that_was_stopped_and_resumed_is_one_that_was_not(team: Team) -> None:
    assert team.chief["stopped"] == 15
    assert team.other["stopped"] is team.other["whole"] is None
    whole, halves = team.folder / "whole", team.folder / "halves"
    assert loss_curve(whole) == loss_curve(halves)
    assert len(read_rows(whole / "epochs.csv")) == 4
    for name in ("best.safetensors", "last.safetensors"):
        assert (whole / name).read_bytes() == (halves / name).read_bytes()
    for key in ("best", "last", "test"):
        assert team.chief["whole"][key] == team.chief["second"][key]
    assert team.chief["whole"]["workers"] == 2


def test_every_worker_has_its_own_dropout() -> None:
    assert worker_seed(3, 0) == 3
    seeds = {worker_seed(seed, rank) for seed in range(20) for rank in range(1, 20)}
    assert len(seeds) == 20 * 19


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "0 workers cannot train"),
        ({"workers": 3}, "a batch of 256 has no 6 equal parts for 3 workers"),
        ({"workers": 2, "sync_batch_norm": True}, "PyTorch has none for CPUs"),
        ({"sync_batch_norm": True}, "takes several workers"),
    ],
)
def test_teams_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    given = {"data": team_member.DATA, "recipe": team_member.RECIPE, "hardware": "cpu"}
    with pytest.raises(ConfigError, match=message):
        make_training_plan(team_member.ARCH, **given, **settings)


def test_workers_are_kept_for_a_resume_and_one_is_what_old_documents_mean() -> None:
    plan = team_member.team_plan()
    document = plan.document()
    assert plan_from_document(document, "train.yaml") == plan
    old = {key: value for key, value in document.items() if key not in {"workers", "sync_batch_norm"}}
    assert plan_from_document(old, "train.yaml").workers == 1
    changes = TrainingChanges(batch_size=258, accumulate=1)
    three = make_training_plan(
        team_member.ARCH,
        data=team_member.DATA,
        recipe=team_member.RECIPE,
        changes=changes,
        hardware="cpu",
        workers=3,
    )
    assert three.workers == 3
