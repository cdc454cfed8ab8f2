"""The search for the largest batch, on devices whose memory follows a law."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.largest_batch import FINENESS, Probe, largest_batch


class Memory:
    """A device on which a step takes `fixed + each * batch` bytes of `size`; it counts what was tried."""

    def __init__(self, *, fixed: int, each: int, size: int, tells: bool = True) -> None:
        self.fixed, self.each, self.size, self.tells = fixed, each, size, tells
        self.asked: list[int] = []

    def __call__(self, batch_size: int) -> Probe:
        self.asked.append(batch_size)
        peak = self.fixed + self.each * batch_size
        if peak > self.size:
            return Probe(batch_size=batch_size, fits=False)
        return Probe(batch_size=batch_size, fits=True, peak_bytes=peak if self.tells else None)

    @property
    def border(self) -> int:
        return (self.size - self.fixed) // self.each


memories = st.builds(
    Memory,
    fixed=st.integers(0, 1000),
    each=st.integers(1, 50),
    size=st.integers(1, 100_000),
    tells=st.booleans(),
)


@given(memories, st.integers(1, 512))
def test_the_border_is_found_from_below_within_a_sixteenth(memory, start):
    found = largest_batch(memory, start=start)
    if memory.border < 1:
        assert found.batch_size is None
        return
    assert 1 <= found.batch_size <= min(memory.border, 1 << 16)
    assert found.batch_size + max(1, found.batch_size // FINENESS) >= min(memory.border, 1 << 16)
    assert found.refused is None or found.refused > memory.border
    assert len(memory.asked) == len(set(memory.asked)) < 32


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(100, 50_000), st.integers(1, 64))
def test_a_limit_is_kept_and_nothing_is_tried_far_beyond_it(fixed, each, limit, start):
    memory = Memory(fixed=fixed, each=each, size=10**12)
    found = largest_batch(memory, start=start, limit_bytes=limit)
    border = (limit - fixed) // each
    if found.batch_size is None:
        assert border < 1
    else:
        assert found.peak_bytes == fixed + each * found.batch_size <= limit
        assert found.batch_size + max(1, found.batch_size // FINENESS) >= min(border, 1 << 16)
    beyond = [batch for batch in memory.asked if batch > max(border, 0) * 17 / 16 + 1]
    assert all(batch <= 2 * start for batch in beyond), "only the first two, which teach how memory grows"


def test_two_peaks_say_where_a_limit_lies():
    memory = Memory(fixed=100, each=7, size=10**12)
    found = largest_batch(memory, start=8, limit_bytes=100 + 7 * 4000)
    assert found.batch_size == 4000
    assert len(memory.asked) <= 6


def test_a_device_that_takes_everything_ends_at_the_most():
    found = largest_batch(Memory(fixed=0, each=1, size=10**12), start=3, most=100)
    assert 94 <= found.batch_size <= 100
    assert found.refused is None


def test_batches_below_one_are_refused():
    with pytest.raises(ValueError, match="batches from 0 to 65536: both must be at least 1"):
        largest_batch(Memory(fixed=0, each=1, size=1), start=0)
