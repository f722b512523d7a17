"""Mapped rows: what is asked for is read, and not its neighbours."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from run_lib.data.read_ahead import runs
from run_lib.data.rows import Mapped

ROWS = 512


def test_runs_of_neighbours() -> None:
    found = runs(np.array([5, 6, 7, 2, 9, 9, 10]))
    assert found == [(5, 8), (2, 3), (9, 10), (9, 11)]
    assert runs(np.array([], dtype=np.int64)) == []


@pytest.mark.parametrize("indices", [range(3, 9), [7, 7, 0, 8], [], range(0, 9, 4)])
def test_rows_are_those_of_the_array(indices: range | list[int], tmp_path: Path) -> None:
    """Also of a file whose header does not end at a page."""
    held = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 7), dtype=np.uint8)
    np.save(tmp_path / "x.npy", held)
    read = Mapped(tmp_path / "x.npy").read(indices).numpy()
    assert np.array_equal(read, held[np.asarray(indices, dtype=np.int64)])


def cached(file: Path, place: int) -> bool:
    """Whether a byte of a file can be had without the disk."""
    with file.open("rb") as stream:
        try:
            return os.preadv(stream.fileno(), [bytearray(1)], place, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system does not say what is in memory")
def test_neighbours_of_a_row_stay_on_the_disk(tmp_path: Path) -> None:
    """Systems read 32 pages and more along unless they are told."""
    file, some = tmp_path / "rows.npy", ROWS // 2
    np.save(file, np.ones((ROWS, mmap.PAGESIZE), np.uint8))
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached(file, mmap.PAGESIZE):
        pytest.skip("this file system keeps all of a file in memory")
    Mapped(file).read([some])
    assert [cached(file, mmap.PAGESIZE * (some + away)) for away in (0, -20, 20)] == [True, False, False]
