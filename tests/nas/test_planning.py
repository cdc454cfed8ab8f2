"""From a configuration to a plan: what is resolved, refused, and written down."""

import subprocess
from pathlib import Path

import pytest

from nas.config import make_config
from nas.errors import ConfigError
from nas.planning import (
    default_workers,
    git_state,
    make_plan,
    require_timeable,
    seed_count,
    space_fingerprint,
    versions,
)
from proxies.data.protocol import DataError
from proxies.detection import GIB, Device
from proxies.hardware import (
    HardwareNotFoundError,
    ResolvedHardware,
    declared_hardware,
    load_profile,
    resolve_hardware,
)
from search_spaces.document import load_architecture
from search_spaces.space_document import load_space

TINY_ON_CPU = {"space": "tiny", "hardware": "cpu", "executor": "local"}


def plan_of(**changes: object):
    return make_plan(make_config({**TINY_ON_CPU, **changes}))


def test_what_is_written_can_be_planned_again() -> None:
    plan = plan_of(limits=["params<=500000", "step_ms<=40"], objectives=["accuracy", "step_ms"], seed=7)
    document = plan.document()
    again = make_plan(make_config(document["config"]))
    assert again.document() == document
    assert document["objectives"] == ["accuracy:maximize", "step_ms:minimize"]
    assert document["jobs_per_candidate"] == {"time": 1, "train": 1}
    assert document["hardware"]["profile"] == "cpu"
    assert document["versions"]["torch"]


def test_exact_limits_go_to_the_space_and_measured_ones_to_the_session() -> None:
    plan = plan_of(limits=["params<=500000", "step_ms<=40"])
    assert [str(limit) for limit in plan.space.limits] == ["params <= 500,000"]
    assert [bound.name for bound in plan.evaluations().bounds if not bound.is_exact] == ["step_ms"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strategy": "evolutio"}, ConfigError, "strategy 'evolutio' is unknown; did you mean 'evolution'"),
        ({"proxy": "defualt"}, ConfigError, "proxy 'defualt' is unknown, did you mean 'default'"),
        ({"proxy": "paper"}, DataError, "has no data of its own; name some with --data"),
        ({"data": "/nowhere/at/all"}, DataError, "no data source is called '/nowhere/at/all'"),
        ({"objectives": []}, ConfigError, "name one or more"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_of(**changes)


def test_hardware_is_looked_at_first() -> None:
    """A box without the device says so even when everything else is wrong as well."""
    config = make_config({"space": "no-such-space", "strategy": "none", "hardware": "tpu-v6e"})
    with pytest.raises(HardwareNotFoundError, match="hardware 'tpu-v6e' is not on this machine"):
        make_plan(config)


def test_what_decides_a_training_decides_its_fingerprint() -> None:
    fingerprints = {
        name: plan_of(**changes).task_fingerprint
        for name, changes in {
            "default": {"proxy": "default"},
            "quick": {"proxy": "quick"},
            "other data": {"proxy": "default", "data": "digits"},
            "other precision": {"proxy": "default", "precision": "bf16"},
        }.items()
    }
    assert len(set(fingerprints.values())) == len(fingerprints)
    assert plan_of(proxy="default", seed=9, candidates=3).task_fingerprint == fingerprints["default"]


def test_overrides_reach_the_timing() -> None:
    arch = load_architecture("efficientnetv2-b0")
    settings = plan_of(resolution=48, batch=3, precision="bf16").timing(arch)
    assert (settings.resolution, settings.batch_size, settings.precision) == (48, 3, "bf16")
    assert plan_of().timing(arch).resolution == load_profile("cpu").defaults.max_resolution


def test_inference_is_planned_at_its_own_batch_and_resolution() -> None:
    plan = plan_of(objectives=["accuracy", "inference_ms"], batch=8, inference_batch=1)
    arch = load_architecture("efficientnetv2-b0")
    (inference,) = (timing(arch) for timing in plan.evaluations().further_timings)
    assert (inference.work, inference.batch_size) == ("inference", 1)
    assert (plan.timing(arch).work, plan.timing(arch).batch_size) == ("training", 8)
    assert plan.document()["jobs_per_candidate"]["time"] == 2


def test_onnx_runtime_is_refused_where_the_search_is_not_on_a_cpu() -> None:
    h100 = declared_hardware("h100")
    require_timeable(("training", "inference"), h100)
    with pytest.raises(ConfigError, match="onnx_ms is a time of the CPU, and this search is on 'h100'"):
        require_timeable(("training", "onnx-inference"), h100)


def test_seeds_are_at_most_a_quarter_of_the_budget() -> None:
    counts = {
        candidates: seed_count(plan_of(space="effnetv2", candidates=candidates))
        for candidates in (1, 8, 12, 1000)
    }
    assert counts == {1: 1, 8: 2, 12: 3, 1000: len(load_space("effnetv2").seeds)}
    assert seed_count(plan_of(candidates=100)) == 0, "tiny has no seeds"


def test_a_task_may_say_how_many_candidates(tmp_path: Path) -> None:
    shipped = Path(make_plan.__globals__["__file__"]).parents[1] / "proxies" / "tasks" / "quick.yaml"
    task = tmp_path / "short.yaml"
    task.write_text(shipped.read_text() + "\nmax_candidates: 9\n")
    counted = plan_of(proxy=str(task))
    assert counted.config.candidates == 9
    assert make_plan(make_config(counted.document()["config"])).config.candidates == 9
    assert plan_of(proxy=str(task), candidates=5).config.candidates == 5
    assert plan_of(proxy="quick").config.candidates == 64


def test_one_worker_for_each_accelerator() -> None:
    devices = tuple(
        Device(kind="cuda", index=index, name="NVIDIA H100", memory_bytes=80 * GIB) for index in range(4)
    )
    several = ResolvedHardware(profile=load_profile("h100"), devices=devices, torch_version="2.13.0")
    assert default_workers(several) == 4
    assert default_workers(resolve_hardware("cpu")) == 2
    assert plan_of(workers=3).workers == 3


def test_a_spaces_fingerprint_is_of_what_can_be_drawn(tmp_path: Path) -> None:
    text = (Path(load_space.__globals__["__file__"]).parent / "spaces" / "tiny.yaml").read_text()
    renamed, widened = tmp_path / "renamed.yaml", tmp_path / "widened.yaml"
    renamed.write_text(text.replace("notes: ", "notes: another note, "))
    widened.write_text(text.replace("[64, 128, 256]", "[64, 128, 512]"))
    tiny = space_fingerprint(load_space("tiny"))
    assert space_fingerprint(load_space(renamed)) == tiny
    assert space_fingerprint(load_space(widened)) != tiny


def test_the_state_of_a_repository_is_noted(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = git_state(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["is_dirty"] is False
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path) == {"commit": clean["commit"], "is_dirty": True}


def test_versions_are_those_installed() -> None:
    from importlib import metadata

    found = versions()
    assert found["numpy"] == metadata.version("numpy")
    assert "no-such-package" not in found
