"""Which parts of its plan a mode's work touches."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from run_lib.config.mode import Mode, register_mode
from tests.reachable import reachable

WHOLE = ("__hash__", "__eq__", "__repr__", "replace", "_replace", "_rebuilt", "__bool__")
"""Functions that go through all fields of a dataclass, whatever is used of them; or see whether there are any."""


@contextlib.contextmanager
def touching(mode: str) -> Iterator[set[tuple[str, str]]]:
    """The fields, class and name, of dataclasses of ours in the plan that are read while the mode works on it."""
    found: set[tuple[str, str]] = set()
    kind: type[Mode] = register_mode[mode]
    with pytest.MonkeyPatch.context() as patch:
        working = kind.work

        def work(self: Mode, plan: Any, run: Any) -> None:
            parts = {type(part) for _, part in reachable(plan)}
            for one in parts:
                if one.__module__.startswith("run_lib") and dataclasses.is_dataclass(one):
                    _watch(one, found, patch)
            working(self, plan, run)

        patch.setattr(kind, "work", work)
        yield found


def _watch(kind: type, found: set[tuple[str, str]], patch: pytest.MonkeyPatch) -> None:
    names, get = {field.name for field in dataclasses.fields(kind)}, kind.__getattribute__

    def watched(self: Any, name: str) -> Any:
        if name in names and _caller() not in WHOLE:
            found.add((kind.__name__, name))
        return get(self, name)

    patch.setattr(kind, "__getattribute__", watched)


def _caller() -> str:
    """The name of the function that reads an attribute; comprehensions are the function's in which they are."""
    frame: Any = sys._getframe(2)
    while frame.f_code.co_name in ("<dictcomp>", "<listcomp>", "<genexpr>"):
        frame = frame.f_back
    return str(frame.f_code.co_name)
