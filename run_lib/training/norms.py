"""Norms of many tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def norms_of(tensors: Sequence[Tensor], order: float) -> Tensor:
    """The norm of each tensor, none of them empty: (T,); NaN of one that holds a NaN."""
    if order == math.inf and all(t.device.type == "cpu" and not t.is_complex() for t in tensors):
        # A CPU's kernel of this order goes value by value, which takes five times as long as both ends do.
        ends = torch.stack([torch.stack(torch.aminmax(t)) for t in tensors])
        return ends.abs().amax(dim=1)
    return torch.stack(torch._foreach_norm(list(tensors), order))
