"""Speed and time left, with steps that cost as the area of their images."""

import pytest

from nas.training.progress import Pace


def test_no_steps_no_forecast() -> None:
    pace = Pace([(10, 100)], 32)
    assert pace.seconds_left(0) is None
    assert pace.images_per_second is None


def test_equal_steps_take_equal_times() -> None:
    pace = Pace([(10, 100)], 32)
    pace.add(0, 4, 2.0)
    assert pace.seconds_left(4) == pytest.approx(3.0)
    assert pace.images_per_second == pytest.approx(64.0)
    assert pace.seconds_left(10) == 0.0


def test_small_images_at_first_do_not_promise_too_much() -> None:
    pace = Pace([(10, 100), (10, 200)], 32)
    pace.add(0, 5, 5.0)
    assert pace.seconds_left(5) == pytest.approx(5.0 + 4 * 10.0)
    pace.add(5, 10, 5.0 + 20.0)  # over the boundary, as forecast
    assert pace.seconds_left(15) == pytest.approx(20.0)
