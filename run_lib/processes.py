"""Several processes on one evaluation: each takes every n-th batch, and none waits but for the last to finish.

They are started by torch's launcher, ``torchrun --nproc-per-node 4 main.py ...``, and share the work directory:
what one process computes, another reads from its file. A batch has the same images however many processes
there are, so no number depends on them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch.distributed


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ValueError(f"RANK lies between 0 and WORLD_SIZE - 1, got {self.rank} and {self.count}.")

    @classmethod
    def of_launcher(cls) -> Processes:
        """As torchrun says in the environment; one process without it."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def leads(self) -> bool:
        """Whether it writes what all share, and speaks."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """Of ``total`` batches, those of this process."""
        return range(self.rank, total, self.count)

    def wait(self) -> None:
        """For all the others to come here."""
        if self.count > 1:
            torch.distributed.barrier()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Meet the others, and leave with them; only the first prints."""
        if self.count == 1:
            yield
            return
        torch.distributed.init_process_group(
            "gloo", rank=self.rank, world_size=self.count, timeout=datetime.timedelta(days=7)
        )
        try:
            with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
                if not self.leads:
                    stack.enter_context(contextlib.redirect_stdout(nowhere))
                yield
        finally:
            torch.distributed.destroy_process_group()


def refuse_several(mode: str, many_processes: bool) -> None:
    """A mode that one process does alone must not be started by several, which would all do the same.

    Raises:
        ValueError: they were.
    """
    count = Processes.of_launcher().count
    if count > 1 and not many_processes:
        raise ValueError(
            f"--mode {mode} runs in one process, and WORLD_SIZE={count} were launched: start it without torchrun. "
            f"--mode eval shares its batches among them."
        )
