"""Processes whose progress is read as a terminal shows it, step by step; a pipe is told but now and then."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shown:
    """A process and the terminal that is its standard error.

    Attributes:
        process: its standard output is dropped.
        terminal: descriptor of our end.
    """

    process: subprocess.Popen[bytes]
    terminal: int

    @classmethod
    def start(
        cls, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Shown:
        """Where every step is shown."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))  # rows, columns
        wanted = {**os.environ, "TQDM_MININTERVAL": "0", **(environment or {})}
        process = subprocess.Popen(command, cwd=folder, env=wanted, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        os.set_blocking(ours, False)
        return cls(process, ours)

    def read(self) -> bytes:
        """What it has said since."""
        try:
            return os.read(self.terminal, 65536)
        except OSError:  # nothing, or it has ended
            return b""

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)
