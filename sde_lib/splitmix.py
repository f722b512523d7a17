"""SplitMix64 (Steele, Lea, Flood 2014) on tensors: 64-bit words as a function of a key and a counter."""

from __future__ import annotations

import torch
from torch import Tensor


def signed(n: int) -> int:
    """The signed 64-bit integer congruent to ``n``: torch's wrapping arithmetic knows no other."""
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


GAMMA = signed(0x9E3779B97F4A7C15)  # the golden ratio's odd increment
MIX_1 = signed(0xBF58476D1CE4E5B9)
MIX_2 = signed(0x94D049BB133111EB)


def shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of signed 64-bit integers."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 (wrapping): a bijection that scrambles every bit."""
    z = (z ^ shift(z, 30)).mul_(MIX_1)
    z = z.bitwise_xor_(shift(z, 27)).mul_(MIX_2)
    return z.bitwise_xor_(shift(z, 31))


def words(keys: Tensor, count: int) -> Tensor:
    """The first ``count`` 64-bit words of each key (B,): (B, count), int64."""
    counter = torch.arange(1, count + 1, device=keys.device)
    return mix(keys[:, None] + counter * GAMMA)
