"""The last part of a budget, which no direction of growth fills by itself. No torch.

A direction goes on in steps: a block more in several stages at once, eight channels more. On a small network
one such step is a tenth of a training step, so what is left is filled by changes to one or two stages, or to
the image size, and their times are foretold from those that were measured before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.document import architecture_from_document
from search_spaces.nodes import DocumentError

WIDTH_STEP = 8
IMAGE_STEPS = 16
"""Image sizes that are tried on either side of a network's."""
LARGEST_IMAGE_CHANGE = 0.25


def neighbours(arch: Architecture, base: Architecture, *, has_larger_images: bool) -> Iterator[Architecture]:
    """Networks that differ from `arch` in one or two small steps, none of them smaller than `base` anywhere.

    A step is a block or `WIDTH_STEP` channels more or less in one stage. With `has_larger_images` it is the
    image size, pixel by pixel, and nothing else: what makes uniform growth uniform is left alone.
    """
    if has_larger_images:
        yield from _resized(arch, base)
        return
    steps = [
        (index, depth, width)
        for index in range(len(arch.stages))
        for depth, width in ((1, 0), (-1, 0), (0, WIDTH_STEP), (0, -WIDTH_STEP))
    ]
    for count in (1, 2):
        for chosen in combinations(steps, count):
            found = _stepped(arch, base, chosen)
            if found is not None:
                yield found


def is_valid(arch: Architecture) -> bool:
    """Whether blocks accept these widths, which attention's heads may not."""
    try:
        architecture_from_document(arch.to_document())
    except DocumentError:
        return False
    return True


class TimeModel:
    """Step times foretold from costs: the non-negative sum of costs that fits those measured best.

    t = a + b * macs + c * activation_bytes + d * blocks, relative errors squared. Near a network that was
    measured the time is scaled to agree with it, so that the model tells only what a small step adds.
    """

    def __init__(self, rows: Sequence[tuple[Mapping[str, float], int, float]]) -> None:
        """`rows`: costs, number of blocks and milliseconds of what was measured."""
        from scipy.optimize import nnls

        features = np.array([self._row(costs, blocks) for costs, blocks, _ in rows])
        times = np.array([ms for _, _, ms in rows])
        self._scale = features.max(0)
        weighted = features / self._scale / times[:, None]
        self._factors = nnls(weighted, np.ones(len(times)))[0] / self._scale

    def step_ms(self, costs: Mapping[str, float], blocks: int) -> float:
        """The model's own time."""
        return float(np.dot(self._row(costs, blocks), self._factors))

    @staticmethod
    def _row(costs: Mapping[str, float], blocks: int) -> list[float]:
        return [1.0, costs["macs"], costs["activation_bytes"], float(blocks)]


def _resized(arch: Architecture, base: Architecture) -> Iterator[Architecture]:
    own = arch.eval_resolution
    reach = min(IMAGE_STEPS, int(own * LARGEST_IMAGE_CHANGE))
    for side in range(max(base.eval_resolution, own - reach), own + reach + 1):
        if side != own:
            trained = arch.recipe.train_resolution
            sizes = {"eval_resolution": side}
            if trained is not None:
                sizes["train_resolution"] = max(1, round(trained * side / own))
            yield replace(arch, recipe=arch.recipe.model_copy(update=sizes))


def _stepped(
    arch: Architecture, base: Architecture, steps: Sequence[tuple[int, int, int]]
) -> Architecture | None:
    depths = [stage.depth for stage in arch.stages]
    widths = [stage.width for stage in arch.stages]
    for index, depth, width in steps:
        depths[index] += depth
        widths[index] += width
    least = [(stage.depth, stage.width) for stage in base.stages]
    least += [(1, WIDTH_STEP)] * (len(depths) - len(least))
    pairs = list(zip(depths, widths, strict=True))
    if any(depth < own[0] or width < own[1] for (depth, width), own in zip(pairs, least, strict=False)):
        return None
    stages = tuple(
        replace(stage, depth=depth, width=width)
        for stage, (depth, width) in zip(arch.stages, pairs, strict=True)
    )
    found = replace(arch, stages=stages)
    # Neighbouring stages that have become equal are merged; what has fewer is another direction's.
    return found if len(found.stages) == len(arch.stages) and found != arch else None
