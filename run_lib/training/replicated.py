"""Processes that each have all weights of the network that they train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from run_lib.training.team import F, Several
from sde_lib.words import listed


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
class Replicated(Several):
    """Each process has all weights (``DistributedDataParallel``); gradients are averaged while they are computed."""

    _wrapped: nn.parallel.DistributedDataParallel | None = None
    _complete: bool = False

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
        if not last:
            return
        network = self._wrapped.module.network
        if not self._complete:
            named = network.named_parameters()
            if unused := [name for name, p in named if p.requires_grad and p.grad is None]:
                raise ValueError(
                    f"several processes train networks whose weights all take part in a step, and these do not: "
                    f"{listed(unused, 4)}. Freeze them with requires_grad_(False), or train in one process."
                )
            self._complete = True
        self._add_up(network)
