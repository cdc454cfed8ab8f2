"""Proxy tasks: what a candidate is briefly trained on, read from YAML. Only training loads torch."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from importlib.metadata import EntryPoint, entry_points
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from proxies.data.protocol import DataError, DataSource, Split, Splits
from proxies.data.registry import (
    HoldsOut,
    find_source,
    load_data_plugins,
    source_document,
    source_from_document,
)
from proxies.recipe import TRAINING_VERSION, TrainingRecipe
from proxies.records import Precision
from search_spaces.architecture import Architecture, Head, Recipe
from search_spaces.document import read_spec
from search_spaces.messages import suggest
from search_spaces.spec import Name, Probability, Resolution, Spec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from proxies.protocols import Report, Task
    from search_spaces.blocks.protocol import Block

TASK_FOLDER = Path(__file__).with_name("tasks")
Factor = Annotated[float, Field(gt=0.0, le=1.0)]


class UnknownTaskError(ValueError):
    """No proxy task has this name."""


def _known_source(data: dict[str, Any] | None) -> dict[str, Any] | None:
    """Refuse what is no data source while its place in the file is still known."""
    if data is not None:
        source_from_document(data)
    return data


class TaskDocument(Spec):
    """A proxy task as its YAML file says it.

    `width_factor` and `depth_factor` train a smaller network in place of each candidate, all in the same
    proportion; costs and step time stay those of the candidate itself. `data` names a source and its
    parameters; without it, data must be given with the search. `seeds` are trained one after another and
    averaged. `holdout` takes validation out of the training images by that fraction, where the data can
    (folders and hub sets), even if it has a validation split. A search on this task evaluates
    `max_candidates` where it is not told how many, and its strategy climbs `reward` if it climbs one.
    """

    schema_version: Literal["nas.task/1"] = Field(alias="schema")
    name: Name
    notes: str = ""
    data: Annotated[dict[str, Any] | None, AfterValidator(_known_source)] = None
    resolution: Resolution
    recipe: TrainingRecipe
    width_factor: Factor = 1.0
    depth_factor: Factor = 1.0
    dropout: Probability = 0.0
    drop_path: Probability = 0.0
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    holdout: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    max_candidates: Annotated[int, Field(ge=1)] | None = None
    reward: Annotated[str, Field(min_length=1)] = "effnetv2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTask:
    """A classification task on images: the `Task` that every shipped YAML file is."""

    document: TaskDocument
    source: DataSource

    @property
    def num_classes(self) -> int:
        """Classes of the data."""
        return self.source.num_classes

    @property
    def seeds(self) -> tuple[int, ...]:
        """Each candidate is trained once with each of these."""
        return self.document.seeds

    @property
    def max_candidates(self) -> int | None:
        """How many candidates a search on this task evaluates unless told; None: the search's default."""
        return self.document.max_candidates

    @property
    def num_reports(self) -> int | None:
        """How many reports a whole training makes, one an epoch; None where its length is given in steps."""
        return self.document.recipe.epochs

    @property
    def reward(self) -> str:
        """What a strategy of one objective climbs in a search on this task; see `nas.goal.parse_reward`."""
        return self.document.reward

    def fingerprint(self) -> str:
        """sha256 of all that decides a result: data, recipe, sizes, dropout, version of torch."""
        document = self.document
        material = {
            "data": self.source.fingerprint(),
            "resolution": document.resolution,
            "recipe": document.recipe.fingerprint_material(),
            "width_factor": document.width_factor,
            "depth_factor": document.depth_factor,
            "dropout": document.dropout,
            "drop_path": document.drop_path,
            "training": TRAINING_VERSION,
            "torch": ".".join(metadata.version("torch").split(".")[:2]),
        }
        canonical = json.dumps(material, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """The task as plain data, for provenance."""
        return {
            **self.document.model_dump(mode="json", by_alias=True),
            "data": source_document(self.source),
            "num_classes": self.num_classes,
        }

    def reduce(self, arch: Architecture) -> Architecture:
        """The network that is trained in place of `arch`: narrower and shallower by the task's factors."""
        recipe = Recipe(
            dropout=self.document.dropout,
            drop_path=self.document.drop_path,
            eval_resolution=self.document.resolution,
        )
        reduced = reduce(
            arch, width_factor=self.document.width_factor, depth_factor=self.document.depth_factor
        )
        return replace(reduced, recipe=recipe)

    def train(
        self, network: "nn.Module", report: "Report", *, seed: int, device: "torch.device"
    ) -> Mapping[str, float]:
        """Train on the training images, and report on the validation images alone."""
        from proxies.training import train_classifier

        splits = _load(self.source, self.document.resolution)
        return train_classifier(
            network, splits, self.document.recipe, seed=seed, device=device, report=report
        )

    def load_test(self) -> Split:
        """The held-out test images; for final reports, never for a search."""
        return self.source.load_test(resolution=self.document.resolution)


@lru_cache(maxsize=1)
def _load(source: DataSource, resolution: int) -> Splits:
    """The data of this process's task: a worker trains many candidates on the same images."""
    return source.load(resolution=resolution)


def reduce(arch: Architecture, *, width_factor: float, depth_factor: float) -> Architecture:
    """A smaller network in the same proportions.

    Widths are multiplied and rounded to the nearest multiple of 8, at least 8; depths are multiplied and
    rounded, at least 1. A factor of 1 changes nothing. Attention heads that a new width does not hold whole
    times are narrowed to the widest that it does. Widths that blocks and head state themselves shrink alike.
    """

    def width(channels: int) -> int:
        return channels if width_factor == 1.0 else max(8, int(channels * width_factor + 4) // 8 * 8)

    def depth(blocks: int) -> int:
        return max(1, round(blocks * depth_factor))

    return replace(
        arch,
        stem=arch.stem.model_copy(update={"width": width(arch.stem.width)}),
        stages=tuple(
            replace(
                stage,
                width=width(stage.width),
                depth=depth(stage.depth),
                block=_fitted(stage.block, width(stage.width), width),
            )
            for stage in arch.stages
        ),
        head=_narrowed_head(arch.head, width),
    )


def _narrowed_head(head: Head, narrowed: Callable[[int], int]) -> Head:
    changes: dict[str, Any] = {"width": narrowed(head.width)}
    if head.linear != "none":
        changes["linear"] = head.linear.model_copy(update={"width": narrowed(head.linear.width)})
    return head.model_copy(update=changes)


def _fitted(block: "Block", width: int, narrowed: Callable[[int], int]) -> "Block":
    """The block with the widths that it states itself narrowed: of heads (`head_dim`), and `hidden`."""
    changes: dict[str, int] = {}
    if hasattr(block, "head_dim"):
        changes["head_dim"] = gcd(width, block.head_dim)
    if hasattr(block, "hidden"):
        changes["hidden"] = narrowed(block.hidden)
    if not changes:
        return block
    fitted: Block = block.model_copy(update=changes)  # type: ignore[attr-defined]
    return fitted


def task_names() -> list[str]:
    """The shipped tasks."""
    return sorted(path.stem for path in TASK_FOLDER.glob("*.yaml"))


def load_task(
    name_or_path: str | Path,
    *,
    data: str | None = None,
    batch_size: int | None = None,
    precision: Precision | None = None,
    allow_plugins: bool = False,
) -> "Task":
    """A shipped task by name, one from a YAML file, or (with `allow_plugins`) an installed plug-in's.

    `data`, `batch_size` and `precision` take the place of the task's own; the learning rate goes with the
    batch size. A plug-in's task keeps its own.

    Raises:
        UnknownTaskError: no task has this name; the nearest is given.
        ValueError: a plug-in that takes a shipped task's name, or gives no task.
        DocumentError: the file cannot be read as a task.
        DataError: the data is not there, or none is named.
    """
    plugins: dict[str, EntryPoint] = {}
    if allow_plugins:
        load_data_plugins()
        plugins = task_plugins()
        if str(name_or_path) in plugins:
            return _plugin_task(plugins[str(name_or_path)])
    document = _read_document(name_or_path, [*task_names(), *plugins])
    recipe = document.recipe if batch_size is None else document.recipe.with_batch_size(batch_size)
    if precision is not None:
        recipe = recipe.model_copy(update={"precision": precision})
    document = document.model_copy(update={"recipe": recipe})
    return ProxyTask(document=document, source=_source(document, data))


def task_plugins() -> dict[str, EntryPoint]:
    """Tasks of installed plug-ins (`nas.tasks`), none of them loaded yet.

    Raises:
        ValueError: one has the name of a shipped task.
    """
    found = {entry.name: entry for entry in entry_points(group="nas.tasks")}
    for name in sorted(found.keys() & set(task_names())):
        raise ValueError(f"plug-in task {name!r} ({found[name].value}): this name exists already; rename it")
    return found


def _plugin_task(entry: EntryPoint) -> "Task":
    """What the entry point's class or function gives when called without arguments."""
    task: Task = entry.load()()
    missing = [name for name in ("num_classes", "fingerprint", "train") if not hasattr(task, name)]
    if missing:
        raise ValueError(
            f"plug-in task {entry.name!r} ({entry.value}) is no task; it lacks {', '.join(missing)}"
        )
    return task


def _read_document(name_or_path: str | Path, names: Sequence[str]) -> TaskDocument:
    text, path = str(name_or_path), Path(name_or_path)
    if text in task_names():
        path = TASK_FOLDER / f"{text}.yaml"
    elif path.suffix not in {".yaml", ".yml"} and len(path.parts) == 1:
        raise UnknownTaskError(f"proxy {text!r} is unknown{suggest(text, names)}; known: {', '.join(names)}")
    return read_spec(path, TaskDocument)


def _source(document: TaskDocument, data: str | None) -> DataSource:
    if data is not None:
        source = find_source(data)
    elif document.data is not None:
        source = source_from_document(document.data)
    else:
        raise DataError(f"proxy {document.name!r} has no data of its own; name some with --data")
    if document.holdout is not None and isinstance(source, HoldsOut):
        return source.holding_out(document.holdout)
    return source
