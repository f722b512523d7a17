"""The error for a weights file whose bytes are not those that were written, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import final


@final
class DamagedCheckpointError(ValueError):
    """A file of weights is truncated, altered or no such file.

    Args:
        file: the damaged file.
        reason: what is wrong with it, as the end of a sentence whose subject is the file.
        message: the sentence for the user; by default the file, its size, the reason and what to do.
    """

    def __init__(self, file: Path, reason: str, message: str | None = None) -> None:
        self.file = file
        self.reason = reason
        super().__init__(
            message
            or f"weights file {file} ({file.stat().st_size} bytes) {reason}. Fetch it again, or use another copy."
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had: Python's, or a ``RuntimeError`` of torch's allocators.

    It is no sign of damage, whatever was being read.
    """
    said = (
        "DefaultCPUAllocator",
        "out of memory",
        "bad_alloc",
        "not enough memory",
        "Cannot allocate memory",
    )
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in said)
    )
