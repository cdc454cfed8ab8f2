"""What is left of an architecture when the branches of its convolutions are merged after training."""

from dataclasses import replace
from typing import Any, TypeVar

from search_spaces.architecture import Architecture
from search_spaces.blocks.weight import Reparam
from search_spaces.spec import Spec

S = TypeVar("S", bound=Spec)


def merged(arch: Architecture) -> Architecture:
    """The architecture for inference: every `reparam` weight is static. Its costs are those of inference.

    Law: `search_spaces.layers.merging.merge` of a network of `arch` fits a network of this one, key by key.
    """
    return replace(
        arch,
        stem=_without_branches(arch.stem),
        stages=tuple(replace(stage, block=_without_branches(stage.block)) for stage in arch.stages),  # type: ignore[type-var]
        head=_without_branches(arch.head),
    )


def _without_branches(spec: S) -> S:
    changes: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Reparam):
            changes[name] = "static"
        elif isinstance(value, Spec) and (inner := _without_branches(value)) is not value:
            changes[name] = inner
    return spec.model_copy(update=changes) if changes else spec
