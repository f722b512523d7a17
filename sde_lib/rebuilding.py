"""Structures of frozen dataclasses, tuples and dictionaries, made anew around the parts of them that are replaced."""

from __future__ import annotations

import abc
import copy
import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")

INSIDE = object()
"""Of a part that is not replaced itself: what it holds may be."""


class Rebuilding(abc.ABC):
    """Replaces parts, however deep they lie. What holds none of them is shared with the new structure.

    A part that several places share is replaced once, and stays shared. A dataclass is copied and not built anew, so
    that nothing is checked or computed again. Other objects are left alone.
    """

    def __init__(self) -> None:
        # The part is kept beside what takes its place: no other may get its address before all is done.
        self._done: dict[int, tuple[Any, Any]] = {}

    @abc.abstractmethod
    def replacement(self, part: Any) -> Any:
        """What takes the place of a part, which may be the part itself; ``INSIDE``: look at what it holds."""

    def __call__(self, held: T) -> T:
        """The structure with its parts replaced."""
        if id(held) not in self._done:
            self._done[id(held)] = (held, self._rebuilt(held))
        found: T = self._done[id(held)][1]
        return found

    def _rebuilt(self, held: Any) -> Any:
        if (new := self.replacement(held)) is not INSIDE:
            return new
        if type(held) is tuple:
            parts = tuple(map(self, held))
            return held if all(a is b for a, b in zip(parts, held, strict=True)) else parts
        if type(held) is dict:
            entries = {key: self(part) for key, part in held.items()}
            return held if all(entries[key] is held[key] for key in held) else entries
        if not dataclasses.is_dataclass(held) or isinstance(held, type):
            return held
        # Also what is kept beside the fields, such as a cached property.
        values = {f.name: getattr(held, f.name) for f in dataclasses.fields(held)} | vars(held)
        changed = {name: new for name, old in values.items() if (new := self(old)) is not old}
        if not changed:
            return held
        made = copy.copy(held)
        for name, value in changed.items():
            object.__setattr__(made, name, value)
        return made
