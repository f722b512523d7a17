"""What a process of the program does first: before torch is imported, and before imports that take seconds."""

from __future__ import annotations

from run_lib.computing.allocation import keep_freed_memory
from run_lib.computing.waiting import wait_briefly
from run_lib.stopping import end_at_once


def start_up() -> None:
    """Say to libraries how memory is kept and how threads wait, and have a signal end the imports at once."""
    keep_freed_memory()
    wait_briefly()
    end_at_once()
