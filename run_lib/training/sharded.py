"""Processes that each keep a part of the weights, their averages and the optimiser's moments (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor.experimental import implicit_replication

from models.base import Network
from models.parts import is_shared, own_part, shared_like, whole
from run_lib.training.team import F, Several


@dataclass
class Sharded(Several):
    """Each process keeps a part of every weight, and gathers a block's weights while it evaluates the block.

    The blocks are those of the network's ``ModuleList``s; what lies outside of them is gathered together. Numbers, and
    weights that are read outside of the network's ``forward``, are in every process whole.
    """

    _network: nn.Module | None = None

    def take(self, network: Network, apart: Iterable[nn.Parameter] = ()) -> None:
        super().take(network)
        # Parts are cut along the first dimension, in memory too.
        network.to(memory_format=torch.contiguous_format)
        device = next(network.parameters()).device
        mesh = init_device_mesh(device.type, (self.size,))
        kept = {*apart, *(p for p in network.parameters() if not p.ndim)}
        for part in [*_blocks(network), network]:
            fully_shard(part, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
        network.keeps_nothing = False  # gathered weights stay for evaluations with gradients
        self._network = network

        def share(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
            for name, held in module.state_dict().items():
                if name in state:
                    state[name] = shared_like(state[name], held)

        network.register_load_state_dict_pre_hook(share)

    def evaluator(self, network: nn.Module, function: F) -> F:
        return function

    @contextmanager
    def reducing(self, last: bool) -> Iterator[None]:
        assert isinstance(self._network, FSDPModule), "it is taken before it is evaluated"
        self._network.set_requires_gradient_sync(last)
        yield
        if last:
            self._add_up(self._network)

    def norms(self, tensors: Sequence[Tensor], order: float) -> Tensor:
        # A process without any of a tensor has no largest value of it either; of a whole one, one process counts.
        parts = [
            part if part.numel() and (self.is_main or is_shared(tensor)) else part.new_zeros(1)
            for tensor, part in ((tensor, own_part(tensor)) for tensor in tensors)
        ]
        own = super().norms(parts, order)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return torch.linalg.vector_norm(torch.stack(found), order, dim=0)

    def _add_up(self, network: nn.Module) -> None:
        found = [p.grad for p in network.parameters() if p.grad is not None]
        torch._foreach_mul_([own_part(g) for g in found if is_shared(g)], float(self.size))
        for gradient in found:
            if not is_shared(gradient):
                dist.all_reduce(gradient)

    def stepping(self) -> AbstractContextManager[object]:
        return implicit_replication()  # of those that are whole, beside parts of the others

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        super().write(path, self._gathered(content))

    def _gathered(self, held: Any) -> Any:
        """The same with whole tensors, of which the main process keeps a copy on the CPU."""
        if isinstance(held, Mapping):
            return {key: self._gathered(value) for key, value in held.items()}
        if isinstance(held, Tensor):
            found = whole(held)
            return found.cpu() if self.is_main else None
        return held


def _blocks(network: nn.Module) -> list[nn.Module]:
    """What is gathered at a time, inner before outer: the elements of lists that have weights and are called."""
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    found = [part for held in lists for part in held if not isinstance(part, nn.ModuleList | nn.ModuleDict)]
    return [part for part in dict.fromkeys(reversed(found)) if any(True for _ in part.parameters())]
