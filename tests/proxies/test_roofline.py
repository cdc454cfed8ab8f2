"""The roofline: laws over random operations, and an arithmetic that is done by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.roofline import INFERENCE, OPTIMIZER_BYTES, TRAINING, Rates, Roofline, roofline_seconds
from search_spaces.operations import OPERATION_KINDS, Operation, activation, convolution, norm

RATES = Rates(flops=1e12, bytes_per_second=1e11, element_bytes=2)
PLAIN = Roofline(
    product_efficiency=1.0, depthwise_efficiency=1.0, bandwidth_efficiency=1.0, launch_seconds=0.0, scale=1.0
)
COUNTS = st.integers(0, 10**9)
OPERATIONS = st.lists(
    st.builds(Operation, st.sampled_from(OPERATION_KINDS), COUNTS, COUNTS, COUNTS, COUNTS), max_size=6
)
MODES = st.sampled_from(["training", "inference"])


def seconds(operations, rates=RATES, roofline=PLAIN, *, batch_size=8, mode="training"):
    return roofline_seconds(operations, rates, roofline, batch_size=batch_size, mode=mode)


def test_arithmetic_or_traffic_whichever_takes_longer():
    dense = Operation("conv", 10**9, 10, 10, 0)  # 2e9 flops an image at 1e12 a second
    assert seconds([dense], batch_size=3, mode="inference") == pytest.approx(6e-3)
    thin = Operation("depthwise", 10, 10**6, 10**6, 0)  # 4e6 bytes an image at 1e11 a second
    assert seconds([thin], batch_size=3, mode="inference") == pytest.approx(1.2e-4)
    assert seconds([dense, thin], batch_size=3, mode="inference") == pytest.approx(6.12e-3)


def test_a_training_step_is_three_products_and_the_optimizer():
    dense = Operation("conv", 10**9, 10, 10, 500)
    optimizer = 500 * OPTIMIZER_BYTES / 1e11
    assert seconds([dense], batch_size=3) == pytest.approx(1.8e-2 + optimizer)
    maps = Operation("norm", 0, 10**6, 10**6, 0)
    assert seconds([maps], batch_size=1) == pytest.approx(8 * 10**6 * 2 / 1e11)


def test_every_kind_of_operation_has_a_backward_pass():
    assert set(TRAINING) == set(OPERATION_KINDS)
    for kind, passes in TRAINING.items():
        assert passes.traffic > INFERENCE.traffic, kind
        assert passes.launches > INFERENCE.launches, kind


def test_depthwise_reaches_less_of_the_peak():
    dense = convolution(64, 64, kernel=1, area_in=100, area_out=100)
    slow = dense._replace(kind="depthwise")
    roofline = Roofline(launch_seconds=0.0)
    fast_memory = Rates(flops=1e9, bytes_per_second=1e15, element_bytes=2)
    ratio = seconds([slow], fast_memory, roofline) / seconds([dense], fast_memory, roofline)
    assert ratio == pytest.approx(2.0, rel=1e-3)


@settings(max_examples=40)
@given(OPERATIONS, MODES)
def test_faster_devices_are_never_slower(operations, mode):
    base = seconds(operations, mode=mode)
    for faster in (
        Rates(flops=2e12, bytes_per_second=1e11, element_bytes=2),
        Rates(flops=1e12, bytes_per_second=2e11, element_bytes=2),
        Rates(flops=1e12, bytes_per_second=1e11, element_bytes=1),
    ):
        assert seconds(operations, faster, mode=mode) <= base
    both = Rates(flops=2e12, bytes_per_second=2e11, element_bytes=2)
    assert seconds(operations, both, mode=mode) == pytest.approx(base / 2)


@settings(max_examples=40)
@given(OPERATIONS, OPERATIONS, MODES)
def test_times_add_up_over_parts(first, second, mode):
    whole = seconds([*first, *second], mode=mode)
    assert whole == pytest.approx(seconds(first, mode=mode) + seconds(second, mode=mode))


@settings(max_examples=40)
@given(OPERATIONS, st.integers(1, 64), MODES)
def test_a_larger_batch_takes_longer_but_not_for_each_image(operations, batch_size, mode):
    small = seconds(operations, roofline=Roofline(), batch_size=batch_size, mode=mode)
    large = seconds(operations, roofline=Roofline(), batch_size=2 * batch_size, mode=mode)
    assert small * (1 - 1e-9) <= large <= 2 * small * (1 + 1e-9)


@settings(max_examples=40)
@given(OPERATIONS)
def test_training_takes_longer_than_inference(operations):
    assert seconds(operations) >= seconds(operations, mode="inference")


def test_nothing_is_fused():
    area, width = 56 * 56, 96
    product = convolution(width, width, kernel=1, area_in=area, area_out=area)
    followed = [product, norm(width, area), activation(width, area)]
    assert seconds(followed) > seconds([product]) + 5 * width * area * 8 * 2 / 1e11
