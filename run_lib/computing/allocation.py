"""What a processor's memory costs: what is freed stays with the process, and large blocks lie in large pages.

glibc gives large blocks back to the system as they are freed, and the system fills their pages with zeros when the next
ones are written: the features of a network, made and freed in every layer, are such blocks.
"""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_NEVER = 2**31 - 1
"""Bytes: more than a block has, and than lie free at the end of the heap."""
_OLD_LIMIT = 32 * 2**20
"""Bytes: the most that earlier versions of glibc take for the size from which a block is none of the heap's."""
_SAID = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""By which a user says what glibc does with free memory."""
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""By which torch is told to ask for pages of 2 MiB; it looks when it first allocates memory."""


def keep_freed_memory() -> None:
    """Keep what is freed for what comes next; to be called before torch allocates. What the environment says holds.

    Other C libraries than glibc have rules of their own, and are left to them.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    os.environ.setdefault(_LARGE_PAGES, "1")
    if any(name in os.environ for name in _SAID):
        return
    library = ctypes.CDLL(None)
    if not library.mallopt(_MMAP_THRESHOLD, _NEVER):
        library.mallopt(_MMAP_THRESHOLD, _OLD_LIMIT)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
