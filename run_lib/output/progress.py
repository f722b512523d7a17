"""How far a work has come: rate, time left and what it has found so far, for works that take over two seconds."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from tqdm import tqdm

DELAY = 2.0
"""Seconds before anything is shown."""
BEAT = 1.0
"""Seconds between two looks of a bar at the clock, where a unit of work takes long."""

_under_way: list[Progress] = []


class Progress:
    """A bar on standard error; of several processes the main one has it (``streams`` has what pipes are given).

    Args:
        name: of the work.
        total: units of work; None: nobody knows, and the seconds are told.
        unit: what one is called.
        done: units that were done before.
        shown: False: nothing is shown.
        tells: asked each second for what is found so far, of work whose units take long.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        unit: str = "it",
        *,
        done: int = 0,
        shown: bool = True,
        tells: Callable[[], str] | None = None,
    ) -> None:
        main = os.environ.get("RANK", "0") == "0"
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=name,
            unit=unit,
            file=sys.stderr,
            delay=DELAY,
            disable=not (shown and main) or sys.stderr is None,
            ncols=None if (sized := _has_size()) else 100,
            nrows=None if sized else 20,
            dynamic_ncols=sized,
        )
        self._whole, self._tells = done, tells
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._beat, daemon=True, name=f"progress of {name}")

    @property
    def done(self) -> int:
        """Whole units."""
        return self._whole

    def __enter__(self) -> Progress:
        _under_way.append(self)
        if not self._bar.disable:
            self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self in _under_way:
            _under_way.remove(self)
        if self._clock.is_alive() and threading.current_thread() is not self._clock:
            self._clock.join()
        self._bar.close()

    def add(self, units: int = 1) -> None:
        """So many more are done."""
        self._bar.n = self._whole
        self._whole += units
        self._bar.update(units)

    def within(self, share: float) -> None:
        """Of the unit that is under way a share is done, in [0, 1]."""
        target = self._whole + round(share, 2)
        if target > self._bar.n:
            self._bar.update(target - self._bar.n)

    def say(self, **found: Any) -> None:
        """What is found so far, such as ``loss="0.0123"``."""
        self._bar.set_postfix(found, refresh=False)

    def over(self, units: range) -> Iterator[int]:
        """Each of some units, which is done when the next one is asked for."""
        for unit in units:
            yield unit
            self.add()

    def _beat(self) -> None:
        if self._ended.wait(DELAY):
            return
        self._bar.delay = 0
        while True:
            if self._tells is not None:
                self._bar.set_postfix_str(self._tells(), refresh=False)
            self._bar.refresh()
            if self._ended.wait(BEAT):
                return


def _has_size() -> bool:
    """Whether standard error is a terminal that knows its size."""
    try:
        return min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except (OSError, ValueError, AttributeError):  # no terminal, no file, or none at all
        return False


def within_unit(share: float) -> None:
    """Of the unit of the innermost work that is under way, a share is done, of which what lies in [0, 1] is told."""
    if _under_way:
        _under_way[-1].within(min(1.0, max(0.0, share)))
