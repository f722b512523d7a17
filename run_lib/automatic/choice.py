"""A value that was chosen for a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A value of a field, and why it is this one."""

    value: Any
    reason: str
