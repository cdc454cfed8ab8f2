"""The largest batch that fits: by running steps of ever larger ones, until the device or a limit refuses."""

from collections.abc import Callable
from dataclasses import dataclass

FINENESS = 16
"""The search ends when the batch found and the smallest one refused are less than a sixteenth apart."""
MOST = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One batch size that was tried. `peak_bytes` None: not known, or it did not fit."""

    batch_size: int
    fits: bool
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestBatch:
    """What the search found; `batch_size` None: not even one image fits."""

    batch_size: int | None
    peak_bytes: int | None
    limit_bytes: int | None
    """What a step was allowed; None: all that the device has."""
    refused: int | None
    """The smallest batch that did not fit; None: none was refused."""
    tried: tuple[Probe, ...]


def largest_batch(
    probe: Callable[[int], Probe], *, start: int, limit_bytes: int | None = None, most: int = MOST
) -> LargestBatch:
    """Double (or halve) from `start` until the border is passed, then close in on it.

    Memory grows in proportion to the batch above what the weights take. Where a limit is given, two known
    peaks therefore say where the border lies, and no batch is tried that would be far beyond it.

    Raises:
        ValueError: `start` or `most` is below 1.
    """
    if start < 1 or most < 1:
        raise ValueError(f"batches from {start} to {most}: both must be at least 1")
    tried: list[Probe] = []
    low, high = 0, most + 1
    batch = min(start, most)
    while high - low > max(1, low // FINENESS):
        seen = probe(batch)
        if limit_bytes is not None and seen.peak_bytes is not None and seen.peak_bytes > limit_bytes:
            seen = Probe(batch_size=batch, fits=False, peak_bytes=seen.peak_bytes)
        tried.append(seen)
        low, high = (batch, high) if seen.fits else (low, batch)
        batch = _next(tried, low, high, most, limit_bytes)
    fitting = next((each for each in tried if each.batch_size == low), None)
    return LargestBatch(
        batch_size=low or None,
        peak_bytes=None if fitting is None else fitting.peak_bytes,
        limit_bytes=limit_bytes,
        refused=high if high <= most else None,
        tried=tuple(tried),
    )


def _next(tried: list[Probe], low: int, high: int, most: int, limit_bytes: int | None) -> int:
    """A batch strictly between the largest that fits and the smallest that does not."""
    if high > most:
        wanted = 2 * low
    elif low == 0:
        wanted = high // 2
    else:
        wanted = (low + high) // 2
    border = None if limit_bytes is None else _border(tried, limit_bytes)
    if border is not None and (border < wanted or len(tried) > 2):
        wanted = border if border > low else low + max(1, low // FINENESS)
    return max(low + 1, min(wanted, high - 1))


def _border(tried: list[Probe], limit_bytes: int) -> int | None:
    """Where the line through the two largest known peaks meets the limit."""
    known = sorted((each.batch_size, each.peak_bytes) for each in tried if each.peak_bytes is not None)
    if len(known) < 2:
        return None
    (one, its), (other, others) = known[-2:]
    slope = (others - its) / (other - one)
    return int(one + (limit_bytes - its) / slope) if slope > 0 else None
