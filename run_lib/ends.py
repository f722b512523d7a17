"""How the program ends: one line about what the user, the machine or a signal has done, and an exit status.

Statuses: 0, done; 1, the machine failed, or images could not be read; 2, the user can mend it; 3, numbers are
incomplete; 128 and a signal's number, stopped by it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from run_lib.evaluation.report import IncompleteError
from run_lib.faults import MachineError, explained, machines_fault, naming
from run_lib.processes import first_to_say
from run_lib.stopping import Stopped, watching
from sde_lib.finite import NotFiniteError

_PIPE = 141
"""Whoever read the output has seen enough, as head does."""


def guarded(work: Callable[[], None], wants_traceback: Callable[[], bool]) -> None:
    """Do the work, and say what was wrong without a traceback where a user can do something about it.

    Errors of other kinds are faults of the program, which keep their traceback.

    Raises:
        SystemExit: the work did not end well.
    """
    try:
        with watching():
            work()
            if sys.stdout is not None:
                with naming(Path("standard output")):
                    sys.stdout.flush()
    except KeyboardInterrupt:  # before or after signals are watched for
        _end("stopped by SIGINT.", 128 + signal.SIGINT)
    except Stopped as stopped:
        kept = stopped.kept or "nothing was begun"
        _end(f"stopped by {stopped.signal.name}: {kept}.", 128 + stopped.signal)
    except (IncompleteError, NotFiniteError) as error:
        _end(f"incomplete: {error}", 3)
    except BrokenPipeError:
        _leave_outputs()
        raise SystemExit(_PIPE) from None
    except (ValueError, OSError, MachineError, MemoryError, RuntimeError) as error:
        line, status = _line(error)
        if status is None or wants_traceback():
            raise
        _end(f"error: {line}", status)


def _line(error: Exception) -> tuple[str, int | None]:
    """What is said about an error, and the exit status; None: nothing is known about it."""
    if (said := machines_fault(error)) is not None:
        return said, 1
    if isinstance(error, OSError):
        error = explained(error, None if error.filename else Path("output"))
    return str(error), 1 if isinstance(error, MachineError) else 2 if isinstance(error, ValueError) else None


def _end(text: str, status: int) -> None:
    # One line, whatever a message quotes: a name of the user's may hold line breaks.
    line = " ".join(part.strip() for part in text.splitlines())
    try:
        if first_to_say(line):
            print(line, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it, and the status says the rest
        _leave_outputs()
    else:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:  # that is what the line is about
            _leave_outputs()
    raise SystemExit(status) from None


def _leave_outputs() -> None:
    """What is left to be flushed at the end of the process goes nowhere, without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none of the system's
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
