"""Ends by Ctrl-C and SIGTERM: what is under way is finished and kept where it can be; a second one ends at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from run_lib.output.log import log

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The run was asked to end.

    Args:
        signal: by which.
        kept: what is kept and how to go on, as a sentence without its full stop; empty until it is known.
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(number, kept)
        self.signal = signal.Signals(number)
        self.kept = kept


@dataclass
class _State:
    """Of this process, which has one set of handlers: the signal that came, and what it waits for."""

    asked: int | None = None
    under_way: list[str] = field(default_factory=list)


_state = _State()


@contextmanager
def watching() -> Iterator[None]:
    """Within the block, a signal raises ``Stopped``: at once, or at the end of what ``finishing`` guards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _receive) for number in SIGNALS}
    complain = sys.unraisablehook
    sys.unraisablehook = partial(_at_once, complain)
    try:
        with promising(""):
            yield
    finally:
        sys.unraisablehook = complain
        _state.asked = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _receive(number: int, frame: object) -> None:
    # By the system itself: a second signal must not wait for a long operation of the library. Of several processes
    # each has the first one twice: from the terminal or the cluster, and from torch's launcher.
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    for other in SIGNALS:
        signal.signal(other, _ignore if several else signal.SIG_DFL)
    _state.asked = number
    if not _state.under_way:
        raise Stopped(number)
    name, second = signal.Signals(number).name, "" if several else "; a second one ends at once"
    # Not by print, which may be at work already.
    with suppress(OSError):  # nobody reads it
        if os.environ.get("RANK", "0") == "0":
            said = f"{name}: {_state.under_way[-1]} is finished first{second}"
            os.write(2, f"\n{said}\n".encode())
            log.add(said)


def _ignore(number: int, frame: object) -> None:
    """A handler of Python's: of the system's (``SIG_IGN``) it complains where two signals come at once."""


def _at_once(complain: Callable[[sys.UnraisableHookArgs], object], error: sys.UnraisableHookArgs) -> None:
    """End by a second signal that came at once with the first: Python has no handler for it any more, and complains."""
    if _state.asked and isinstance(error.exc_value, OSError) and "race condition" in str(error.exc_value):
        signal.raise_signal(_state.asked)
    complain(error)


@dataclass
class Stop:
    """Asks whether a signal has come.

    Args:
        heard: makes of the signal that this process was sent, or 0, one that any of several was sent; None: it is
            alone.
    """

    heard: Callable[[int], int] | None = None
    _number: int = 0

    def listen(self) -> None:
        """Several processes agree on whether a signal has come: all call this, and act alike until the next time."""
        if self.heard is not None:
            self._number = self.heard(_state.asked or 0)

    @property
    def _asked(self) -> int:
        return (_state.asked or 0) if self.heard is None else self._number

    @property
    def asked(self) -> bool:
        return self._asked != 0

    def leave(self, kept: str = "") -> None:
        """End the run if it was asked to.

        Args:
            kept: what is kept and how to go on; what the mode promises unless it is said.
        """
        if self.asked:
            raise Stopped(self._asked, kept)


@contextmanager
def finishing(what: str, heard: Callable[[int], int] | None = None) -> Iterator[Stop]:
    """Within the block a signal waits until ``Stop.leave`` is called.

    Args:
        what: is finished first, such as "the step".
        heard: of ``Stop``.
    """
    _state.under_way.append(what)
    try:
        yield Stop(heard)
    finally:
        _state.under_way.pop()


@contextmanager
def promising(kept: str) -> Iterator[None]:
    """Say what is kept of an interrupted block, where the block itself does not.

    An error that a library raises because it was interrupted, as zipfile does of an open handle, is the interruption.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(signal.SIGINT, kept) from None
    except (Stopped, Exception) as error:
        if (stopped := _interruption(error)) is None:
            raise
        stopped.kept = stopped.kept or kept
        raise stopped from None


def _interruption(error: BaseException | None) -> Stopped | None:
    """Itself, or the one during which an error was raised."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error


def end_at_once() -> None:
    """Have a signal end the program in one line from here on, while it is imported and until ``watching``.

    Not by an exception: a library that is being imported may turn it into another.
    """

    def end(number: int, frame: object) -> None:
        with suppress(OSError):  # nobody reads it
            if os.environ.get("RANK", "0") == "0":
                os.write(2, f"stopped by {signal.Signals(number).name}.\n".encode())
        os._exit(128 + number)

    for number in SIGNALS:
        signal.signal(number, end)


def end_with_parent() -> None:
    """Make this process, started by ``multiprocessing``, end when its parent does, however that ends.

    Signals that a terminal sends to all are left to the parent, which lets what is begun be finished.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "it is called in a process that another one has started"
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end with parent").start()
