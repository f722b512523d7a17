"""Undoing a step without asking the device whether it must be undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.parts import own_part

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Kept:
    """Tensors as they are now, to be put back later where that is asked for on the device.

    Args:
        tensors: of any shapes, types and devices; changed in place afterwards.
    """

    @torch.no_grad()
    def __init__(self, tensors: Iterable[Tensor]) -> None:
        groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.device, tensor.dtype), []).append(own_part(tensor.detach()))
        self._groups: list[tuple[list[Tensor], list[Tensor]]] = []
        for held in groups.values():
            bits = [_bits(tensor) for tensor in held]
            copies = [torch.empty_like(part) for part in bits]
            if bits:
                torch._foreach_copy_(copies, bits)
            self._groups.append((bits, copies))

    @torch.no_grad()
    def put_back(self, where: Tensor) -> None:
        """Restore every tensor, bit for bit, if ``where`` (), bool, is true; otherwise change none of them."""
        for bits, copies in self._groups:
            # As integers, since NaN times zero is NaN: now + (before - now) * where, modulo 2^n. A few kernels for all
            # tensors, where a choice for each would be a kernel each.
            torch._foreach_sub_(copies, bits)
            torch._foreach_mul_(copies, where.to(device=bits[0].device, dtype=bits[0].dtype))
            torch._foreach_add_(bits, copies)
        self._groups = []


def _bits(tensor: Tensor) -> Tensor:
    """A view of a tensor's memory as integers."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    kind = _INTEGERS[tensor.element_size()]
    return tensor if tensor.dtype is kind else tensor.view(kind)


class KeptOptimizer:
    """An optimiser's weights and state as they are now, to be put back later where that is asked for on the device.

    Tensors that a step changes in place are put back on the device. What it changes otherwise (the first step of most
    optimisers makes their moments) is put back by the program, which waits for the device then.

    Args:
        optimizer: of any kind.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._state = {key: dict(held) for key, held in optimizer.state.items()}
        self._groups = [_settings(group) for group in optimizer.param_groups]
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        held = [value for part in (*self._state.values(), *self._groups) for value in part.values()]
        self._tensors = Kept([*weights, *(value for value in held if isinstance(value, Tensor))])

    def put_back(self, where: Tensor) -> None:
        """Restore everything if ``where`` (), bool, is true."""
        if not _seen_false(where):
            self._tensors.put_back(where)
        state, groups = self._optimizer.state, self._optimizer.param_groups
        same = state.keys() == self._state.keys() and all(
            _same(now, before)
            for now, before in (
                *((state[key], before) for key, before in self._state.items()),
                *((_settings(g), before) for g, before in zip(groups, self._groups, strict=True)),
            )
        )
        if not same and bool(where):
            state.clear()
            state.update(self._state)
            for group, before in zip(groups, self._groups, strict=True):
                group.update(before)


def _seen_false(where: Tensor) -> bool:
    """Whether a condition is false that lies in the processor's own memory, where nobody waits for it: to put nothing
    back by arithmetic costs more than Adam's step does."""
    return where.device.type == "cpu" and not where.numpy()


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _same(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether both hold the same tensors, whatever is in them, and equal values besides."""
    return now.keys() == before.keys() and all(
        now[name] is value or (not isinstance(value, Tensor) and now[name] == value)
        for name, value in before.items()
    )
