"""Points that people learn with, drawn from densities that are known."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from run_lib.data.sources import register_dataset
from run_lib.data.split import Arrays
from sde_lib.densities import Checkerboard, Curve, Density, GaussianModes, NoisyCurves
from sde_lib.noise import Noise
from sde_lib.settings import Range

Deviation = Annotated[float, Range(above=0)]
Draws = Annotated[int, Range(least=1, most=10**8)]
Count = Annotated[int, Range(least=1, most=10**4)]


def _drawn(density: Density, split: str, num_draws: int, names: tuple[str, ...] = ()) -> Arrays:
    """So many draws; those of the two splits are others, and neither depends on ``config.seed``."""
    found = density.draw(Noise({"train": -1, "test": -2}[split], range(num_draws)))
    return Arrays(found.x, found.labels, names, density)


@register_dataset(name="two_moons")
def two_moons(split: str, noise: Deviation = 0.1, num_draws: Draws = 10_000) -> Arrays:
    """Two interleaved half-circles of radius 1 in the plane, as scikit-learn's ``make_moons``; the class is the moon.

    Args:
        noise: standard deviation of the noise about the half-circles.
        num_draws: number of points in each split.
    """

    def upper(u: Tensor) -> Tensor:
        return torch.stack([torch.cos(math.pi * u), torch.sin(math.pi * u)], 1)

    def lower(u: Tensor) -> Tensor:
        return torch.stack([1 - torch.cos(math.pi * u), 0.5 - torch.sin(math.pi * u)], 1)

    return _drawn(NoisyCurves((upper, lower), noise), split, num_draws, ("upper", "lower"))


@register_dataset(name="swiss_roll")
def swiss_roll(split: str, noise: Deviation = 0.05, num_draws: Draws = 10_000) -> Arrays:
    """A spiral in the plane: scikit-learn's ``make_swiss_roll`` seen along its axis, a tenth as large.

    Args:
        noise: standard deviation of the noise about the spiral.
        num_draws: number of points in each split.
    """

    def spiral(u: Tensor) -> Tensor:
        angle = 1.5 * math.pi * (1 + 2 * u)
        return 0.1 * angle[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], 1)

    return _drawn(NoisyCurves((spiral,), noise), split, num_draws)


@register_dataset(name="rings")
def rings(split: str, noise: Deviation = 0.05, num_rings: Count = 3, num_draws: Draws = 10_000) -> Arrays:
    """Circles about the origin, the largest of radius 1, as many points on each; the class is the circle.

    Args:
        noise: standard deviation of the noise about the circles.
        num_rings: number of circles, whose radii are 1 / num_rings apart.
        num_draws: number of points in each split.
    """

    def circle(radius: float) -> Curve:
        def points(u: Tensor) -> Tensor:
            return radius * torch.stack([torch.cos(2 * math.pi * u), torch.sin(2 * math.pi * u)], 1)

        return points

    circles = [circle((k + 1) / num_rings) for k in range(num_rings)]
    return _drawn(NoisyCurves(circles, noise), split, num_draws)


@register_dataset(name="checkerboard")
def checkerboard(
    split: str, squares: Annotated[int, Range(least=2, most=10**4)] = 4, num_draws: Draws = 10_000
) -> Arrays:
    """Uniform on the dark squares of a checkerboard on [-1, 1]^2.

    Args:
        squares: along a side, an even number.
        num_draws: number of points in each split.
    """
    return _drawn(Checkerboard(squares), split, num_draws)


@register_dataset(name="gaussian_modes")
def gaussian_modes(
    split: str,
    shape: tuple[int, ...],
    num_modes: Count = 8,
    spread: Deviation = 1.0,
    noise: Deviation = 0.2,
    num_draws: Draws = 10_000,
) -> Arrays:
    """A mixture of Gaussians in as many dimensions as ``data.shape`` has, its modes drawn once; the class is the mode.

    Args:
        num_modes: number of modes, each as likely.
        spread: standard deviation of the modes' centres about the origin.
        noise: standard deviation of each mode.
        num_draws: number of points in each split.
    """
    centres = Noise(-3, range(num_modes), dtype=torch.float64).normal((num_modes, math.prod(shape)))
    found = _drawn(GaussianModes(spread * centres, noise), split, num_draws)
    return Arrays(found.images.reshape(num_draws, *shape), found.labels, density=found.density)
