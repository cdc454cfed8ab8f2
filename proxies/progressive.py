"""Progressive learning: image size and regularisation that rise together, stage by stage. No torch."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from search_spaces.document import read_yaml
from search_spaces.messages import suggest
from search_spaces.spec import Probability, Resolution, Spec

PRESETS = Path(__file__).with_name("progressive.yaml")
Magnitude = Annotated[float, Field(ge=0.0, le=30.0)]
Alpha = Annotated[float, Field(ge=0.0, le=10.0)]


class SizeRise(Spec):
    """Image sides in pixels. With `first: above` the first stage is already one step above `from`."""

    start: Resolution = Field(alias="from")
    end: Resolution = Field(alias="to")
    first: Literal["start", "above"] = "start"

    def at(self, stage: int, stages: int) -> float:
        """from + (to - from) * i / (M - 1); with `above`, * (i + 1) / M. Before it is cut to whole pixels."""
        if self.first == "above":
            return self.start + (self.end - self.start) * (stage + 1) / stages
        return self.start + (self.end - self.start) * _part(stage, stages)


class MagnitudeRise(Spec):
    """RandAugment magnitude: 10 is each operation's full range."""

    start: Magnitude = Field(alias="from")
    end: Magnitude = Field(alias="to")


class AlphaRise(Spec):
    """Parameter of the Beta distribution that mixing weights are drawn from; 0: no mixing."""

    start: Alpha = Field(alias="from")
    end: Alpha = Field(alias="to")


class DropoutRise(Spec):
    """Dropout before the classifier."""

    start: Probability = Field(alias="from")
    end: Probability = Field(alias="to")


class StageSettings(NamedTuple):
    """What holds in one stage; None: what the recipe and the network say."""

    resolution: int
    randaugment: float | None
    mixup: float | None
    cutmix: float | None
    dropout: float | None


class Progressive(Spec):
    """Algorithm 1 of EfficientNetV2 (Tan & Le 2021, arXiv:2104.00298): weights carried over, M equal stages.

    Regularisers rise as phi_0 + (phi_e - phi_0) * i / (M - 1). With `regularisation: fixed` they have
    their last value in all stages, and the image size alone rises.
    """

    stages: Annotated[int, Field(ge=1, le=1000)] = 4
    size: SizeRise
    randaugment: MagnitudeRise | None = None
    mixup: AlphaRise | None = None
    cutmix: AlphaRise | None = None
    dropout: DropoutRise | None = None
    regularisation: Literal["adaptive", "fixed"] = "adaptive"

    def settings(self, stage: int) -> StageSettings:
        """What holds in `stage`, counted from 0."""
        return StageSettings(
            resolution=int(self.size.at(stage, self.stages)),
            randaugment=self._at(self.randaugment, stage),
            mixup=self._at(self.mixup, stage),
            cutmix=self._at(self.cutmix, stage),
            dropout=self._at(self.dropout, stage),
        )

    def starts(self, length: int) -> list[int]:
        """Where each stage begins in a training of `length` epochs (or steps): int(length * i / M).

        Raises:
            ValueError: more stages than epochs (or steps).
        """
        if length < self.stages:
            raise ValueError(
                f"{self.stages} progressive stages do not fit in a training of {length}; lower stages"
            )
        return [length * stage // self.stages for stage in range(self.stages)]

    def stage_at(self, position: int, length: int) -> int:
        """The stage of epoch (or step) `position`, counted from 0, of `length`."""
        return sum(start <= position for start in self.starts(length)) - 1

    def _at(self, rise: MagnitudeRise | AlphaRise | DropoutRise | None, stage: int) -> float | None:
        if rise is None:
            return None
        part = 1.0 if self.regularisation == "fixed" else _part(stage, self.stages)
        return rise.start + (rise.end - rise.start) * part


def _part(stage: int, stages: int) -> float:
    return stage / (stages - 1) if stages > 1 else 1.0


def preset_names() -> list[str]:
    """`paper/s`, ..., `released-code/b3`."""
    return [f"{source}/{size}" for source, sizes in _presets().items() for size in sizes]


def progressive_preset(name: str) -> Progressive:
    """A published schedule, `released-code/m`.

    Raises:
        ValueError: no such preset; the nearest is given.
    """
    known = preset_names()
    if name not in known:
        raise ValueError(
            f"progressive schedule {name!r} is unknown{suggest(name, known)}; known: {', '.join(known)}"
        )
    source, _, size = name.partition("/")
    return Progressive.model_validate(_presets()[source][size])


def read_progressive(value: Any) -> Any:
    """A schedule as a recipe has it: the name of a preset, or its fields."""
    return progressive_preset(value) if isinstance(value, str) else value


@lru_cache(maxsize=1)
def _presets() -> Mapping[str, Mapping[str, Any]]:
    document: Mapping[str, Mapping[str, Any]] = read_yaml(PRESETS)
    return document
