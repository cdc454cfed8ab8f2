"""What a named quantity is called where people read it, and its unit: axes, columns, tiles."""

from dataclasses import dataclass
from typing import Literal

Form = Literal["fraction", "count", "bytes", "number"]
"""How its numbers are written: `fraction` 0..1, `count` an integer, `bytes` with a unit, else plain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A quantity: its name in tables, its label for people, its unit ("" for none), its form."""

    name: str
    label: str
    unit: str = ""
    form: Form = "number"

    @property
    def title(self) -> str:
        """Label and unit, as an axis is named: `step time (ms)`."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


_KNOWN = (
    Quantity(name="accuracy", label="accuracy", unit="fraction of the validation set", form="fraction"),
    Quantity(name="step_ms", label="training step time", unit="ms"),
    Quantity(name="estimated_step_ms", label="estimated training step time", unit="ms"),
    Quantity(name="predicted_step_ms", label="predicted training step time", unit="ms"),
    Quantity(name="step_ratio", label="step time relative to the reference network"),
    Quantity(name="params", label="parameters", form="count"),
    Quantity(name="active_params", label="active parameters", form="count"),
    Quantity(name="macs", label="multiply-adds", unit="MACs an image", form="count"),
    Quantity(name="activation_bytes", label="activations kept", unit="bytes an image", form="bytes"),
    Quantity(name="peak_memory_bytes", label="peak memory of a step", unit="bytes", form="bytes"),
    Quantity(name="images_per_second", label="training throughput", unit="images a second"),
    Quantity(name="inference_ms", label="inference time", unit="ms"),
    Quantity(name="inference_ratio", label="inference time relative to the reference network"),
    Quantity(
        name="inference_peak_memory_bytes", label="peak memory of inference", unit="bytes", form="bytes"
    ),
    Quantity(name="onnx_ms", label="inference time in ONNX Runtime", unit="ms"),
    Quantity(name="onnx_ratio", label="ONNX Runtime time relative to the reference network"),
    Quantity(name="train_loss_sum", label="sum of training losses"),
    Quantity(name="loss", label="loss"),
    Quantity(name="seconds", label="evaluation time", unit="s"),
)
QUANTITIES = {known.name: known for known in _KNOWN}

_UNITS: dict[str, tuple[str, Form]] = {
    "_ms": ("ms", "number"),
    "_bytes": ("bytes", "bytes"),
    "_seconds": ("s", "number"),
    "_per_second": ("1/s", "number"),
    "_accuracy": ("fraction", "fraction"),
}
"""The endings of names that say a unit."""


def quantity(name: str) -> Quantity:
    """The quantity of that name; of an unknown one (a task's own metric) what its name tells."""
    if name in QUANTITIES:
        return QUANTITIES[name]
    for ending in sorted(_UNITS, key=len, reverse=True):
        if name.endswith(ending) and name != ending:
            unit, form = _UNITS[ending]
            stem = name if ending == "_accuracy" else name.removesuffix(ending)
            return Quantity(name=name, label=stem.replace("_", " "), unit=unit, form=form)
    return Quantity(name=name, label=name.replace("_", " "))
