"""Experts counted and experts measured: where multiply-adds and step times disagree, and proxies mislead.

    python benchmarks/experts.py                        small, on one thread of the CPU: four minutes
    python benchmarks/experts.py --hardware auto --resolution 224 --batch 64

Three tables. Of ParameterNet's networks with 4 experts beside their static bases: what multiply-adds,
parameters and measured training steps say, each as a ratio, and what EfficientNetV2's reward makes of it. Its
accuracies are the published ones after pre-training on ImageNet-22k (arXiv:2306.14525), not measured here. Of
members of the space `parameternet` beside themselves without experts: what mixing adds to the multiply-adds,
by image size. Last, how many of them a limit on multiply-adds keeps if these are counted at a proxy's 32
pixels, and if they are counted at 224, as a search counts them.
"""

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np

import nas
from search_spaces.architecture import Architecture, cost
from search_spaces.blocks.weight import Dynamic
from search_spaces.document import architecture_from_document

PAIRS = (("ghostnet-300m", "parameternet-300m-m4"), ("ghostnet-600m", "parameternet-600m-m4"))
PUBLISHED_22K = {
    "ghostnet-300m": 0.757,
    "parameternet-300m-m4": 0.791,
    "ghostnet-600m": 0.783,
    "parameternet-600m-m4": 0.816,
}
SPEED_EXPONENT, PARAMS_EXPONENT = -0.07, -0.05
SIDES = (224, 160, 128, 64, 32)
HEADROOM = 1.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """A network with experts over its static base."""

    accuracy: float
    params: float
    macs: float
    step: float

    def reward(self, speed: float) -> float:
        """accuracy * speed^-0.07 * params^-0.05; above 1: experts are worth it."""
        return self.accuracy * speed**SPEED_EXPONENT * self.params**PARAMS_EXPONENT


def static(arch: Architecture) -> Architecture:
    """The same network without experts."""

    def changed(value: object) -> object:
        if isinstance(value, dict):
            if value.get("op") == Dynamic.model_fields["op"].default:
                return "static"
            return {key: changed(inner) for key, inner in value.items()}
        return [changed(inner) for inner in value] if isinstance(value, list) else value

    document = changed(arch.to_document())
    assert isinstance(document, dict)  # a mapping stays one
    return replace(architecture_from_document(document), name=arch.name)


def compared(base: str, dynamic: str, step_ms: dict[str, float], resolution: int) -> Ratios:
    """The ratios of a pair, costs at `resolution`."""
    first, second = (cost(nas.load_architecture(name), resolution) for name in (base, dynamic))
    return Ratios(
        accuracy=PUBLISHED_22K[dynamic] / PUBLISHED_22K[base],
        params=second.params / first.params,
        macs=second.macs / first.macs,
        step=step_ms[dynamic] / step_ms[base],
    )


def overheads(count: int) -> dict[int, np.ndarray]:
    """Multiply-adds with experts over without, of `count` members of the space, by side."""
    found = nas.load_space("parameternet")
    members = [found.decode(genes) for genes in found.sample(np.random.default_rng(0), count)]
    twins = [static(arch) for arch in members]
    return {
        side: np.array(
            [cost(arch, side).macs / cost(twin, side).macs for arch, twin in zip(members, twins, strict=True)]
        )
        for side in SIDES
    }


def measured(resolution: int | None, batch: int | None, hardware: str) -> dict[str, float] | None:
    """Step times in milliseconds, or None where one was not to be had, with the reason on stderr."""
    names = [name for pair in PAIRS for name in pair]
    step_ms: dict[str, float] = {}
    outcomes = nas.measure(names, hardware=hardware, resolution=resolution, batch=batch)
    for name, outcome in zip(names, outcomes, strict=True):
        if "step_ms" not in outcome.metrics:
            print(f"{name}: {outcome.status}: {outcome.reason}", file=sys.stderr)
            return None
        step_ms[name] = outcome.metrics["step_ms"]
    return step_ms


def main() -> int:
    """Measure, count, print; 1 where a network could not be timed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hardware", default="cpu")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--members", type=int, default=200)
    asked = parser.parse_args()

    step_ms = measured(asked.resolution, asked.batch, asked.hardware)
    if step_ms is None:
        return 1
    print("| 4 experts / none | params | MACs at 224 px | step time | reward by MACs | reward by step time |")
    print("|---|---|---|---|---|---|")
    for base, dynamic in PAIRS:
        found = compared(base, dynamic, step_ms, 224)
        rewards = found.reward(found.macs), found.reward(found.step)
        sign = "disagree" if (rewards[0] > 1) != (rewards[1] > 1) else "agree"
        numbers = (found.params, found.macs, found.step, *rewards)
        print(f"| {dynamic} / {base} | {' | '.join(f'{value:.3f}' for value in numbers)} ({sign}) |")

    shares = overheads(asked.members)
    print(
        f"\n| side, px | MACs with experts / without: median of {asked.members} members | 90th percentile |"
    )
    print("|---|---|---|")
    for side, ratios in shares.items():
        print(f"| {side} | {np.median(ratios):.3f} | {np.percentile(ratios, 90):.3f} |")

    print(f"\nof these, within {HEADROOM:.2f} times the multiply-adds of the same network without experts:")
    for side, how in ((32, "counted at the proxy's 32 px"), (224, "counted at 224 px, as a search does")):
        print(f"  {np.mean(shares[side] <= HEADROOM):.0%} {how}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
