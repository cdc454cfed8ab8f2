"""Quantities as they are typed and shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.values import format_bytes, format_count, format_duration, parse_duration, parse_names, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("90", 90),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 2 H", 7200),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2**31),
        ("500MB", 500_000_000),
        ("2e9", 2_000_000_000),
        ("1.5 kB", 1500),
        ("64kib", 65536),
        ("7B", 7),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", " ", "h", "2x", "-5s", "0", "0s", "inf", "nan", "1e999", "1h 30", "2h!", "1,5h", "s2"]
)
def test_what_is_no_duration_is_named_with_the_remedy(text):
    with pytest.raises(ValueError, match=r"is not a duration; write 90s, 10m, 2h") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "GiB", "2XB", "-1GB", "0", "0.4B", "1e400", "2GiB3", "two"])
def test_what_is_no_size_is_named_with_the_remedy(text):
    with pytest.raises(ValueError, match=r"is not a size in bytes; write 2GiB") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_parts_of_a_duration_add_up(hours, minutes, seconds):
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.integers(1, 2**50), st.sampled_from(["", "B"]))
def test_a_number_of_bytes_is_itself(size, unit):
    assert parse_size(f"{size}{unit}") == size


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_no_names_are_no_names(text):
    assert parse_names(text) == ()


def test_names_are_trimmed():
    assert parse_names("accuracy, loss:min ,") == ("accuracy", "loss:min")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (format_duration(59.4), "59 s"),
        (format_duration(59.6), "1 min 0 s"),
        (format_duration(3 * 3600 + 300), "3 h 5 min"),
        (format_bytes(None), "unknown"),
        (format_bytes(1023), "1,023 B"),
        (format_bytes(1.5 * 2**30), "1.5 GiB"),
        (format_bytes(5000 * 2**40), "5,000.0 TiB"),
        (format_count(None), "-"),
        (format_count(10**22), "10,000,000,000,000,000,000,000"),
        (format_count(0.123456), "0.1235"),
    ],
)
def test_shown(shown, expected):
    assert shown == expected
