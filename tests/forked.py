"""The end of a child of this process."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

CRASHED = 70
"""The status of a child whose work raised an error that nobody caught."""


def end_with(work: Callable[[], object]) -> NoReturn:
    """Do some work and end as a program does after it, without the parent's clean-up; errors print their traceback."""
    status = CRASHED
    try:
        try:
            work()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
