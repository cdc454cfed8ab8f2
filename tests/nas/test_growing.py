"""A family grown to budgets: its document, its times, its choice by a short training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nas_program import assert_one_problem, run_here
from small_training import ARCH, DATA

from nas import growing
from proxies.records import Outcome
from search_spaces.document import load_architecture, read_yaml
from search_spaces.text import dump


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(dump(ARCH.to_document()))
    return path


def test_a_family_is_written_with_its_costs(capsys: Any, small: Path, tmp_path: Path) -> None:
    limits = ("--to", "macs<=2x", "--to", "params<=3x")
    ended = run_here(capsys, "scale", small, *limits, "--out", tmp_path / "family", "--json")
    assert ended.code == 0, ended.err
    document = read_yaml(tmp_path / "family" / "family.yaml")
    assert {**document, "file": ended.json["file"]} == {
        **ended.json,
        "members": [
            {**each, "file": f"small-{index}.yaml"} for index, each in enumerate(ended.json["members"], 1)
        ],
    }
    assert document["base"]["digest"] == ARCH.digest
    for member in document["members"]:
        assert load_architecture(tmp_path / "family" / member["file"]).digest == member["digest"]
    first, second = document["members"]
    assert first["macs"] <= first["limits"]["macs"] == 2 * document["base"]["macs"]
    assert document["base"]["params"] < second["params"] <= 3 * document["base"]["params"]
    assert first["step_ms"] is None
    shown = run_here(capsys, "scale", small, "--to", "macs<=2x").out.splitlines()
    assert shown[1].split()[0] == "base"
    assert shown[2].startswith("macs<=2x")
    assert len(shown) == 3 + len(first["others"])


def test_usage_is_explained(capsys: Any, small: Path) -> None:
    assert_one_problem(
        run_here(capsys, "scale", small, "--to", "macs<=2x", "--width", 2), 2, "leave out the options"
    )
    assert_one_problem(run_here(capsys, "scale", small, "--to", "makks<=2x"), 2, "macs")
    assert_one_problem(run_here(capsys, "scale", small, "--to", "params<=3"), 2, "no direction grows")


def test_images_that_grow_are_timed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the profile caps the image size that the base is timed at."""
    asked = []

    def fake(archs: Any, *, hardware: str, resolution: int) -> list[Outcome]:
        asked.append(([arch.name for arch in archs], resolution))
        found = []
        for arch in archs:
            ok = arch.name != "broken"
            metrics = {"step_ms": float(resolution)} if ok else {}
            status = "ok" if ok else "oom"
            found.append(
                Outcome(key="k", kind="time", digest="d", status=status, metrics=metrics, seconds=1.0)
            )
        return found

    monkeypatch.setattr(growing, "measure", fake)
    base = load_architecture("efficientnetv2-s")  # 300 px; the profile times at most 96
    grown = replace(base, name="grown", recipe=base.recipe.model_copy(update={"train_resolution": 450}))
    broken = replace(base, name="broken", head=base.head.model_copy(update={"width": 1288}))
    time = growing.step_timer(base, "cpu")
    assert time([base, grown, broken, base]) == [96.0, 144.0, None, 96.0]
    assert asked == [(["efficientnetv2-s", "broken"], 96), (["grown"], 144), (["efficientnetv2-s"], 96)]


@pytest.mark.thorough
def test_a_short_training_of_the_network_itself_judges(tmp_path: Path) -> None:
    proxy = tmp_path / "short.yaml"
    proxy.write_text(
        "schema: nas.task/1\nname: short\ndata: {source: digits, channels: 1}\nresolution: 8\n"
        "recipe: {epochs: 2, batch_size: 128, optimizer: adamw, learning_rate: 0.01, shift: 0.1}\n"
    )
    judge = growing.proxy_judge(str(proxy), DATA, "cpu", 0, base=ARCH)
    assert 0.1 < judge(ARCH) == judge(ARCH) <= 1.0
    recipe = ARCH.recipe.model_copy(update={"eval_resolution": 12})
    larger = judge(replace(ARCH, recipe=recipe))
    assert larger not in {judge(ARCH), None}, "images have grown with the network's"


@pytest.mark.thorough
def test_estimates_are_called_so_everywhere(capsys: Any, tmp_path: Path) -> None:
    """The limit on an accelerator that is not here is kept by the profile's own estimates."""
    options = ("--to", "step_ms<=2x,params<=20e6", "--hardware", "a100", "--estimate")
    ended = run_here(capsys, "scale", "efficientnetv2-b0", *options, "--out", tmp_path / "family", "--json")
    assert ended.code == 0, ended.err
    (member,) = ended.json["members"]
    assert set(member["limits"]) == {"estimated_step_ms", "params"}
    for each in (ended.json["base"], member, *member["others"]):
        assert "step_ms" not in each
        assert each["estimated_step_ms"] > 0.0
    assert len(member["others"]) >= 4, "a frontier of directions"
    limit = member["limits"]["estimated_step_ms"]
    assert limit == pytest.approx(2.0 * ended.json["base"]["estimated_step_ms"])
    (file,) = (each["file"] for each in read_yaml(tmp_path / "family" / "family.yaml")["members"])
    arch = load_architecture(tmp_path / "family" / file)
    base = load_architecture("efficientnetv2-b0")
    (again,) = growing.step_estimator(base, "a100")([arch])
    assert again == pytest.approx(member["estimated_step_ms"])
    assert again <= 1.03 * limit
    assert (
        "estimated step ms" in run_here(capsys, "scale", "efficientnetv2-b0", *options[:2], *options[2:]).out
    )
    assert_one_problem(
        run_here(capsys, "scale", "efficientnetv2-b0", "--to", "step_ms<=2x", "--estimate"),
        2,
        "--hardware a100",
    )
    assert_one_problem(
        run_here(capsys, "scale", "efficientnetv2-b0", "--phi", 1, "--estimate"), 2, "limit on step_ms"
    )
