"""Everything that an object holds, however deep."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from tests.test_architecture import PACKAGES


def reachable(held: Any) -> Iterator[tuple[str, Any]]:
    """Each object once, with the way to it: fields, attributes of objects of ours and of modules, elements,
    and what functions close over."""
    seen: dict[int, Any] = {}
    waiting = [("", held)]
    while waiting:
        where, one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one  # held, so that no other object gets its address
        yield where, one
        waiting += [(f"{where}.{name}", part) for name, part in parts(one).items()]


def parts(held: Any) -> dict[str, Any]:
    """What an object holds itself, by name."""
    if isinstance(held, Mapping):
        return {str(key): value for key, value in held.items()}
    if isinstance(held, tuple | list | set | frozenset):
        return {str(place): value for place, value in enumerate(held)}
    if isinstance(held, functools.partial):
        return {"func": held.func, "args": held.args, "keywords": held.keywords}
    if inspect.isfunction(held):
        closed = inspect.getclosurevars(held).nonlocals
        return {**closed, "defaults": held.__defaults__}
    if inspect.ismethod(held):
        return {"self": held.__self__}
    if hasattr(held, "cache_info"):  # functools.cache's
        return {"wrapped": held.__wrapped__}
    ours = type(held).__module__.split(".")[0] in (*PACKAGES, "tests")
    if dataclasses.is_dataclass(held) or ours or hasattr(held, "_parameters"):
        return {} if isinstance(held, type) else dict(vars(held)) if hasattr(held, "__dict__") else {}
    return {}
