"""Standard normal values from 64-bit words by Box-Muller, two from each word.

On a CPU the parts of the formula are so cheap that most of the time would go into passes over the memory: there the
chain runs in place, over blocks that stay in a core's cache. Every element meets the same operations, so that the
bits are those of ``_formula``. The blocks are an operator of torch's: ``torch.compile`` takes them as one call.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sde_lib.fused import fused
from sde_lib.splitmix import GAMMA, MIX_1, MIX_2, mix, shift, words

BLOCK = 3 << 13
"""Words of a block at most; its three buffers take 576 KiB."""

_UNIT = np.uint64(0x4130000000000000)  # the bits of 2^20, whose last place is worth 2^-32
_LESS = 2.0**20 - 2.0**-33
_LOW = np.uint64(0xFFFFFFFF)
_GAMMA, _MIX_1, _MIX_2 = (np.uint64(n % (1 << 64)) for n in (GAMMA, MIX_1, MIX_2))
_27, _30, _31, _32 = (np.uint64(n) for n in (27, 30, 31, 32))


def normal(states: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """(B, size) values of streams in ``states`` (B,), whose draws have the keys ``mix(states)``.

    They are r cos a of (size + 1) // 2 words of each key and then r sin a, with r = sqrt(-2 log u) and a = 2 pi v: u
    and v are the upper and the lower half of a word, centred in their cells (Box & Muller 1958). The formula is
    evaluated in float64 and rounded to ``dtype``.
    """
    if states.device.type == "cpu":
        values: Tensor = torch.ops.score_pc.normal.default(states, size, dtype)
        return values
    return _formula(states, size, dtype)


@fused
def _formula(states: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    w = words(mix(states), (size + 1) // 2)
    radius = torch.sqrt(-2 * torch.log((shift(w, 32).double() + 0.5) * 2.0**-32))
    angle = ((w & 0xFFFFFFFF).double() + 0.5) * (2 * math.pi * 2.0**-32)
    return torch.cat([(radius * angle.cos()).to(dtype), (radius * angle.sin()).to(dtype)], dim=1)[:, :size]


class _Block:
    """The formula on a block of ``rows`` times ``columns`` words, in place in three buffers.

    numpy has logical shifts, twice torch's speed in products of 64-bit integers and views for a tenth of the time; the
    functions are torch's.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.shape = rows, columns
        self._radius, self._angle, self._sine = torch.empty(
            3, rows * columns, dtype=torch.float64, device="cpu"
        )
        self._floats = [part.numpy() for part in (self._radius, self._angle, self._sine)]
        self._words = [part.view(np.uint64) for part in self._floats[:2]]

    def __call__(self, keys: np.ndarray, counter: np.ndarray, cosines: np.ndarray, sines: np.ndarray) -> None:
        """r cos a and r sin a of keys (rows,) and counters (columns,); of the sines as many columns as there are."""
        (w, v), (radius, angle, sine) = self._words, self._floats
        np.add(keys[:, None], counter, w.reshape(self.shape))
        for bits, factor in ((_30, _MIX_1), (_27, _MIX_2)):
            np.right_shift(w, bits, v)
            np.bitwise_xor(w, v, w)
            np.multiply(w, factor, w)
        np.right_shift(w, _31, v)
        np.bitwise_xor(w, v, w)
        np.bitwise_and(w, _LOW, v)
        np.right_shift(w, _32, w)
        for half, number in ((w, radius), (v, angle)):
            # As the last bits of a number near 2^20, a half n is n 2^-32: (n + 1/2) 2^-32 without a conversion.
            np.bitwise_or(half, _UNIT, half)
            np.subtract(number, _LESS, number)
        self._radius.log_()
        np.multiply(radius, -2.0, radius)
        self._radius.sqrt_()
        np.multiply(angle, 2 * math.pi, angle)
        torch.sin(self._angle, out=self._sine)
        self._angle.cos_()
        radius, angle, sine = (part.reshape(self.shape) for part in (radius, angle, sine))
        np.multiply(radius, angle, cosines, casting="same_kind")
        whole = slice(sines.shape[1])
        np.multiply(radius[:, whole], sine[:, whole], sines, casting="same_kind")


def _in_blocks(states: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    batch, half = len(states), (size + 1) // 2
    # numpy knows no shorter type of ours than float32.
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    out = torch.empty(batch, size, dtype=kind, device="cpu")
    values, block = out.numpy(), None
    keys, counter = mix(states).numpy().view(np.uint64), np.arange(1, half + 1, dtype=np.uint64) * _GAMMA
    for columns in _parts(half, BLOCK):
        for rows in _parts(batch, BLOCK // (columns.stop - columns.start)):
            shape = rows.stop - rows.start, columns.stop - columns.start
            if block is None or block.shape != shape:
                block = _Block(*shape)
            to, sines = values[rows], slice(half + columns.start, half + columns.stop)
            block(keys[rows], counter[columns], to[:, columns], to[:, sines])
    return out.to(dtype)


def _parts(count: int, most: int) -> list[slice]:
    """``count`` places in as few runs of at most ``most`` as there can be, and equal but for the last."""
    length = math.ceil(count / math.ceil(count / most)) if count else 1
    return [slice(first, min(first + length, count)) for first in range(0, count, length)]


def _shaped(states: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return states.new_empty(len(states), size, dtype=dtype)


_OPERATORS = torch.library.Library("score_pc", "FRAGMENT")
_OPERATORS.define("normal(Tensor states, int size, ScalarType dtype) -> Tensor")
_OPERATORS.impl("normal", _in_blocks, "CPU")
torch.library.register_fake("score_pc::normal", _shaped, lib=_OPERATORS)
