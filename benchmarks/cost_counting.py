"""How fast costs are counted: one network in closed form against fvcore, and whole populations.

    python benchmarks/cost_counting.py [REPEATS]

All of it in one process on one thread, the two sides of a comparison in turn. Prints a Markdown table with
medians and spreads (lowest to highest).
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from proxies.cross_check import fvcore_macs
from search_spaces.architecture import cost
from search_spaces.document import load_architecture
from search_spaces.network import build
from search_spaces.space import Space
from search_spaces.space_document import load_space

POPULATION = 200_000
MEMBERS = 2_000
CLOSED_FORMS = 2_000


def seconds(action: Callable[[], object], times: int = 1) -> float:
    """Seconds of one call, averaged over `times` calls."""
    start = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - start) / times


def row(what: str, values: list[float], form: Callable[[float], str]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"| {what} | {form(middle)} | {form(low)} to {form(high)} |"


def closed_form_against_fvcore(repeats: int) -> list[str]:
    """EfficientNetV2-S at 128 px: fvcore traces and runs the network that it is given ready built."""
    arch, side = load_architecture("efficientnetv2-s"), 128
    network, image = build(arch).eval(), torch.zeros((1, 3, side, side))
    assert fvcore_macs(network, image) == cost(arch, side).macs
    fvcore, closed = [], []
    for _ in range(repeats):
        fvcore.append(seconds(lambda: fvcore_macs(network, image)))
        closed.append(seconds(lambda: cost(arch, side), CLOSED_FORMS))
    ratios = [slow / fast for slow, fast in zip(fvcore, closed, strict=True)]
    return [
        row("EfficientNetV2-S by fvcore", fvcore, lambda value: f"{1e3 * value:,.0f} ms"),
        row("EfficientNetV2-S in closed form", closed, lambda value: f"{1e6 * value:,.0f} us"),
        row("ratio (5,000 wanted)", ratios, lambda value: f"{value:,.0f}x"),
    ]


def populations(repeats: int) -> list[str]:
    """Members a second of `effnetv2`."""
    warm, rng = load_space("effnetv2"), np.random.default_rng(0)
    warm.costs(warm.sample(rng, POPULATION))  # fills the tables that later counts look up in
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        for what, rate in population_rates(warm, load_space("effnetv2"), rng).items():
            rates.setdefault(what, []).append(rate)
    return [
        row(f"effnetv2: {what}", values, lambda value: f"{value:,.0f} /s") for what, values in rates.items()
    ]


def population_rates(warm: Space, fresh: Space, rng: np.random.Generator) -> dict[str, float]:
    genes = warm.sample(rng, POPULATION)
    some = genes[:MEMBERS]
    archs = [warm.decode(one) for one in some]
    actions: dict[str, tuple[int, Callable[[], object]]] = {
        "sample": (POPULATION, lambda: warm.sample(rng, POPULATION)),
        "costs, from nothing": (POPULATION, lambda: fresh.costs(genes)),
        "costs (200,000 wanted)": (POPULATION, lambda: warm.costs(genes)),
        "features": (MEMBERS, lambda: warm.features(some)),
        "decode": (MEMBERS, lambda: [warm.decode(one) for one in some]),
        "encode": (MEMBERS, lambda: [warm.encode(arch) for arch in archs]),
    }
    return {what: size / seconds(action) for what, (size, action) in actions.items()}


def main(repeats: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print("| what | median | spread |\n|---|---|---|")
    print(*closed_form_against_fvcore(repeats), *populations(repeats), sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
