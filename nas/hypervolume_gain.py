"""How much a point would add to the hypervolume of a front, and in which front a point stands."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class HypervolumeGain:
    """Gains over the front of some losses (smaller is better), (N, K), in a box that they span.

    The box reaches from the best value of each objective to the worst, so that the ends of a front are worth
    extending: a box that only the front spans gives nothing for what lies beyond its ends.
    """

    def __init__(self, losses: Floats) -> None:
        front = losses[non_dominated_ranks(losses) == 0]
        low, high = losses.min(axis=0), losses.max(axis=0)
        span = np.where(high > low, high - low, np.maximum(np.abs(high), 1e-12))
        self._low, self._span = low, span
        self._corner = np.ones(losses.shape[1])
        self._front = self._scaled(front)

    def __call__(self, losses: Floats) -> Floats:
        """The gain of each point alone, (M,)."""
        points = self._scaled(losses)
        if points.shape[1] == 2:
            return _gains_of_two(self._front, points, self._corner)
        import moocore

        before = moocore.hypervolume(self._front, ref=self._corner)
        gains = np.zeros(len(points))
        for index, point in enumerate(points):
            worst = np.all(self._front <= point, axis=1).any() or (point >= self._corner).any()
            if not worst:
                gains[index] = moocore.hypervolume(np.vstack([self._front, point]), ref=self._corner) - before
        return gains

    def greedy(self, losses: Floats, count: int, weights: Floats) -> list[int]:
        """Positions of up to `count` points in the order in which each adds most, given those before it.

        A gain counts `weights` times. Gains only shrink as points are added, so most need no second look.
        """
        bounds = self(losses) * weights
        left = list(np.argsort(-bounds, kind="stable"))
        chosen: list[int] = []
        while left and len(chosen) < count:
            best = left[0]
            current = float(self(losses[best][None])[0] * weights[best])
            if len(left) > 1 and current < bounds[left[1]]:
                bounds[best] = current
                left.sort(key=lambda index: -bounds[index])
                continue
            chosen.append(int(best))
            left.pop(0)
            self.add(losses[best])
        return chosen

    def add(self, losses: Floats) -> None:
        """Count one more point as found."""
        points = np.vstack([self._front, self._scaled(losses[None])])
        self._front = points[non_dominated_ranks(points) == 0]

    def _scaled(self, losses: Floats) -> Floats:
        scaled: Floats = (losses - self._low) / self._span
        return scaled


def _gains_of_two(front: Floats, points: Floats, corner: Floats) -> Floats:
    """Two objectives: the staircase between the front and each point, summed over its steps."""
    front = front[(front < corner).all(axis=1)]
    order = np.argsort(front[:, 0], kind="stable")
    x = np.concatenate([[-np.inf], front[order, 0], [corner[0]]])
    y = np.concatenate([[corner[1]], np.minimum.accumulate(front[order, 1])])
    # Between x[i] and x[i + 1] the region above y[i] is covered already.
    left = np.maximum(x[None, :-1], points[:, :1])
    width = np.maximum(x[None, 1:] - left, 0.0)
    height = np.maximum(np.minimum(y[None], corner[1]) - points[:, 1:], 0.0)
    gains: Floats = (width * height).sum(axis=1)
    return gains


def non_dominated_ranks(losses: Floats) -> npt.NDArray[np.int64]:
    """Rank 0 is the front, rank 1 the front of the rest, and so on; equal points share a rank. (N,)"""
    if losses.shape[1] == 1:
        return np.unique(losses[:, 0], return_inverse=True)[1].astype(np.int64)
    import moocore

    ranks: npt.NDArray[np.int64] = np.asarray(moocore.pareto_rank(losses), dtype=np.int64)
    return ranks
