"""The batches of training steps: which samples each has, taken from memory or read before they are needed."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from run_lib.data.ahead import Ahead, Found, Reads
from run_lib.data.order import shuffled_rows
from run_lib.data.rows import Rows
from run_lib.data.split import Arrays, Split

Parts: TypeAlias = Sequence[range]
"""Rows of a step, some at a time."""
MOST_WORKERS = 8
SHARE = 8
"""Data go to a device as a whole, if they take at most one of so many parts of its free memory."""


@dataclass(frozen=True)
class Reading:
    """How training data are read.

    Attributes:
        num_workers: processes that read; None: one for each processor, at most 8, where reading is costly. Data in
            memory need none.
        max_corrupt: samples that may be unreadable. Each is named, and replaced by the next that can be read.
        cache: bytes up to which samples that have been read are kept in memory.
    """

    num_workers: int | None = None
    max_corrupt: int = 0
    cache: int = 2**30

    def workers(self, rows: Rows) -> int:
        """The number of processes that read some rows."""
        if self.num_workers is not None:
            return self.num_workers
        return min(MOST_WORKERS, os.cpu_count() or 1) if rows.costly else 0


@dataclass(frozen=True)
class Part:
    """Some rows of the batch of a training step."""

    step: int
    rows: range


class Batches:
    """The data of training steps. What a step sees is a function of (seed, step) alone.

    Samples in memory are taken as they are asked for. Others are read by worker processes, in the order in which
    steps ask for them; while there is room, they are kept.

    Args:
        split: the training data.
        seed: decides their order.
        batch_size: rows of a step.
        parts: rows of a step that are asked for at a time, in their order; none: all at once.
        device: to which they go.
        reading: how they are read.
    """

    def __init__(
        self,
        split: Split,
        seed: int,
        batch_size: int,
        *,
        parts: Parts = (),
        device: torch.device | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.split, self.seed, self.batch_size = split, seed, batch_size
        self._device = device or torch.device("cpu")
        self._parts = tuple(parts) or (range(batch_size),)
        self._reading = reading or Reading()
        self._whole = _placed(split.rows.whole, self._device)
        gains = split.rows.costly or self._device.type == "cuda"  # the system itself keeps what is mapped
        fits = self._whole is None and split.rows.bytes <= self._reading.cache
        self._kept = _Kept(split.rows) if fits and gains else None
        self._corrupt: dict[int, str] = {}
        self._ahead: Ahead | None = None
        self._expected: Iterator[Part] = iter(())

    def __len__(self) -> int:
        return len(self.split)

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def indices(self, step: int, rows: range | None = None) -> np.ndarray:
        """Which samples of the split are in some rows of a step's batch; in all of them unless given."""
        some = range(self.batch_size) if rows is None else rows
        return shuffled_rows(self.seed, step * self.batch_size + some.start, len(some), len(self.split))

    def take(self, step: int, rows: range) -> Arrays:
        """Some rows of the batch of a step: the images on the device, the labels on the CPU.

        Raises:
            ValueError: more samples than ``max_corrupt`` cannot be read; or some hold values that the data cannot
                have.
            RuntimeError: a process that reads has ended.
        """
        if self._whole is None and self._kept is not None and self._kept.full:
            self._whole = _placed(self._kept.images, self._device)
            self._end()
        if self._whole is None:
            return self._read(Part(step, rows))
        chosen = torch.from_numpy(self.indices(step, rows))
        images = self._whole[chosen.to(self._whole.device)]
        return Arrays(images.to(self._device), self.split.labels[chosen])

    def _read(self, part: Part) -> Arrays:
        if self._ahead is None or next(self._expected) != part:
            self._begin(part)
        assert self._ahead is not None
        found, images = self._ahead.take()
        self._look_at(found)
        if self._kept is not None and not found.corrupt:
            self._kept.add(found)
        return Arrays(images, self.split.labels[torch.from_numpy(found.indices)])

    def _begin(self, part: Part) -> None:
        """Read from some rows of a step on."""
        self._end()
        self._expected = self._from(part)
        next(self._expected)
        reads = Reads(self.split.rows, self._reading.max_corrupt)
        order = (self.indices(one.step, one.rows) for one in self._from(part))
        self._ahead = Ahead(reads, order, self._reading.workers(self.split.rows), self._device)

    def _end(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _from(self, first: Part) -> Iterator[Part]:
        """What steps ask for, from some rows of one on."""
        yield first
        for rows in self._parts:
            if rows.start >= first.rows.stop:
                yield Part(first.step, rows)
        for step in itertools.count(first.step + 1):
            for rows in self._parts:
                yield Part(step, rows)

    def _look_at(self, found: Found) -> None:
        """Name what cannot be read."""
        for index, reason in found.corrupt.items():
            if index not in self._corrupt:
                self._corrupt[index] = reason
                print(f"warning: left out: {reason}", file=sys.stderr)
        if len(self._corrupt) > self._reading.max_corrupt:
            reason = list(self._corrupt.values())[-1]
            raise ValueError(
                f"{len(self._corrupt)} samples cannot be read, and data.max_corrupt={self._reading.max_corrupt}: "
                f"{reason}"
            )
        if found.error is not None:
            raise found.error


class _Kept:
    """Samples that have been read."""

    def __init__(self, rows: Rows) -> None:
        self.images = torch.empty((len(rows), *rows.shape), dtype=rows.dtype)
        self._held = np.zeros(len(rows), bool)

    @property
    def full(self) -> bool:
        """Whether all are here."""
        return bool(self._held.all())

    def add(self, found: Found) -> None:
        self.images[torch.from_numpy(found.indices)] = found.images
        self._held[found.indices] = True


def _placed(whole: Tensor | None, device: torch.device) -> Tensor | None:
    """All samples, on the device if they fit there."""
    if whole is None or device.type != "cuda":
        return whole
    free, _ = torch.cuda.mem_get_info(device)
    return whole.to(device) if whole.numel() * whole.element_size() * SHARE <= free else whole
