"""Group normalisation, and in how many groups each family of networks normalises."""

from __future__ import annotations

import math

from torch import nn


def group_norm(channels: int, groups: int, *, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018) with a learned scale and shift per channel.

    Raises:
        ValueError: the groups do not divide the channels.
    """
    if channels % groups:
        raise ValueError(
            f"{channels} channels cannot be normalised in {groups} groups; choose a width (times each "
            f"entry of channel_mult) that is a multiple of {groups}, or a norm_groups that divides {channels}."
        )
    return nn.GroupNorm(groups, channels, eps=eps)


def ddpm_norm(channels: int, groups: int = 32, *, eps: float = 1e-6) -> nn.GroupNorm:
    """Group normalisation as DDPM and NCSN++ have it: a small eps, and the largest number of groups that divides
    both ``groups`` and ``channels``."""
    return group_norm(channels, math.gcd(groups, channels), eps=eps)


def ncsnpp_norm(channels: int) -> nn.GroupNorm:
    """``ddpm_norm`` in NCSN++'s number of groups."""
    return ddpm_norm(channels, small_groups(channels))


def small_groups(channels: int) -> int:
    """NCSN++'s number of groups: at least four channels in each, at most 32 groups."""
    return max(1, min(channels // 4, 32))
