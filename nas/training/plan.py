"""From what a user asks for to everything a full training needs; nothing starts here. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.errors import ConfigError
from nas.training.board import require_tensorboard
from nas.training.weights import Initial
from proxies.data.protocol import DataSource, Streams
from proxies.data.registry import find_source, source_document, source_from_document
from proxies.hardware import ResolvedHardware, resolve_hardware
from proxies.progressive import progressive_preset
from proxies.recipe import TrainingRecipe
from proxies.recipe_document import RecipeDocument, load_recipe
from proxies.records import Precision
from search_spaces.architecture import DEFAULT_RESOLUTION, Architecture
from search_spaces.document import architecture_from_document, load_architecture

TRAINING_SCHEMA = "nas.training/1"
NO_SCHEDULE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingChanges:
    """What a user sets in place of the recipe's own; None: the recipe's.

    Another `batch_size` brings its learning rate with it, in proportion, unless one is given. Another
    number of `epochs` brings its warm-up and decay, which keep their share of the training.
    `progressive` is a preset, or `none`.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    accumulate: int | None = None
    precision: Precision | None = None
    progressive: str | None = None
    resolution: int | None = None
    compile: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """One full training, resolved: network, data, recipe, image sizes in pixels, device."""

    arch: Architecture
    source: DataSource
    recipe: RecipeDocument
    hardware: ResolvedHardware
    seed: int
    threads: int | None
    data_fingerprint: str
    initial: Initial | None = None
    workers: int = 1
    """Processes that make each step together, each with a part of the batch and a device of its own."""
    loaders: int = 0
    """Processes of each worker that decode images beside the training; 0: all images are in memory."""
    has_board: bool = False
    """Whether the logs are also written for TensorBoard."""
    is_norm_shared: bool = False
    """Whether batch norm sees what all workers have, and not each worker's part alone."""

    @property
    def train_resolution(self) -> int:
        """Pixels of training images where no progressive schedule says otherwise."""
        own = self.arch.recipe
        return self.recipe.train_resolution or own.train_resolution or self.eval_resolution

    @property
    def eval_resolution(self) -> int:
        """Pixels at which the network is judged."""
        return self.recipe.eval_resolution or self.arch.recipe.eval_resolution or DEFAULT_RESOLUTION

    @property
    def load_resolution(self) -> int:
        """Pixels at which images are read: the most that is asked of them."""
        schedule = self.recipe.recipe.progressive
        largest = self.train_resolution if schedule is None else max(schedule.size.start, schedule.size.end)
        return max(largest, self.eval_resolution)

    @property
    def dropout(self) -> float:
        """Before the classifier, where no schedule says otherwise."""
        own = self.arch.recipe.dropout
        return self.recipe.dropout if self.recipe.dropout is not None else own or 0.0

    @property
    def drop_path(self) -> float:
        """Stochastic depth of the last block."""
        own = self.arch.recipe.drop_path
        return self.recipe.drop_path if self.recipe.drop_path is not None else own or 0.0

    def document(self) -> dict[str, Any]:
        """What `train.yaml` holds; `plan_from_document` makes the same plan of it."""
        return {
            "schema": TRAINING_SCHEMA,
            "architecture": {**self.arch.to_document(), "digest": self.arch.digest},
            "recipe": self.recipe.model_dump(mode="json", by_alias=True),
            "data": {**source_document(self.source), "fingerprint": self.data_fingerprint},
            "resolution": {"train": self.train_resolution, "eval": self.eval_resolution},
            "seed": self.seed,
            "threads": self.threads,
            "workers": self.workers,
            "loaders": self.loaders,
            "tensorboard": self.has_board,
            "sync_batch_norm": self.is_norm_shared,
            "hardware": self.hardware.describe(),
            "initial": None if self.initial is None else asdict(self.initial),
        }


def make_training_plan(
    arch: Architecture | str | Path,
    *,
    data: DataSource | str,
    recipe: RecipeDocument | str | Path = "adamw",
    changes: TrainingChanges | None = None,
    hardware: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    init: str | Path | None = None,
    workers: int = 1,
    loaders: int = 0,
    sync_batch_norm: bool = False,
    tensorboard: bool = False,
) -> TrainingPlan:
    """Resolve and check a training. Precision and layout are the hardware profile's unless a recipe says.

    `threads`: of a CPU, for each of the `workers`.

    Raises:
        ConfigError: changes that the recipe cannot take.
        DocumentError, DataError, HardwareNotFoundError, ValueError: what was named is not there.
    """
    resolved = resolve_hardware(hardware)
    found = recipe if isinstance(recipe, RecipeDocument) else load_recipe(recipe)
    source = find_source(data) if isinstance(data, str) else data
    changed = _changed(found, changes or TrainingChanges(), resolved)
    if tensorboard:
        require_tensorboard()
    if loaders and not isinstance(source, Streams):
        raise ConfigError(f"{type(source).__name__} has no files that could be loaded; use --loaders 0")
    _check_workers(workers, changed.recipe, resolved, is_norm_shared=sync_batch_norm)
    return TrainingPlan(
        arch=arch if isinstance(arch, Architecture) else load_architecture(arch),
        source=source,
        recipe=changed,
        hardware=resolved,
        seed=seed,
        threads=threads,
        data_fingerprint=source.fingerprint(),
        initial=None if init is None else Initial.of(Path(init)),
        workers=workers,
        loaders=loaders,
        has_board=tensorboard,
        is_norm_shared=sync_batch_norm,
    )


def plan_from_document(document: Mapping[str, Any], place: str) -> TrainingPlan:
    """The plan that `train.yaml` holds, on the hardware of the same kind that is here now.

    Raises:
        ConfigError: not such a document, or the data has changed since.
        HardwareNotFoundError: this machine has no such hardware.
    """
    try:
        arch = {key: value for key, value in document["architecture"].items() if key != "digest"}
        data = {key: value for key, value in document["data"].items() if key != "fingerprint"}
        source = source_from_document(data)
        plan = TrainingPlan(
            arch=architecture_from_document(arch),
            source=source,
            recipe=RecipeDocument.model_validate(_tuples(document["recipe"])),
            hardware=resolve_hardware(document["hardware"]["profile"]),
            seed=document["seed"],
            threads=document["threads"],
            data_fingerprint=source.fingerprint(),
            initial=Initial(**initial) if (initial := document.get("initial")) else None,
            workers=document.get("workers", 1),
            loaders=document.get("loaders", 0),
            has_board=document.get("tensorboard", False),
            is_norm_shared=document.get("sync_batch_norm", False),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{place}: {error} is missing or malformed; start a new training") from error
    if plan.data_fingerprint != document["data"].get("fingerprint"):
        raise ConfigError(f"{place}: the data has changed since this training began; start a new one")
    if plan.arch.digest != document["architecture"].get("digest"):
        raise ConfigError(f"{place}: the architecture was edited since this training began; start a new one")
    return plan


def _changed(
    document: RecipeDocument, changes: TrainingChanges, hardware: ResolvedHardware
) -> RecipeDocument:
    recipe, defaults = document.recipe, hardware.profile.defaults
    fields: dict[str, Any] = recipe.model_dump(by_alias=True)
    if changes.epochs is not None:
        fields |= _length(recipe, changes.epochs)
    if changes.batch_size is not None:
        scaled = recipe.with_batch_size(changes.batch_size)
        fields |= {"batch_size": scaled.batch_size, "learning_rate": scaled.learning_rate}
    given = {"learning_rate": changes.learning_rate, "accumulate": changes.accumulate}
    fields |= {key: value for key, value in given.items() if value is not None}
    for name, own in (("precision", defaults.precision), ("memory_format", defaults.memory_format)):
        if name not in recipe.model_fields_set:
            fields[name] = own
    if changes.precision is not None:
        fields["precision"] = changes.precision
    if changes.progressive is not None:
        is_none = changes.progressive == NO_SCHEDULE
        fields["progressive"] = None if is_none else progressive_preset(changes.progressive)
    settings: dict[str, Any] = {}
    if changes.resolution is not None:
        settings |= {"train_resolution": changes.resolution, "eval_resolution": changes.resolution}
    if changes.compile is not None:
        settings["compile"] = changes.compile
    _check_precision(fields["precision"], hardware)
    return document.model_copy(update={**settings, "recipe": _validated(fields, document.name)})


def _length(recipe: TrainingRecipe, epochs: int) -> dict[str, Any]:
    part = epochs / recipe.epochs if recipe.epochs is not None else 1.0
    warmup = None if recipe.warmup_epochs is None else recipe.warmup_epochs * part
    return {
        "epochs": epochs,
        "steps": None,
        "warmup_epochs": warmup,
        "decay_epochs": recipe.decay_epochs * part,
    }


def _validated(fields: Mapping[str, Any], name: str) -> TrainingRecipe:
    try:
        return TrainingRecipe.model_validate(fields)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(map(str, detail["loc"])) or name
        raise ConfigError(f"recipe {name}: {place}: {detail['msg'].removeprefix('Value error, ')}") from error


def _check_workers(
    workers: int, recipe: TrainingRecipe, hardware: ResolvedHardware, *, is_norm_shared: bool
) -> None:
    if workers < 1:
        raise ConfigError(f"{workers} workers cannot train; use 1 or more")
    if recipe.batch_size % (workers * recipe.accumulate):
        raise ConfigError(
            f"a batch of {recipe.batch_size} has no {workers * recipe.accumulate} equal parts for "
            f"{workers} workers (accumulate {recipe.accumulate}); change --batch, --accumulate or --workers"
        )
    kind = hardware.profile.kind
    if workers > 1 and kind not in {"cpu", "cuda"}:
        raise ConfigError(f"several workers train on CPUs and CUDA GPUs, not on {kind}; use --workers 1")
    if is_norm_shared and (workers == 1 or kind != "cuda"):
        raise ConfigError(
            "batch norm across workers takes several workers with CUDA GPUs (PyTorch has none for CPUs); "
            "leave out --sync-batch-norm"
        )


def _check_precision(precision: str, hardware: ResolvedHardware) -> None:
    if hardware.profile.kind == "cpu" and precision in {"tf32", "fp16"}:
        raise ConfigError(f"precision {precision} is not for a CPU; use fp32 or bf16")


def _tuples(data: Any) -> Any:
    """Lists as tuples, which strict validation takes for tuples."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(map(_tuples, data)) if isinstance(data, list) else data
