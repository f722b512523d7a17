"""One evaluation by several processes: process ``rank`` of ``world_size`` computes every ``world_size``-th batch.

torch's launcher starts them, ``torchrun --nproc-per-node 4 main.py ...``. They share the work directory: each writes
the batches that it has computed to files, and reads those of the others. A process waits for the others only when its
own batches are done. A batch holds the same images however many processes there are, so no number depends on them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch.distributed

from run_lib.faults import MachineError


@dataclass(frozen=True)
class Processes:
    """The rank of this process and the number of all (the world size).

    Args:
        rank: 0 to ``world_size`` - 1. Rank 0 is the main process.
        world_size: number of processes.

    Raises:
        ValueError: the rank is out of range.
    """

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"RANK lies between 0 and WORLD_SIZE - 1, got {self.rank} and {self.world_size}."
            )

    @classmethod
    def from_environment(cls) -> Processes:
        """Rank and world size from torchrun's variables ``RANK`` and ``WORLD_SIZE``; one process without them."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes shared files and prints."""
        return self.rank == 0

    def own_batches(self, total: int) -> range:
        """Indices of the batches, out of ``total``, that this process computes: every ``world_size``-th."""
        return range(self.rank, total, self.world_size)

    def barrier(self) -> None:
        """Wait until every process has come here.

        Raises:
            MachineError: another one has ended.
        """
        if self.world_size > 1:
            try:
                torch.distributed.barrier()
            except RuntimeError as error:  # as the library calls it, "Connection closed by peer" and the like
                raise MachineError(
                    "another process of this evaluation has ended before its share was done; its own message says "
                    "why. The same command goes on after the batches that are done."
                ) from error

    @contextlib.contextmanager
    def process_group(self) -> Iterator[None]:
        """Join the process group, and leave it at the end of the block; within it only rank 0 prints."""
        if self.world_size == 1:
            yield
            return
        torch.distributed.init_process_group(
            "gloo", rank=self.rank, world_size=self.world_size, timeout=datetime.timedelta(days=7)
        )
        try:
            with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
                if not self.is_main:
                    stack.enter_context(contextlib.redirect_stdout(nowhere))
                yield
        finally:
            torch.distributed.destroy_process_group()


def refuse_several(mode: str, many_processes: bool) -> None:
    """Refuse to run a mode in several processes that would all do the same work.

    Args:
        mode: name of the mode, for the message.
        many_processes: whether the mode divides its work among processes.

    Raises:
        ValueError: several processes were launched, and the mode does not divide its work.
    """
    world_size = Processes.from_environment().world_size
    if world_size > 1 and not many_processes:
        raise ValueError(
            f"--mode {mode} runs in one process, and WORLD_SIZE={world_size} were launched: start it without torchrun. "
            f"--mode eval shares its batches among them."
        )
