"""Moving averages of weights."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from models.parts import own_part, shared_like


class Average(abc.ABC):
    """A moving average of a module's parameters, by their names: average <- b average + (1 - b) weights.

    Args:
        module: what is averaged; only parameters that require a gradient.
    """

    def __init__(self, module: nn.Module) -> None:
        self.shadow = {name: p.detach().clone() for name, p in self._parameters(module)}
        devices = [average.device for average in self.shadow.values()]
        # On the device, because an update may turn out there to be none.
        self._updates = torch.zeros((), dtype=torch.float64, device=devices[0] if devices else None)

    @abc.abstractmethod
    def decay_at(self, updates: Tensor) -> Tensor:
        """b of the update of the given number, counted from 1: (), float64."""

    @staticmethod
    def _parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in module.named_parameters() if p.requires_grad)

    @property
    def num_updates(self) -> int:
        """Number of updates so far; to read it waits for the device."""
        return int(self._updates)

    @num_updates.setter
    def num_updates(self, count: int) -> None:
        self._updates.fill_(count)

    @torch.no_grad()
    def update(self, module: nn.Module, where: Tensor | None = None) -> None:
        """Move the average towards the module's present weights.

        Args:
            module: of the same parameters as the one that is averaged; its weights are finite.
            where: (), bool, on the parameters' device: whether to do so; otherwise neither the average nor the number
                of its updates changes. None: always.
        """
        moves = torch.ones_like(self._updates) if where is None else where.to(self._updates)
        self._updates += moves
        share = (1 - self.decay_at(self._updates)) * moves
        averages = [own_part(average) for average in self.shadow.values()]
        present = [own_part(p.detach()) for _, p in self._parameters(module)]
        torch._foreach_lerp_(averages, present, [share.to(average.dtype) for average in averages])

    @contextmanager
    def average(self, module: nn.Module) -> Iterator[None]:
        """A context in which the module has the averaged weights; afterwards it has its own again."""
        own = {name: p.detach().clone() for name, p in self._parameters(module)}
        self.copy_to(module, self.shadow)
        try:
            yield
        finally:
            self.copy_to(module, own)

    @staticmethod
    @torch.no_grad()
    def copy_to(module: nn.Module, weights: dict[str, Tensor]) -> None:
        """Write named weights into the module's parameters."""
        for name, p in Average._parameters(module):
            p.copy_(weights[name])

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` restores: the averages, and how many updates they have seen."""
        return {"num_updates": self.num_updates, "shadow": self.shadow}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved average; names and shapes must be those of the module.

        Raises:
            ValueError: the names differ; the first of them are listed.
        """
        differing = sorted(set(state["shadow"]) ^ set(self.shadow))
        if differing:
            raise ValueError(
                f"averaged weights of another architecture; differing names: {', '.join(differing[:5])}."
            )
        self.num_updates = int(state["num_updates"])
        for name, p in self.shadow.items():
            p.copy_(shared_like(state["shadow"][name], p))


@final
class EMA(Average):
    """An exponential moving average.

    With ``warmup`` the k-th update (k = 1, 2, ...) uses min(decay, (1 + k) / (10 + k)), so that the average
    forgets the initial weights; this is score_sde's rule.

    Args:
        module: what is averaged; only parameters that require a gradient.
        decay: in [0, 1).
        warmup: see above.

    >>> ema = EMA(network, decay=0.999)
    >>> ema.update(network)
    >>> with ema.average(network):
    ...     network(x, labels)
    """

    def __init__(self, module: nn.Module, decay: float, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"an EMA's decay lies in [0, 1), got {decay}.")
        super().__init__(module)
        self.decay, self.warmup = decay, warmup

    def decay_at(self, updates: Tensor) -> Tensor:
        decay = torch.full_like(updates, self.decay)
        return decay.minimum((1 + updates) / (10 + updates)) if self.warmup else decay

    def state_dict(self) -> dict[str, Any]:
        return {"decay": self.decay, **super().state_dict()}
