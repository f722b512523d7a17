"""Attention in every precision, with gradients and without."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.blocks.attention import SingleHeadAttention, heads_attention, multihead_attention
from models.blocks.normalization import group_norm


class Precisions(TorchDispatchMode):
    """In which types the kernels of attention compute."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.startswith("_scaled_dot_product") and "backward" not in name:
            self.types.append(args[0].dtype)
        return func(*args, **(kwargs or {}))


def by_definition(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Vaswani et al. 2017, eq. 1, in float64."""
    q, k, v = q.double(), k.double(), v.double()
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / math.sqrt(q.shape[-1])
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return torch.einsum("bhnm,bhmd->bhnd", weights, v)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [9, 130])
def test_values_and_gradients_are_those_of_the_definition(positions: int, dtype: torch.dtype) -> None:
    inputs = [torch.randn(2, 3, positions, 8).to(dtype).requires_grad_() for _ in range(3)]
    found, wanted = heads_attention(*inputs), by_definition(*inputs)
    assert found.dtype is dtype
    close = 0.02 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.double(), wanted, rtol=close, atol=close)
    towards = torch.randn_like(wanted)
    gradients = (torch.autograd.grad((out.double() * towards).sum(), inputs) for out in (found, wanted))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=2 * close, atol=2 * close)


@pytest.mark.parametrize(
    ("positions", "learns", "computed"),
    [(16, True, torch.float32), (16, False, torch.bfloat16), (256, True, torch.bfloat16)],
)
def test_few_positions_are_attended_in_float32_where_gradients_may_be_asked_for(
    positions: int, learns: bool, computed: torch.dtype
) -> None:
    """Also within autocast, which would round them again."""
    side = math.isqrt(positions)
    x = torch.randn(1, 16, side, side)
    block = SingleHeadAttention(16, norm=group_norm(16, 4))
    qkv = torch.randn(1, positions, 24, dtype=torch.bfloat16)
    with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16), Precisions() as seen:
        block(x)
        out = multihead_attention(qkv, 2, heads_first=False)
    assert seen.types == [computed, computed]
    assert out.dtype is torch.bfloat16
