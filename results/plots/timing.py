"""A plot of one timing: the pairs it rests on, its median with the interval, and how the reference fared."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from proxies.records import Outcome
from results.plots.chart import Chart
from results.plots.marks import Axis, Line, Panel, Points

WORK = {"training": "training step", "inference": "forward pass", "onnx-inference": "ONNX Runtime pass"}


def timing(outcome: Outcome, name: str = "") -> Chart:
    """What a timing is made of: the ratio of each pair, and the reference's own time, block by block.

    `name` is the network's; default: the start of its digest.

    Raises:
        ValueError: the outcome is no timing, or measured nothing.
    """
    method = outcome.details.get("method") or {}
    blocks = method.get("blocks")
    if outcome.kind != "time" or not blocks:
        raise ValueError(
            f"{name or outcome.digest[:8]}: {outcome.status}: no pairs of steps were recorded, "
            "so there is nothing to draw; measure it anew"
        )
    best = _best(method)
    settings = outcome.details["settings"]
    return Chart(
        title=f"{WORK[settings['work']]} of {name or outcome.digest[:8]}: "
        f"{best['ratio']:.3f} [{best['ratio_low']:.3f}, {best['ratio_high']:.3f}] times the reference, "
        f"{outcome.status}",
        panels=(_ratios(blocks, best), _drift(blocks, method)),
        note=f"{outcome.details['hardware']['device']}, {settings['resolution']} px, "
        f"batch {settings['batch_size']}, {settings['precision']}, {settings['memory_format']}; "
        f"a block is the mean of {method['block_steps']['candidate']} steps of the network, "
        f"{method['block_steps']['reference']} of the reference",
    )


def _best(method: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attempt that is the result; see `proxies.timing.StepTiming.best`."""
    return min(method["attempts"], key=lambda each: (len(each["reasons"]) > 0, each["half_width"]))


def _ratios(blocks: Mapping[str, list[float]], best: Mapping[str, Any]) -> Panel:
    ratios = [mine / its for mine, its in zip(blocks["candidate_ms"], blocks["reference_ms"], strict=True)]
    ends = [1.0, float(len(ratios))]
    return Panel(
        title="each pair: the network's block over the reference's",
        x=Axis(title="pair"),
        y=Axis(title="ratio to the reference network"),
        marks=(
            Points(label="pair", x=_places(ratios), y=ratios),
            Line(label="median", x=ends, y=[best["ratio"]] * 2, slot=4),
            Line(label="95 % interval", x=ends, y=[best["ratio_low"]] * 2, slot=1),
            Line(label="95 % interval", x=ends, y=[best["ratio_high"]] * 2, slot=1, in_legend=False),
        ),
    )


def _drift(blocks: Mapping[str, list[float]], method: Mapping[str, Any]) -> Panel:
    """Both networks' blocks on one scale, so that what moves both is seen to move both."""
    mine, its = blocks["candidate_ms"], blocks["reference_ms"]
    usual, middle = method["reference_ms"], median(mine)
    of = "its baseline" if method["reference_ms_from"] == "the baseline" else "its median"
    return Panel(
        title="what the ratio takes out: slow and fast moments of the machine",
        x=Axis(title="pair"),
        y=Axis(title="time of a block, relative"),
        marks=(
            Points(label="network, to its median", x=_places(mine), y=[ms / middle for ms in mine]),
            Points(label=f"reference, to {of}", x=_places(its), y=[ms / usual for ms in its], slot=1),
            Line(label="no drift", x=[1.0, float(len(its))], y=[1.0, 1.0], slot=4, is_faint=True),
        ),
    )


def _places(values: list[float]) -> list[float]:
    return [float(place) for place in range(1, len(values) + 1)]
