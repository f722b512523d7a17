"""Several processes that train one network, each with all of its weights or with a part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from losses.base import Losses
from run_lib.files import write_tensors
from run_lib.processes import Processes
from run_lib.training.team import F, Team
from run_lib.training.watch import Batch
from sde_lib.words import listed


def make_team(processes: Processes) -> Team:
    """The processes of this run."""
    return Team(processes) if processes.world_size == 1 else Replicated(processes)


class _Calls(nn.Module):
    """A function that evaluates a network, as a module whose parameters are the network's.

    It shows no buffers, which would be sent around at every evaluation: they are the same everywhere.
    """

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]:
        return iter(())


@dataclass
class Replicated(Team):
    """Each process has all weights (``DistributedDataParallel``); gradients are averaged while they are computed."""

    _wrapped: nn.parallel.DistributedDataParallel | None = None
    _complete: bool = False

    def take(self, network: nn.Module) -> None:
        norms = [n for n, m in network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if norms:
            raise ValueError(
                f"a network with batch normalisation ({listed(norms, 4)}) depends on how a batch is shared out: train "
                f"it in one process, or take another normalisation, such as GroupNorm."
            )

    def evaluator(self, network: nn.Module, function: F) -> F:
        if self._wrapped is None:
            self._wrapped = nn.parallel.DistributedDataParallel(
                _Calls(network, function), gradient_as_bucket_view=True
            )
        return self._wrapped  # type: ignore[return-value]

    @contextmanager
    def reducing(self, last: bool) -> Iterator[None]:
        assert self._wrapped is not None, "what is reduced has been evaluated"
        with nullcontext() if last else self._wrapped.no_sync():
            yield
        if last and not self._complete:
            named = self._wrapped.module.network.named_parameters()
            if unused := [name for name, p in named if p.requires_grad and p.grad is None]:
                raise ValueError(
                    f"several processes train networks whose weights all take part in a step, and these do not: "
                    f"{listed(unused, 4)}. Freeze them with requires_grad_(False), or train in one process."
                )
            self._complete = True

    def joined(self, batch: Batch, places: Sequence[int], total: int) -> Batch:
        losses = batch.losses
        columns = [losses.values, losses.t, batch.data]
        columns += [] if losses.weights is None else [losses.weights]
        table = torch.zeros(total, len(columns), dtype=torch.float64, device=losses.values.device)
        table[list(places)] = torch.stack([column.double() for column in columns], dim=1)
        dist.all_reduce(table)  # of each row there is one summand that is not 0
        found = [part.to(column.dtype) for part, column in zip(table.unbind(1), columns, strict=True)]
        joined = Losses(found[0], found[1], None if losses.weights is None else found[3])
        return replace(batch, losses=joined, data=found[2])

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        if self.is_main:
            write_tensors(path, dict(content))
        self._meet(0)  # the file is there when anybody goes on

    @property
    def heard(self) -> Callable[[int], int] | None:
        return self._meet

    @contextmanager
    def main_first(self) -> Iterator[None]:
        if not self.is_main:
            self._meet(0)
        yield
        if self.is_main:
            self._meet(0)

    def _meet(self, number: int) -> int:
        """Wait for all processes; the largest of their numbers."""
        numbers = torch.tensor(number)  # on the CPU: no device is waited for
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)
