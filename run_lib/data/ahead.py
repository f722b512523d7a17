"""Worker processes that read samples before they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from run_lib.data.forms import UnreadableError
from run_lib.data.rows import Rows
from run_lib.stopping import end_with_parent


@dataclass(frozen=True)
class Found:
    """Samples that were read, or why they were not.

    Attributes:
        images: the samples (B, ...).
        indices: theirs among all (B,); not those asked for, where these cannot be read.
        corrupt: samples that cannot be read and why, by their index.
        error: why nothing is here.
    """

    images: Tensor
    indices: np.ndarray
    corrupt: dict[int, str] = field(default_factory=dict)
    error: Exception | None = None

    def pin_memory(self) -> Found:
        """The same in memory that devices copy from."""
        return replace(self, images=self.images.pin_memory())


@dataclass(frozen=True)
class Reads(Dataset[Found]):
    """Reads samples in whichever process. What goes wrong is part of what is found: the main process says it.

    Attributes:
        rows: the samples.
        max_corrupt: how many may be unreadable; each is replaced by the next one that can be read.
    """

    rows: Rows
    max_corrupt: int = 0

    def __getitem__(self, indices: np.ndarray) -> Found:
        try:
            return Found(self.rows.read(indices), indices)
        except UnreadableError as error:
            return self._one_by_one(indices) if self.max_corrupt else _nothing(indices, error)
        except (ValueError, OSError) as error:
            return _nothing(indices, error)

    def _one_by_one(self, indices: np.ndarray) -> Found:
        images, read, corrupt = [], [], dict[int, str]()
        for wanted in indices.tolist():
            index = wanted
            while True:
                try:
                    images.append(self.rows.read([index]))
                    break
                except UnreadableError as error:
                    corrupt[index] = str(error)
                    if len(corrupt) > min(self.max_corrupt, len(self.rows) - 1):
                        return Found(torch.empty(0), indices, corrupt, error)
                    index = (index + 1) % len(self.rows)
            read.append(index)
        return Found(torch.cat(images), np.array(read), corrupt)


def _nothing(indices: np.ndarray, error: Exception) -> Found:
    return Found(torch.empty(0), indices, error=error)


class Ahead:
    """Samples in an order that is known before, read by worker processes.

    Args:
        reads: how they are read.
        order: the indices of each part, from the first to be taken on. It has no end, so the processes stay.
        workers: number of processes; 0: this one reads.
        device: to which the samples are copied. To a GPU the next part is copied while this one is computed.
    """

    def __init__(self, reads: Reads, order: Iterable[np.ndarray], workers: int, device: torch.device) -> None:
        many: dict[str, Any] = {"prefetch_factor": 2} if workers else {}
        loader = DataLoader(
            reads,
            batch_size=None,
            sampler=order,
            num_workers=workers,
            collate_fn=_as_it_is,
            worker_init_fn=_begin,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # torch's own stands where the step needs it
            **many,
        )
        self._iterator: Iterator[Found] | None = iter(loader)
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._next: tuple[Found, Tensor] | None = None

    def take(self) -> tuple[Found, Tensor]:
        """The next part, and its images on the device.

        Raises:
            RuntimeError: a process that reads has ended.
        """
        found, images = self._next or self._fetch()
        if self._copies is not None:
            here = torch.cuda.current_stream(self._device)
            here.wait_stream(self._copies)
            images.record_stream(here)
            self._next = self._fetch()
        return found, images

    def close(self) -> None:
        """End the processes."""
        self._iterator, self._next = None, None

    def _fetch(self) -> tuple[Found, Tensor]:
        assert self._iterator is not None, "it is closed"
        found = next(self._iterator)
        with torch.cuda.stream(self._copies):
            return found, found.images.to(self._device, non_blocking=True)


def _as_it_is(found: Any) -> Any:
    return found


def _begin(worker: int) -> None:
    end_with_parent()
