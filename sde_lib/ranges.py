"""Ranges of numbers, and how an error says what they allow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be, ``Annotated[float, Range(above=0, most=1)]``; NaN is in no range.

    The range of a sequence's elements, ``Sequence[Annotated[int, Range(least=1)]]``, holds for each of them.

    Args:
        least, most: bounds that belong to the range.
        above, below: bounds that do not.
        finite: whether infinity is excluded.
        words: how an error says what is required: the words between the setting's name and its value, such as
            ``is a share of fresh noise in [0, 1]``, or a whole sentence with ``{name}`` and ``{value}`` in it; made
            from the bounds if empty.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    finite: bool = True
    words: str = ""

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies in the range."""
        return not (
            math.isnan(value)
            or (self.finite and math.isinf(value))
            or (self.least is not None and value < self.least)
            or (self.most is not None and value > self.most)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )

    def __str__(self) -> str:
        """``in (0, 1]``, ``> 0``, ``>= 1``; empty without bounds."""
        if self._low is not None and self._high is not None:
            return f"in {self._interval}"
        bounds = {">=": self.least, ">": self.above, "<=": self.most, "<": self.below}
        return next((f"{sign} {_written(bound)}" for sign, bound in bounds.items() if bound is not None), "")

    @property
    def requirement(self) -> str:
        """What is required of a value, in words that follow its name."""
        if self.words:
            return self.words
        if self._low is not None and self._high is not None:
            open_ends = self.above is not None and self.below is not None
            return (
                f"lies between {_written(self.above)} and {_written(self.below)}"
                if open_ends
                else f"lies in {self._interval}"
            )
        if self.least is not None:
            return "must be 0 or more" if self.least == 0 else f"must be at least {_written(self.least)}"
        if self.above is not None:
            return "must be positive" if self.above == 0 else f"must be above {_written(self.above)}"
        if self.most is not None:
            return f"must be at most {_written(self.most)}"
        if self.below is not None:
            return f"must be below {_written(self.below)}"
        return "must be a finite number" if self.finite else "must be a number"

    def refusal(self, name: str, value: object) -> str:
        """The error for a value outside the range."""
        if "{value}" in self.words:
            return self.words.format(name=name, value=repr(value))
        if isinstance(value, float) and math.isinf(value) and replace(self, finite=False).contains(value):
            return f"{name} must be a finite number, got {value!r}."
        return f"{name} {self.requirement}, got {value!r}."

    @property
    def _low(self) -> float | None:
        return self.above if self.least is None else self.least

    @property
    def _high(self) -> float | None:
        return self.below if self.most is None else self.most

    @property
    def _interval(self) -> str:
        left, right = "(["[self.least is not None], ")]"[self.most is not None]
        return f"{left}{_written(self._low)}, {_written(self._high)}{right}"


def _written(bound: float | None) -> str:
    """A bound in full where it is a whole number."""
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
