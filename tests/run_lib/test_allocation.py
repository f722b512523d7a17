"""Freed memory is kept: pages are asked for once, which the system counts."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = 24 * 2**20
BLOCKS, TIMES = 3, 5
PAGES = BLOCKS * BLOCK // os.sysconf("SC_PAGE_SIZE")
"""Of all blocks together, which glibc gives back when they are all free."""

CODE = f"""
import os, resource, sys
from run_lib.computing.allocation import keep_freed_memory

def write():
    held = [b"x" * {BLOCK} for _ in range({BLOCKS})]

def asked():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    keep_freed_memory()
write()
before = asked()
for _ in range({TIMES}):
    write()
print(asked() - before, os.environ.get("THP_MEM_ALLOC_ENABLE"))
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def pages(how: str, **environment: str) -> tuple[int, str]:
    """How many pages the system gave after the first time, and what torch is told of large ones."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, how], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, large = done.stdout.split()
    return int(count), large


def test_pages_are_asked_for_once() -> None:
    assert pages("given back")[0] > TIMES * PAGES / 2
    count, large = pages("kept")
    assert count < PAGES / 2
    assert large == "1"


def test_what_the_environment_says_holds() -> None:
    count, large = pages("kept", MALLOC_MMAP_THRESHOLD_="65536", THP_MEM_ALLOC_ENABLE="0")
    assert count > TIMES * PAGES / 2
    assert large == "0"
