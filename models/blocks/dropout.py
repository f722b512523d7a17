"""Dropout whose masks are functions of the sample, not of the batch that it is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_lib.noise import Noise
from sde_lib.splitmix import words

_VALUES = 2**16
"""Of the integers that decide about an element: p is rounded to a multiple of 1 / 65536."""


class _Kept(torch.autograd.Function):
    """x times a scale where an element is kept, else 0.

    For the backward pass a byte of each element is stored, as torch's own dropout does. The products are of floats: on
    CPUs several times as fast as those with Booleans, or as filling under a mask.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return x * kept.to(x.dtype).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return grads[0] * kept.to(grads[0].dtype).mul_(ctx.scale), None, None


@final
class Dropout(nn.Module):
    """In training, each element is 0 with probability p and else divided by 1 - p (Srivastava et al. 2014).

    Within ``dropout_from`` an element's fate is a function of its sample's stream, its layer and its place (C, ...) in
    the sample: neither the rest of the batch nor a second evaluation, as of gradient checkpointing, changes it.
    Elsewhere torch's own generator decides.

    Args:
        p: in [0, 1).
    """

    keys: Tensor | None

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"a probability of dropout lies in [0, 1), got {p}.")
        self.p = p
        self.keys = None  # (B,), int64: of the samples' words in this layer

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.keys is None:
            return F.dropout(x, self.p)
        if len(self.keys) != len(x):
            raise ValueError(f"dropout for {len(self.keys)} samples was asked for a batch of {len(x)}.")
        dropped = min(round(self.p * _VALUES), _VALUES - 1)
        size = x[0].numel()
        # Each 64-bit word decides about four elements, in the order of memory where channels are last.
        kept = words(self.keys, -(-size // 4)).view(torch.int16)[:, :size] >= dropped - _VALUES // 2
        kept = kept.reshape(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)
        out: Tensor = _Kept.apply(x, kept, _VALUES / (_VALUES - dropped))
        return out


@contextmanager
def dropout_from(network: nn.Module, noise: Noise) -> Iterator[None]:
    """Within the block, forward and backward passes drop elements by the samples' streams, each layer by a draw.

    Args:
        network: every ``Dropout`` in it is a layer, in the order of its modules.
        noise: the streams of the batch that is evaluated.
    """
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for layer in layers:
        layer.keys = noise.key()
    try:
        yield
    finally:
        for layer in layers:
            layer.keys = None
