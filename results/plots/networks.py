"""Plots of networks: the stages of one, the choices of many, and which choices matter."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from results.importance import importances
from results.plots.chart import Chart
from results.plots.marks import Axis, Bars, Boxes, Mark, Panel, Strands
from results.quantities import quantity
from results.report.networks import PART_FIELDS, parts
from results.run import Run
from search_spaces.architecture import Architecture
from search_spaces.space import Space

SHARES = {"params": "parameters", "macs": "multiply-adds", "activation_bytes": "activations kept"}
MAX_AXES = 16
MAX_CHOICES = 20


def stages(arch: Architecture, resolution: int | None = None) -> Chart:
    """A network from stem to head: each stage's op, width, depth and resolution, and its share of the costs.

    Costs are exact and stated at `resolution` pixels, by default the architecture's evaluation resolution.
    """
    side = resolution or arch.eval_resolution
    found: list[dict[str, Any]] = [dict(zip(PART_FIELDS, part, strict=True)) for part in parts(arch, side)]
    ops = list(dict.fromkeys(str(part["op"]) for part in found))
    lefts, left = [], 0
    for part in found:
        lefts.append(left)
        left += int(part["depth"])
    marks: list[Mark] = []
    for slot, op in enumerate(ops):
        chosen = [(part, start) for part, start in zip(found, lefts, strict=True) if part["op"] == op]
        marks.append(
            Boxes(
                label=op,
                left=[start for _, start in chosen],
                widths=[int(part["depth"]) for part, _ in chosen],
                heights=[int(part["width"]) for part, _ in chosen],
                texts=[f"{part['width']} ch\n{part['side']} px" for part, _ in chosen],
                slot=slot,
            )
        )
    names = [_part_name(part["op"], index, part["depth"]) for index, part in enumerate(found)]
    shares = [
        Bars(label=label, categories=names, values=_shares([int(part[key]) for part in found]), slot=slot)
        for slot, (key, label) in enumerate(SHARES.items())
    ]
    top = max(int(part["width"]) for part in found)
    return Chart(
        title=arch.name or f"network {arch.digest[:12]}",
        panels=(
            Panel(
                title="stages",
                x=Axis(title="blocks from input to output"),
                y=Axis(title="width (channels)", ends=(0.0, 1.2 * top)),
                marks=tuple(marks),
            ),
            Panel(
                title="share of the costs",
                x=Axis(title="share of the whole network (%)"),
                y=Axis(title=""),
                marks=tuple(shares),
            ),
        ),
        note=f"side of the output of each stage in pixels; costs at {side} px and 1000 classes",
    )


def parallel(
    run: Run, colour: str = "accuracy", *, space: Space | None = None, front_only: bool = False
) -> Chart:
    """The choices of networks as strands, coloured by a quantity; of more than 16 places the 16 that vary
    most evenly.

    Raises:
        ValueError: no measured network has the quantity.
    """
    results = run.pareto() if front_only else run.candidates()
    ids = {each.id for each in results if each.is_measured and each.value(colour) is not None}
    measured = [each for each in run.candidates() if each.is_measured]
    kept = [position for position, each in enumerate(measured) if each.id in ids]
    if not kept:
        raise ValueError(f"{run.name}: no measured network has {colour}")
    found = run.choices(space)
    codes = {name: found.codes(name) for name in found.columns}
    # What is the same in nearly all networks says little: the places whose commonest option is rarest.
    common = {name: max(Counter(codes[name][i] for i in kept).values()) for name in codes}
    names = [name for name in codes if name in sorted(common, key=lambda name: common[name])[:MAX_AXES]]
    return Chart(
        title=f"Choices of {len(kept)} networks of {run.name}",
        panels=(
            Panel(
                x=Axis(title=""),
                y=Axis(title=""),
                marks=(
                    Strands(
                        axes=names,
                        options=[found.options[name] for name in names],
                        rows=[[codes[name][i] for name in names] for i in kept],
                        colours=[float(measured[i].value(colour) or 0.0) for i in kept],
                        colour_title=quantity(colour).title,
                    ),
                ),
            ),
        ),
    )


def importance(
    run: Run,
    quantities: Sequence[str] = ("accuracy", "step_ms"),
    *,
    space: Space | None = None,
    seed: int = 0,
) -> Chart:
    """Which choices explain each quantity: the 20 first of each. See `results.importance`.

    Raises:
        ValueError: fewer than 20 networks have a quantity.
    """
    measured = [each for each in run.candidates() if each.is_measured]
    found = importances(measured, quantities, space or run.searched_space(), seed=seed)
    panels = []
    for slot, name in enumerate(quantities):
        chosen = [each for each in found if each.quantity == name][:MAX_CHOICES]
        explained = max(chosen[0].explained, 0.0) if chosen else 0.0
        panels.append(
            Panel(
                title=f"{quantity(name).label}: {100 * explained:.0f} % of the variance explained",
                x=Axis(title="share of the variance lost when the choice is shuffled (%)"),
                y=Axis(title=""),
                marks=(
                    Bars(
                        label=quantity(name).label,
                        categories=[each.choice for each in chosen],
                        values=[100 * each.share for each in chosen],
                        deviations=[100 * each.deviation for each in chosen],
                        slot=slot,
                    ),
                ),
            )
        )
    return Chart(
        title=f"Which choices matter in {run.name}",
        panels=tuple(panels),
        note="permutation importance on held-out networks; bars: standard deviation over five folds",
    )


def _part_name(op: object, index: int, depth: object) -> str:
    return str(op) if op in ("stem", "head") else f"{index}: {op} x{depth}"


def _shares(values: Sequence[int]) -> list[float]:
    total = sum(values)
    return [100.0 * value / total if total else 0.0 for value in values]
