"""The configuration of a search: parsed once at the edge, written beside the results, accepted again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from nas.errors import ConfigError
from proxies.records import Precision
from search_spaces.spec import Resolution, Spec

RUN_SCHEMA = "nas.run/1"
CPU_WORKERS = 2


class SearchConfig(Spec):
    """Everything that decides what a search does. `None` means: the default of what was named."""

    space: str = "effnetv2"
    hardware: str = "auto"
    proxy: str = "auto"
    data: str | None = None
    strategy: str = "surrogate"
    candidates: PositiveInt = 64
    objectives: tuple[str, ...] = ("accuracy", "step_ms", "params")
    limits: tuple[str, ...] = ()
    target: str | None = None
    reward: str | None = None
    gate: bool = True
    early_stopping: Literal["none", "halving"] = "none"
    halving_reduction: Annotated[float, Field(gt=1.0)] = 2.0
    halving_first: PositiveInt = 2
    warm_start: tuple[str, ...] = ()
    seed: Annotated[int, Field(ge=0)] = 0
    executor: Literal["ray", "local"] = "ray"
    workers: PositiveInt | None = None
    ray_address: str | None = None
    insecure: bool = False
    out: str | None = None
    time_budget_seconds: PositiveFloat | None = None
    candidate_timeout_seconds: PositiveFloat = 1800.0
    memory_limit_bytes: PositiveInt | None = None
    max_failed: Annotated[int, Field(ge=0)] | None = None
    resolution: Resolution | None = None
    batch: PositiveInt | None = None
    precision: Precision | None = None
    inference_batch: PositiveInt | None = None
    estimate: bool = False
    predict_steps: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    keep_weights: bool = False
    reuse: tuple[str, ...] = ()
    no_reuse: bool = False
    allow_plugins: bool = False


class SearchSettings(TypedDict, total=False):
    """The fields of `SearchConfig` but for `space`, as keyword arguments for editors and type checkers."""

    hardware: str
    proxy: str
    data: str | None
    strategy: str
    candidates: int
    objectives: Sequence[str]
    limits: Sequence[str]
    target: str | None
    reward: str | None
    gate: bool
    early_stopping: Literal["none", "halving"]
    halving_reduction: float
    halving_first: int
    warm_start: Sequence[str]
    seed: int
    executor: Literal["ray", "local"]
    workers: int | None
    ray_address: str | None
    insecure: bool
    out: str | None
    time_budget_seconds: float | None
    candidate_timeout_seconds: float
    memory_limit_bytes: int | None
    max_failed: int | None
    resolution: int | None
    batch: int | None
    precision: Precision | None
    inference_batch: int | None
    estimate: bool
    predict_steps: float | None
    keep_weights: bool
    reuse: Sequence[str]
    no_reuse: bool
    allow_plugins: bool


EDITABLE = frozenset(
    {"out", "workers", "executor", "ray_address", "insecure", "candidate_timeout_seconds", "max_failed"}
)
"""Fields that say where and how fast, not what: a run may be resumed with other values of them."""
SAID_EACH_TIME = frozenset({"insecure"})
"""Fields that no file may set, a run's own included: they open doors, and a file may be anyone's."""


def make_config(values: Mapping[str, Any]) -> SearchConfig:
    """A configuration from plain values; lists count as tuples.

    Raises:
        ConfigError: one line a problem.
    """
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return SearchConfig.model_validate(plain)
    except ValidationError as error:
        lines = []
        for detail in error.errors(include_url=False):
            name = ".".join(map(str, detail["loc"]))
            if detail["type"] == "extra_forbidden":
                lines.append(f"{name}: unknown setting; known: {', '.join(SearchConfig.model_fields)}")
            else:
                lines.append(
                    f"{name}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"
                )
        raise ConfigError("\n".join(lines)) from error


def read_config_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML file: plain ones, or those of any `run.yaml` but for where that run was written.

    Raises:
        DocumentError: not a document.
        ConfigError: not a mapping.
    """
    from search_spaces.document import read_yaml

    data = read_yaml(path)
    if isinstance(data, dict) and data.get("schema") == RUN_SCHEMA:
        config = data.get("config")
        data = (
            {key: value for key, value in config.items() if key not in {"out", *SAID_EACH_TIME}}
            if isinstance(config, dict)
            else None
        )
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected settings by name, such as `space: effnetv2`")
    for name in sorted(SAID_EACH_TIME & data.keys()):
        raise ConfigError(f"{path}: {name}: no file may set this; say --{name} if it is meant")
    return data
