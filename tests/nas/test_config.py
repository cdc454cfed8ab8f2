"""The configuration: one value, checked once, read back from any run."""

from pathlib import Path

import pytest

from nas.config import EDITABLE, SearchConfig, SearchSettings, make_config, read_config_file
from nas.errors import ConfigError


def test_keyword_settings_are_the_configurations_fields() -> None:
    """`nas.search(**settings)` is typed by hand; it must not fall behind."""
    assert set(SearchSettings.__annotations__) | {"space"} == set(SearchConfig.model_fields)
    assert set(SearchConfig.model_fields) > EDITABLE


def test_a_configuration_survives_being_written() -> None:
    config = make_config({"space": "tiny", "limits": ["params<=1e6"], "objectives": ["accuracy"], "seed": 3})
    assert config.limits == ("params<=1e6",)
    assert make_config(config.model_dump(mode="json")) == config


def test_every_problem_is_named_on_its_own_line() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config({"candidates": 0, "sede": 1, "executor": "cluster"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("executor: ") or lines[0].startswith("candidates: ")
    assert any(line.startswith("sede: unknown setting; known: space, hardware") for line in lines)
    assert any("greater than or equal to" in line or "greater than 0" in line for line in lines)


@pytest.mark.parametrize(
    "values", [{"candidates": True}, {"seed": -1}, {"seed": 1.0}, {"batch": "8"}, {"space": 3}]
)
def test_nothing_is_converted_silently(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        make_config(values)


def test_settings_are_read_from_a_plain_file_and_from_a_run(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("space: tiny\ncandidates: 7\nlimits: [params<=3e6]\n")
    run = tmp_path / "run.yaml"
    run.write_text(
        "schema: nas.run/1\nconfig:\n  out: runs/there\n  space: tiny\n"
        "  candidates: 7\n  limits: [params<=3e6]\n"
    )
    assert make_config(read_config_file(plain)) == make_config(read_config_file(run))


def test_no_file_opens_a_door(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("space: tiny\ninsecure: true\n")
    with pytest.raises(ConfigError, match="insecure: no file may set this; say --insecure if it is meant"):
        read_config_file(plain)
    run = tmp_path / "run.yaml"
    run.write_text("schema: nas.run/1\nconfig:\n  space: tiny\n  insecure: true\n")
    assert read_config_file(run) == {"space": "tiny"}


def test_a_file_that_is_no_configuration_says_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- space\n")
    with pytest.raises(ConfigError, match="expected settings by name, such as `space: effnetv2`"):
        read_config_file(path)
