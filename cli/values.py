"""Quantities as a person types and reads them: durations, sizes in bytes, counts."""

import math
import re

DURATIONS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = {"": 1, "B": 1, **{f"{p}B": 1000**i for i, p in enumerate("kMGT", 1)}} | {
    f"{p}iB": 1024**i for i, p in enumerate(("K", "M", "G", "T"), 1)
}
_QUANTITY = re.compile(r"\s*([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)\s*")


def parse_duration(text: str) -> float:
    """Seconds from `90s`, `10m`, `2h`, `1d`, several of them (`1h30m`), or a plain number of seconds.

    Raises:
        ValueError: anything else, or nothing at all.
    """
    seconds, position = 0.0, 0
    while position < len(text):
        match = _QUANTITY.match(text, position)
        unit = match[2].lower() if match else None
        if match is None or unit not in DURATIONS or (unit == "" and match.span() != (0, len(text))):
            seconds = 0.0
            break
        seconds += float(match[1]) * DURATIONS[unit]
        position = match.end()
    if not 0.0 < seconds < math.inf:
        raise ValueError(f"{text!r} is not a duration; write 90s, 10m, 2h, 1h30m or a number of seconds")
    return seconds


def parse_size(text: str) -> int:
    """Bytes from `2GiB`, `500MB` (units are told apart: 1 GiB is 1.07 GB) or a plain number such as `2e9`.

    Raises:
        ValueError: anything else, or less than one byte.
    """
    match = _QUANTITY.fullmatch(text)
    units = {unit.lower(): factor for unit, factor in SIZES.items()}
    factor = units.get(match[2].lower()) if match else None
    size = float(match[1]) * factor if match and factor is not None else 0.0
    if not 1.0 <= size < math.inf:
        raise ValueError(f"{text!r} is not a size in bytes; write 2GiB, 500MB or a number such as 2e9")
    return round(size)


def parse_names(text: str) -> tuple[str, ...]:
    """Names separated by commas; empty ones are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def format_duration(seconds: float) -> str:
    """`45 s`, `12 min 30 s` or `3 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_bytes(count: float | None) -> str:
    """`12.3 GiB`; `unknown` for None."""
    if count is None:
        return "unknown"
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"


def format_count(value: float | None) -> str:
    """An integer with thousands separated, another number with four significant digits; `-` for None."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
