"""Several processes of one run, which torch's launcher starts: ``torchrun --nproc-per-node 4 main.py ...``.

They share the work directory. In training each takes a share of the rows of every step. In other work each computes
every ``world_size``-th batch, writes it to a file, and reads those of the others; it waits for them only when its own
batches are done. A batch holds the same images however many processes there are, so no number depends on them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch.distributed

from run_lib.faults import MachineError

_ENDED = (
    "another process of this run has ended before its share was done; its own message, if it has left one, says why. "
    "The same command goes on after what is done."
)
_EXCHANGE = re.compile(r"gloo|NCCL|Connection (closed|reset)|Broken pipe")
"""In an error of the library's, when it cannot reach another process."""
_PATIENCE = datetime.timedelta(days=7)
"""For one that is alive: it may draw samples, or write to a slow disk."""


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

    def share(self, rows: range) -> range:
        """The part of some rows that this process takes, between those of its neighbours; it may be empty."""
        first, last = (rows.start + len(rows) * k // self.world_size for k in (self.rank, self.rank + 1))
        return range(first, last)

    def barrier(self) -> None:
        """Wait until every process has come here.

        Raises:
            MachineError: another one has ended.
        """
        if self.world_size > 1:
            try:
                torch.distributed.barrier()
            except RuntimeError as error:  # as the library calls it, "Connection closed by peer" and the like
                raise MachineError(_ENDED) from error

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """A block that the main process has left when the others enter it.

        Raises:
            MachineError: another process has ended.
        """
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    @contextlib.contextmanager
    def notes_once(self) -> Iterator[None]:
        """A block in which all processes have the same notes to make, and the main one alone makes them."""
        with contextlib.ExitStack() as stack:
            if not self.is_main:
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield

    @contextlib.contextmanager
    def process_group(self, device: torch.device | None = None) -> Iterator[None]:
        """Join the process group, and leave it at the end of the block; within it only rank 0 prints.

        A block within such a block goes on with its group.

        Args:
            device: from whose memory tensors are exchanged too; None: from the CPU's alone.

        Raises:
            MachineError: another process has ended.
        """
        if self.world_size == 1 or torch.distributed.is_initialized():
            yield
            return
        gpu = device is not None and device.type == "cuda"
        if gpu:
            torch.cuda.set_device(device)
        try:
            torch.distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if gpu else "gloo",
                store=self._store(),
                rank=self.rank,
                world_size=self.world_size,
                timeout=_PATIENCE,
            )
            with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
                if not self.is_main:
                    stack.enter_context(contextlib.redirect_stdout(nowhere))
                yield
        except RuntimeError as error:
            if isinstance(error, torch.distributed.DistError) or _EXCHANGE.search(str(error)):
                raise MachineError(_ENDED) from error
            raise
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()

    def _store(self) -> torch.distributed.Store:
        """By which processes find each other: that of torch's launcher, which may outlive a start of them all."""
        found = torch.distributed.rendezvous("env://", self.rank, self.world_size, timeout=_PATIENCE)
        return torch.distributed.PrefixStore(f"score-pc/{_start()}", next(found)[0])


def first_to_say(line: str) -> bool:
    """Whether no other process of this run has said a line: what ends all of them is said once.

    They tell each other through the store of torch's launcher, which outlives them; without it each speaks.
    """
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if Processes.from_environment().world_size == 1 or not host or not port:
        return True
    try:
        store = torch.distributed.TCPStore(host, int(port), timeout=datetime.timedelta(seconds=10))
        return store.add(f"score-pc/{_start()}/{line}", 1) == 1
    except (RuntimeError, ValueError):  # it has ended too
        return True


def _start() -> str:
    """How often torch's launcher has started the processes again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


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
            f"docs/processes.md has the modes that share their work."
        )
