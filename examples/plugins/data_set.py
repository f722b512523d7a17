"""A data set: two interleaved half-circles in the plane."""

import math
from typing import Annotated

import torch

from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset
from sde_lib import Noise, Range


@register_dataset
def moons(
    split: str, width: Annotated[float, Range(least=0)] = 0.05, count: Annotated[int, Range(least=2)] = 1000
):
    """Points of two half-circles of radius 1 with Gaussian noise; the class is the half-circle.

    Args:
        width: standard deviation of the noise.
        count: points of each split.
    """
    noise = Noise({"train": 1, "test": 2}[split], range(count))
    angle, label = math.pi * noise.uniform((count, 1))[:, 0], noise.integers(2)
    arc = torch.stack([angle.cos(), angle.sin() - 0.25], dim=1)
    flipped = torch.stack([1 - angle.cos(), 0.25 - angle.sin()], dim=1)
    points = torch.where(label[:, None] == 0, arc, flipped)
    return Arrays(points + width * noise.normal((count, 2)), label)
