"""Paired comparison of settings under shared seeds: which is best, and which cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from run_lib.statistics import Interval, t_interval


@dataclass(frozen=True)
class Comparison:
    """Settings compared with the one of least mean loss.

    Attributes:
        best: index of the setting with the least mean loss.
        differences: intervals of each setting's loss less the best's, paired seed by seed, so that the noise that
            the seeds share cancels.
        equal: whether the interval of the difference contains zero, so that the setting cannot be told from the
            best. Each setting is tested on its own, without a correction for multiple comparisons.
    """

    best: int
    differences: tuple[Interval, ...]
    equal: tuple[bool, ...]


def compare(losses: np.ndarray, confidence: float) -> Comparison:
    """Compare settings by their losses (settings, repeats), the smaller the better, at a confidence in (0, 1).

    A setting of which a loss is not finite is never the best, nor equal to it; at least one other there must be.
    """
    losses = np.where(np.isfinite(losses), losses, np.nan)
    best = int(np.nanargmin(losses.mean(1)))
    differences = tuple(t_interval(row, confidence) for row in losses - losses[best])
    return Comparison(best, differences, tuple(d.mean <= d.half for d in differences))


def run_around(best: int, equal: Sequence[bool], order: Sequence[int]) -> list[int]:
    """The settings around the best, in the given order, that cannot be told from it, up to the first that can.

    Args:
        best: index of the best setting.
        equal: for each setting, whether it cannot be told from the best.
        order: indices of all settings, in the order of their values.
    """
    place = list(order).index(best)
    low = high = place
    while low > 0 and equal[order[low - 1]]:
        low -= 1
    while high < len(order) - 1 and equal[order[high + 1]]:
        high += 1
    return list(order[low : high + 1])
