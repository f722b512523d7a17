"""Who trains a network: one process, or several that evaluate a part of each step's rows."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.base import Network
from models.parts import own_part
from run_lib.files import write_tensors
from run_lib.processes import Processes
from run_lib.training.norms import norms_of
from run_lib.training.watch import Batch
from sde_lib.words import listed

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Team:
    """One process, which does everything itself. Several do more in the methods below, and the loop does not ask which.

    The batch of a step is that of one process: each process evaluates its rows of every microbatch, the gradient is
    that of all rows, and what is known of a row becomes known to all. So all decide alike.

    Attributes:
        processes: which of them this is.
    """

    processes: Processes = field(default_factory=Processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.processes.is_main

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.processes.world_size

    def rows(self, rows: range) -> range:
        """The share of this process of rows that are evaluated together; it may be empty."""
        return self.processes.share(rows)

    def evaluated(self, rows: range) -> range:
        """The rows that this process evaluates: its share, or the first row, in vain. All evaluate or none."""
        return self.rows(rows) or rows[:1]

    def take(self, network: Network, apart: Iterable[nn.Parameter] = ()) -> None:
        """Make the network the team's, before there are averages and an optimiser of its weights.

        Args:
            network: to be trained.
            apart: weights of it that are read outside of its ``forward``.
        """

    def evaluator(self, network: nn.Module, function: F) -> F:
        """The function, through which the gradients of the network become those of all processes.

        Args:
            network: the team's.
            function: evaluates it in training.
        """
        return function

    def reducing(self, last: bool) -> AbstractContextManager[object]:
        """A context for a forward and a backward pass.

        Args:
            last: of the step: after it the gradient is the sum of those of all processes.
        """
        return nullcontext()

    def add_up(self, learned: nn.Module) -> None:
        """Make the gradients of what a loss learns, which every process has whole, those of all processes."""

    def joined(self, batch: Batch, places: Sequence[int], total: int) -> Batch:
        """What is known of all rows, of each from the process that has evaluated it.

        Args:
            batch: of this process's rows.
            places: theirs among all rows.
            total: number of all rows.
        """
        return batch

    def norms(self, tensors: Sequence[Tensor], order: float) -> Tensor:
        """The norm of each of some weights or gradients, (T,), of which this process may hold a part."""
        return norms_of(tensors, order)

    def stepping(self) -> AbstractContextManager[object]:
        """A context for what an optimiser does with all weights at once."""
        return nullcontext()

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write tensors to a file, whole or not at all."""
        write_tensors(path, dict(content))

    @property
    def heard(self) -> Callable[[int], int] | None:
        """Makes of the signal that this process was sent, or 0, one that any of them was sent; None: it is alone."""
        return None


@dataclass
class Several(Team, abc.ABC):
    """What processes have in common, whatever each of them keeps."""

    def take(self, network: Network, apart: Iterable[nn.Parameter] = ()) -> None:
        norms = [n for n, m in network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if norms:
            raise ValueError(
                f"a network with batch normalisation ({listed(norms, 4)}) depends on how a batch is shared out: train "
                f"it in one process, or take another normalisation, such as GroupNorm."
            )

    def _add_up(self, network: nn.Module) -> None:
        """Make a sum of a mean over processes. Losses as many times as large would be so in float16 too."""
        gradients = [own_part(p.grad) for p in network.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, float(self.size))

    def add_up(self, learned: nn.Module) -> None:
        for parameter in learned.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)

    def joined(self, batch: Batch, places: Sequence[int], total: int) -> Batch:
        losses = batch.losses
        columns = [batch.data, *losses.parts]
        table = torch.zeros(total, len(columns), dtype=torch.float64, device=losses.values.device)
        table[list(places)] = torch.stack([column.double() for column in columns], dim=1)
        dist.all_reduce(table)  # of each row there is one summand that is not 0
        found = iter([part.to(column.dtype) for part, column in zip(table.unbind(1), columns, strict=True)])
        return replace(batch, data=next(found), losses=losses.mapped(lambda _: next(found)))

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        if self.is_main:
            write_tensors(path, dict(content))
        self._meet(0)  # the file is there when anybody goes on

    @property
    def heard(self) -> Callable[[int], int] | None:
        return self._meet

    def _meet(self, number: int) -> int:
        """Wait for all processes; the largest of their numbers."""
        numbers = torch.tensor(number)  # on the CPU: no device is waited for
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)
