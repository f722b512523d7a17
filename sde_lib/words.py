"""Lists in messages."""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[object], most: int, separator: str = ", ") -> str:
    """The first ``most`` items, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + more
