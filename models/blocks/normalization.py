"""Group normalisation, and in how many groups each family of networks normalises."""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HALF = (torch.bfloat16, torch.float16)
_NARROW, _FEW = 16, 1024
"""Channels of a group, and positions, below which a CPU's kernel for channels that lie last, in half precision, goes
value by value."""


@final
class GroupNorm(nn.Module):
    """Group normalisation (Wu & He 2018, eq. 1-6), ``gamma (x - mean) / sqrt(var + eps) + beta``.

    Mean and biased variance are of a group's channels at all positions of a sample; gamma and beta are learned for each
    channel. It is ``torch.nn.GroupNorm`` in memory formats that the device is quick in: on a CPU, narrow groups in half
    precision are normalised with the channels before the positions where there are few positions, at a quarter to a
    half of the time (the two copies count), or where a backward pass may follow, at a quarter to four fifths. Of many
    positions the forward pass alone takes a tenth without the copies. Features leave as they came, with the channels
    last or not.

    Args:
        groups: that the channels are divided into.
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, groups: int, channels: int, *, eps: float) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.width = channels // groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, h: Tensor) -> Tensor:
        # A compiler makes a kernel of its own, for which the copies would be nothing but copies.
        if torch.compiler.is_compiling() or not self._slow(h):
            return self._normalised(h)
        return self._normalised(h.contiguous()).movedim(1, -1).contiguous().movedim(-1, 1)

    def _slow(self, h: Tensor) -> bool:
        narrow = self.width < _NARROW and h.dtype in _HALF
        by_value = h.requires_grad or h.shape[2:].numel() < _FEW
        return narrow and by_value and h.device.type == "cpu" and not h.is_contiguous()

    def _normalised(self, h: Tensor) -> Tensor:
        return F.group_norm(h, self.groups, self.weight, self.bias, self.eps)


def group_norm(channels: int, groups: int, *, eps: float = 1e-5) -> GroupNorm:
    """Group normalisation (Wu & He 2018) with a learned scale and shift per channel.

    Raises:
        ValueError: the groups do not divide the channels.
    """
    if channels % groups:
        raise ValueError(
            f"{channels} channels cannot be normalised in {groups} groups; choose a width (times each "
            f"entry of channel_mult) that is a multiple of {groups}, or a norm_groups that divides {channels}."
        )
    return GroupNorm(groups, channels, eps=eps)


def ddpm_norm(channels: int, groups: int = 32, *, eps: float = 1e-6) -> GroupNorm:
    """Group normalisation as DDPM and NCSN++ have it: a small eps, and the largest number of groups that divides
    both ``groups`` and ``channels``."""
    return group_norm(channels, math.gcd(groups, channels), eps=eps)


def ncsnpp_norm(channels: int) -> GroupNorm:
    """``ddpm_norm`` in NCSN++'s number of groups."""
    return ddpm_norm(channels, small_groups(channels))


def small_groups(channels: int) -> int:
    """NCSN++'s number of groups: at least four channels in each, at most 32 groups."""
    return max(1, min(channels // 4, 32))
