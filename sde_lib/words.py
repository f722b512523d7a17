"""Lists, times, sizes and numbers in messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def listed(items: Sequence[object], most: int, separator: str = ", ") -> str:
    """The first ``most`` items, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + more


def duration(seconds: float) -> str:
    """A time in words: ``0.012 s``, ``4 min 10 s``, ``3 h 5 min``, ``2 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    (large, unit), (small, part) = next(pair for pair in pairwise(units) if seconds >= pair[0][1])
    whole, rest = divmod(round(seconds / part), unit // part)
    return f"{whole} {large} {rest} {small}"


def amount(size: float) -> str:
    """Bytes in words: ``512 bytes``, ``3.4 MiB``, ``1.2 TiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


def digits(value: float, count: int) -> str:
    """A number to so many significant digits, and to all that it has before the point: ``0.012``, ``5.1``, ``1235``.

    Powers of ten are for what is smaller than 0.0001, or larger than ten million.
    """
    text = f"{value:.{count}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e7 else text
