"""One random stream for each sample, the same on every device, in every batch and on every rank.

A stream is a SplitMix64 sequence (Steele, Lea, Flood 2014) that starts at a hash of (seed, sample index,
draw number). Element j of draw k of sample i is therefore a function of (seed, i, k, j) alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sde_lib import box_muller
from sde_lib.splitmix import GAMMA, MIX_1, MIX_2, mix, shift, signed, words

_BRANCHES = signed(MIX_2 * pow(MIX_1, -1, 1 << 64))  # what makes k MIX_2 of k MIX_1


class Noise:
    """The random streams of a batch of samples, one for each.

    Successive calls give independent values, and the k-th call gives a sample the same value whatever the other
    samples of its batch.

    Values are made on ``device``, and nothing is drawn on the CPU and moved. Words, uniform numbers, signs, integers
    and strata are integer arithmetic, the same bits on every device; ``normal`` takes a logarithm and a cosine in
    float64 and is the same to the rounding of its type. torch's own generators are not used.

    Args:
        seed: any integer of at most 63 bits.
        indices: the samples' global indices, (B,): a range or an int64 tensor.
        device: where values are made.
        dtype: their floating-point type; the values themselves are the same to rounding.
        part: (first, total), where these samples are those from place ``first`` on of a batch of ``total`` that is
            taken in parts; None: they are the whole batch. Only ``strata`` depends on it.
    """

    def __init__(
        self,
        seed: int,
        indices: Sequence[int] | Tensor,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        part: tuple[int, int] | None = None,
    ) -> None:
        rows = torch.as_tensor(indices, dtype=torch.int64, device=device)
        self.dtype = dtype
        self._first, self._total = (0, len(rows)) if part is None else part
        self._keys = mix(mix(torch.full_like(rows, signed(seed)) * GAMMA + 1) + rows * GAMMA)
        self._restart()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def device(self) -> torch.device:
        """Where the numbers are drawn, and lie."""
        return self._keys.device

    def _restart(self) -> None:
        # keys + draws MIX_1. The number of draws is counted in a tensor, not in Python: a compiled function holds for
        # the numbers of Python that it was traced with, and would be compiled anew at every draw.
        self._at = self._keys

    def key(self) -> Tensor:
        """What the ``words`` of the next draw are made from: (B,), int64."""
        return mix(self._next())

    def _next(self) -> Tensor:
        """What the next draw's ``key`` is mixed from, (B,)."""
        self._at = self._at + MIX_1
        return self._at

    def bits(self, count: int) -> Tensor:
        """The next ``count`` 64-bit words of every stream: (B, count), int64."""
        return words(self.key(), count)

    def branch(self) -> Noise:
        """Independent streams, at the price of one draw: for work whose number of draws depends on the values."""
        branch = copy.copy(self)
        branch._keys = mix(self._keys + (self._next() - self._keys) * _BRANCHES)
        branch._restart()
        return branch

    def at(self, places: Tensor) -> list[Noise]:
        """Independent streams for integer ``places`` of each sample, (L, B), L times; equal places give equal draws."""
        keys = mix(mix(self._keys + MIX_2) + places * GAMMA)
        found = [copy.copy(self) for _ in range(len(places))]
        for there, of_place in zip(found, keys.unbind(), strict=True):
            there._keys = of_place
            there._restart()
        return found

    def _size(self, shape: Sequence[int]) -> int:
        if shape[0] != len(self):
            raise ValueError(
                f"noise for {len(self)} samples was asked for a batch of {shape[0]}; make one per batch."
            )
        return math.prod(shape[1:])

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform on [0, 1), shape (B, ...): as many bits as the type holds, so that none rounds to one."""
        digits = 1 - round(math.log2(torch.finfo(self.dtype).eps))
        words = shift(self.bits(self._size(shape)), 64 - digits)
        return (words.double() * 2.0**-digits).to(self.dtype).reshape(tuple(shape))

    def strata(self) -> Tensor:
        """Uniform on [0, 1), one sample of the batch in each of as many equal intervals, (B,), float64."""
        places = self._first + torch.arange(len(self), device=self.device)
        return (places + self.uniform((len(self), 1))[:, 0].double()) / self._total

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal, shape (B, ...), by Box-Muller: two values from each 64-bit word."""
        size = self._size(shape)
        return box_muller.normal(self._next(), size, self.dtype).reshape(tuple(shape))

    def rademacher(self, shape: Sequence[int]) -> Tensor:
        """-1 or +1 with equal probability, shape (B, ...)."""
        words = self.bits(self._size(shape))
        return (shift(words, 63) * 2 - 1).to(self.dtype).reshape(tuple(shape))

    def integers(self, high: int) -> Tensor:
        """Uniform on {0, ..., high - 1}, (B,), int64."""
        u = shift(self.bits(1)[:, 0], 11).double() * 2.0**-53
        return (u * high).long().clamp(max=high - 1)
