"""Growing a found network to budgets on this machine: times measured, short trainings, a family as YAML."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.budget_scaling import Growth, directions, grow_to_budget, parse_budget
from nas.estimating import estimate as estimates
from nas.grown import Grown, Judge, Timer
from nas.measuring import measure
from proxies.data.protocol import DataSource
from proxies.estimates import profile_to_estimate
from proxies.hardware import resolve_hardware, timing_settings
from results.filesystem import write_atomically
from results.text import dump_yaml
from search_spaces.architecture import Architecture
from search_spaces.document import load_architecture
from search_spaces.text import dump

FAMILY_SCHEMA = "nas.family/1"
PROXY = "quick"
ESTIMATED = "estimated_step_ms"
"""What a step time is called that nobody measured."""


def grow(
    arch: Architecture | str | Path,
    to: Sequence[str],
    *,
    hardware: str = "auto",
    measured: int = 5,
    data: DataSource | str | None = None,
    proxy: str = PROXY,
    seed: int = 0,
    estimate: bool = False,
) -> list[Growth]:
    """A network grown to each of the budgets `to`, such as `step_ms<=2x,params<=50e6`.

    With `data` every candidate that keeps a budget is trained on the proxy task, at full width and depth,
    and the most accurate is chosen. With `estimate` step times are those that the roofline of `hardware`'s
    profile foretells, of all directions; trainings are then made on what is here.

    Raises:
        ConfigError: `estimate`, and the profile states no rates to estimate from.
        ScalingError: a budget that is none, or that nothing keeps.
        DocumentError, DataError, HardwareNotFoundError: what was named is not there.
    """
    base = arch if isinstance(arch, Architecture) else load_architecture(arch)
    budgets = [parse_budget(text) for text in to]
    is_timed = any(limit.quantity == "step_ms" for budget in budgets for limit in budget)
    time: Timer | None = None
    if is_timed and estimate:
        time, measured = step_estimator(base, hardware), len(directions(base))
    elif is_timed and measured > 0:
        time = step_timer(base, hardware)
    place = "auto" if estimate else hardware
    judge = proxy_judge(proxy, data, place, seed, base=base) if data is not None else None
    found = [grow_to_budget(base, budget, measured=measured, time=time, judge=judge) for budget in budgets]
    return [replace(each, is_estimated=is_timed and estimate) for each in found]


def step_timer(base: Architecture, hardware: str) -> Timer:
    """Measures step times of networks, each beside the reference network.

    Image sizes grow as the networks' training sizes do, from where the profile times the base: a profile
    that caps its image size would else not see that images have grown.
    """
    profile = resolve_hardware(hardware).profile
    at_base = timing_settings(profile, base).resolution
    trained_at = _training_side(base)

    def time(archs: Sequence[Architecture]) -> list[float | None]:
        found: list[float | None] = [None] * len(archs)
        for side, places in _together(archs, trained_at, at_base):
            outcomes = measure([archs[place] for place in places], hardware=hardware, resolution=side)
            for place, outcome in zip(places, outcomes, strict=True):
                found[place] = outcome.metrics.get("step_ms")
        return found

    return time


def _together(archs: Sequence[Architecture], trained_at: int, at_base: int) -> list[tuple[int, list[int]]]:
    """Image sizes with the places of networks that one process times at them, each network at most once.

    A process takes seconds to start; the same network in one call would be timed once for both.
    """
    rounds: dict[tuple[int, int], list[int]] = {}
    times_seen: Counter[tuple[int, str]] = Counter()
    for place, arch in enumerate(archs):
        side = round(_training_side(arch) / trained_at * at_base)
        number = times_seen[side, arch.digest]
        times_seen[side, arch.digest] += 1
        rounds.setdefault((number, side), []).append(place)
    return [(side, places) for (_, side), places in rounds.items()]


def step_estimator(base: Architecture, hardware: str) -> Timer:
    """Estimates step times for hardware that is not here, at image sizes as `step_timer` has them.

    Raises:
        UnknownHardwareError, ConfigError: no such profile, or none that can be estimated from.
    """
    profile, _ = profile_to_estimate(hardware)
    at_base = timing_settings(profile, base).resolution

    def time(archs: Sequence[Architecture]) -> list[float | None]:
        sides = [round(_training_side(arch) / _training_side(base) * at_base) for arch in archs]
        return [
            estimates([arch], hardware=hardware, resolution=side)[0].estimated_step_ms
            for arch, side in zip(archs, sides, strict=True)
        ]

    return time


def proxy_judge(
    proxy: str, data: DataSource | str | None, hardware: str, seed: int, *, base: Architecture
) -> Judge:
    """Accuracy on the validation images after the proxy task's training of the network itself.

    The task's image size is `base`'s; a network whose images have grown is trained on ones that have, too.
    """
    from proxies.task import ProxyTask, load_task

    task = load_task(proxy, data=data if isinstance(data, str) else None)
    if data is not None and not isinstance(data, str) and isinstance(task, ProxyTask):
        task = ProxyTask(document=task.document, source=data)
    device = resolve_hardware(hardware).device

    def judge(arch: Architecture) -> float:
        import torch

        from proxies.training import seeded_build

        fitted = task
        if isinstance(task, ProxyTask):
            side = round(task.document.resolution * _training_side(arch) / _training_side(base))
            fitted = replace(task, document=task.document.model_copy(update={"resolution": side}))
        network = seeded_build(arch, fitted.num_classes, seed=seed)
        place = torch.device("cpu") if device.kind == "cpu" else torch.device(device.kind, device.index)
        metrics = fitted.train(network, lambda step, values: "continue", seed=seed, device=place)
        return float(metrics["accuracy"])

    return judge


def _training_side(arch: Architecture) -> int:
    """Pixels that a network is trained at, by its own account."""
    return arch.recipe.train_resolution or arch.eval_resolution


def family_document(growths: Sequence[Growth], files: Sequence[str]) -> dict[str, Any]:
    """A family as plain data: the base, and for each budget the chosen network beside the others."""
    is_estimated = any(growth.is_estimated for growth in growths)
    name = ESTIMATED if is_estimated else "step_ms"
    return {
        "schema": FAMILY_SCHEMA,
        "base": _member(growths[0].base, name),
        "members": [
            {
                "file": file,
                "limits": {name if key == "step_ms" else key: value for key, value in growth.limits.items()},
                **_member(growth.best, name),
                "others": [_member(each, name) for each in growth.members[1:]],
            }
            for growth, file in zip(growths, files, strict=True)
        ],
    }


def write_family(growths: Sequence[Growth], folder: Path) -> Path:
    """Write each chosen network, and `family.yaml` with the measurements of all, into a folder.

    Raises:
        RunWriteError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, growth in enumerate(growths, start=1):
        arch = growth.best.arch
        files.append(f"{(arch.name or 'network')[:80]}-{number}.yaml")
        write_atomically(folder / files[-1], dump(arch.to_document()))
    path = folder / "family.yaml"
    write_atomically(path, dump_yaml(family_document(growths, files), str(path)))
    return path


def _member(grown: Grown, time_name: str) -> dict[str, Any]:
    return {
        "direction": grown.direction,
        "phi": grown.phi,
        "digest": grown.arch.digest,
        "resolution": grown.arch.eval_resolution,
        **{name: int(value) for name, value in grown.costs.items()},
        time_name: grown.step_ms,
        "accuracy": grown.accuracy,
    }
