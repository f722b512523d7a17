"""What depends on the times of a run alone, computed once for all of its steps.

The samples of a run share its times, which are known before the first step. Each is handed out as a tensor (B,) like
any other that knows its place in the run. ``tabulated(f, process, t, s)`` is ``f(process, t, s)``;
where t and s are neighbours in a run, ``f`` is called once, with the run's times (n - 1,) in place of (B,), and this
step and every other reads its row. Times of one's own, as those of an adaptive method or of training, are plain
tensors, for which ``f`` is called each time. A function that is being compiled reads rows that are there, which are
inputs of its graph, and makes none.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")
"""A tensor shaped like the time, or a dataclass or a tuple of values; None stays None."""


@dataclass(frozen=True, eq=False)
class Timetable:
    """The times of a run, (n,), the size of its batch, and the rows that each time has so far."""

    times: Tensor
    batch: int
    rows: tuple[dict[Hashable, Any], ...]
    held: list[Any]

    @torch.inference_mode(False)  # rows serve evaluations with gradients too
    @torch.no_grad()
    def add(
        self,
        key: Hashable,
        f: Callable[..., Any],
        constants: Sequence[Any],
        neighbours: int,
        cut: Callable[[Any, int, int], Sequence[Any]],
    ) -> None:
        """Call ``f`` for every row of so many neighbours; the last of them keeps what ``cut`` makes of it."""
        n = len(self.times) - neighbours + 1
        whole = f(*constants, *(self.times[first : first + n] for first in range(neighbours)))
        for rows, row in zip(self.rows[neighbours - 1 :], cut(whole, n, self.batch), strict=True):
            rows[key] = row
        # The key has the addresses of these, which no other object may take.
        self.held.append((f, constants))


@dataclass(frozen=True, eq=False)
class Place:
    """Of a time in a run.

    Attributes:
        run: what the times of the run have in common.
        rows: what has been tabulated for this time, and for this and those before it.
        earlier: the time before it in the run; None: it is the first.
    """

    run: Timetable
    rows: dict[Hashable, Any]
    earlier: Tensor | None


_PLACE = "_place_in_a_run"
"""The attribute of the tensor. Whatever is computed from it is another tensor, and has none."""


def place_of(t: Tensor) -> Place | None:
    """The place of a time in a run; None: it has none."""
    return getattr(t, _PLACE, None)


def grid_times(times: Tensor, batch: int) -> list[Tensor]:
    """The times of a run (n,), each (batch,), in the order in which the run comes to them."""
    run = Timetable(times, batch, tuple({} for _ in times), [])
    handed: list[Tensor] = []
    # Networks are given numbers of the samples: in a memory layout like any other's.
    for time, rows in zip(times[:, None].expand(-1, batch).contiguous().unbind(0), run.rows, strict=True):
        setattr(time, _PLACE, Place(run, rows, handed[-1] if handed else None))
        handed.append(time)
    return handed


def tabulated(f: Callable[..., Value], *args: Any) -> Value:
    """``f(*args)``, from a table where the times among the arguments are neighbours in a run.

    Args:
        f: a function, or a method of an object that lasts for the run: the same at every step. It is called with
            times of any shape (n,) and returns values shaped like them.
        args: what stays the same, told apart by identity (numbers and strings by value), and then the times, in the
            run's order.
    """
    value: Value = _looked_up(f, args, _rows)
    return value


def tabulated_time(f: Callable[..., Tensor], *args: Any) -> Tensor:
    """The same for a time that ``f`` computes from others: of a run where they are, with a table of its own."""
    time: Tensor = _looked_up(f, args, _time_rows)
    return time


def doubled(t: Tensor) -> Tensor:
    """The times (B,) of a batch and of a copy of it: (2 B,)."""
    if place_of(t) is None:
        return torch.cat([t, t])
    twice: Tensor = _looked_up(_unchanged, (t,), _twice_as_many)
    return twice


def mapped(shape: Callable[[Tensor], Tensor], value: Any) -> Any:
    """A value with ``shape`` applied to each of its tensors."""
    if isinstance(value, Tensor):
        return shape(value)
    if isinstance(value, tuple):
        return tuple([mapped(shape, part) for part in value])
    if dataclasses.is_dataclass(value):
        parts = [mapped(shape, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return type(value)(*parts)  # type: ignore[misc]
    return value


def _unchanged(t: Tensor) -> Tensor:
    return t


def _rows(value: Any, n: int, batch: int) -> Sequence[Any]:
    """The rows of a value of ``n`` times, each for a batch."""
    if isinstance(value, Tensor):
        each = value.expand(n, *value.shape[1:])[:, None].expand(-1, batch, *value.shape[1:])
        # In a memory layout like any other numbers' of the samples.
        return (each.contiguous() if each.ndim == 2 else each).unbind(0)
    if isinstance(value, tuple):
        return list(zip(*(_rows(part, n, batch) for part in value), strict=True)) if value else [()] * n
    if dataclasses.is_dataclass(value):
        parts = (_rows(getattr(value, field.name), n, batch) for field in dataclasses.fields(value))
        return [type(value)(*row) for row in zip(*parts, strict=True)]  # type: ignore[misc]
    return [value] * n


def _time_rows(times: Tensor, n: int, batch: int) -> Sequence[Tensor]:
    return grid_times(times, batch)


def _twice_as_many(times: Tensor, n: int, batch: int) -> Sequence[Tensor]:
    return grid_times(times, 2 * batch)


def _identity(thing: Any) -> Hashable:
    """What tells a function or a constant from others: its address, or its value if it has one."""
    if isinstance(thing, types.MethodType):  # made anew each time that it is named
        return thing.__func__, id(thing.__self__)
    return thing if isinstance(thing, int | float | str | torch.dtype) else id(thing)


def _last(times: Sequence[Tensor]) -> Place | None:
    """The place of the last of some times that follow one another in a run; None: they do not."""
    places = [place_of(time) for time in times]
    if not places or places[0] is None:
        return None
    follow = [
        place is not None and place.earlier is t for t, place in zip(times[:-1], places[1:], strict=True)
    ]
    return places[-1] if all(follow) else None


def _looked_up(
    f: Callable[..., Value], args: tuple[Any, ...], cut: Callable[[Any, int, int], Sequence[Any]]
) -> Any:
    times = [arg for arg in args if isinstance(arg, Tensor)]
    last = _last(times)
    if last is None:
        return f(*args)
    constants = args[: -len(times)]
    key = (cut, _identity(f), len(times), *[_identity(constant) for constant in constants])
    if key not in last.rows and torch.compiler.is_compiling():
        return f(*args)
    if key not in last.rows:
        last.run.add(key, f, constants, len(times), cut)
    return last.rows[key]
