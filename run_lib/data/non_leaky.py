"""EDM's augmentation: geometric transformations of which the network is told, so that samples have none of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from run_lib.data.augmentation import Augmentation, Augmented, register_augmentation
from run_lib.data.warping import warp
from sde_lib.noise import Noise
from sde_lib.settings import Range

Strength = Annotated[float, Range(least=0, most=4)]


@register_augmentation(name="edm")
@dataclass(frozen=True)
class NonLeaky(Augmentation):
    """Mirrored, scaled, turned, stretched and moved images, each of these with a probability (Karras et al. 2022,
    appendix F.2), and nine numbers of what was done, which the network is told.

    An image is scaled by 2^(a z); turned by an angle; stretched by 2^(a z) along one direction, half of the time the
    horizontal one, and by its inverse across; moved; each z standard normal. The numbers are 1 or 0 for either mirror;
    z of the scale; cos - 1 and sin of the angle; z cos and z sin of the stretch and its direction; z of the move to the
    right and down.

    Args:
        augment_p: probability of each of the others but the mirrors left to right.
        augment_mirror: whether images are mirrored left to right with probability one half.
        augment_upside_down: whether they are mirrored top to bottom, with half of ``augment_p``.
        augment_scale: binary logarithm of the scale, its standard deviation; 0: none.
        augment_turn: the largest angle over half a turn, uniform; 0: none.
        augment_stretch: binary logarithm of the stretch, its standard deviation; 0: none.
        augment_move: of the size, standard deviation along each axis; 0: none.
    """

    augment_p: Annotated[float, Range(least=0, most=1)] = 0.12
    augment_mirror: bool = True
    augment_upside_down: bool = True
    augment_scale: Strength = 0.2
    augment_turn: Annotated[float, Range(least=0, most=1)] = 1.0
    augment_stretch: Strength = 0.2
    augment_move: Strength = 0.125

    num_labels: ClassVar[int] = 9
    of_values: ClassVar[bool] = True
    of_images: ClassVar[bool] = True

    def __call__(self, images: Tensor, noise: Noise) -> Augmented:
        count, (height, width) = len(images), images.shape[2:]
        coins = noise.uniform((count, 10))
        mirror = (coins[:, 0] < 0.5) & self.augment_mirror
        upside_down = (coins[:, 1] < self.augment_p) & (coins[:, 2] < 0.5) & self.augment_upside_down
        happens = coins[:, 3:7] < self.augment_p
        z = noise.normal((count, 4))
        scale, stretch, move = z[:, 0], z[:, 1], z[:, 2:]
        angles = math.pi * (2 * coins[:, 7:9] - 1)
        scale = torch.where(happens[:, 0] & (self.augment_scale > 0), scale, 0.0)
        turn = torch.where(happens[:, 1], self.augment_turn * angles[:, 0], 0.0)
        stretch = torch.where(happens[:, 2] & (self.augment_stretch > 0), stretch, 0.0)
        move = torch.where(happens[:, 3:] & (self.augment_move > 0), move, 0.0)
        along = torch.where(coins[:, 9] < 0.5, angles[:, 1], 0.0)

        inverse = (
            _stretched(-self.augment_scale * scale, -self.augment_scale * scale)
            @ _turned(-turn)
            @ _turned(along)
            @ _stretched(-self.augment_stretch * stretch, self.augment_stretch * stretch)
            @ _turned(-along)
        )
        shift = self.augment_move * move.flip(1) * torch.tensor([height, width], device=z.device)  # (y, x)
        offset = -(inverse @ shift[..., None])

        where = mirror[:, None, None, None]
        flipped = torch.where(where, images.flip(-1), images)
        flipped = torch.where(upside_down[:, None, None, None], flipped.flip(-2), flipped)
        moved = (scale != 0) | (turn != 0) | (stretch != 0) | (move != 0).any(1)
        warped = warp(flipped, torch.cat([inverse, offset], dim=2))
        labels = torch.stack(
            [
                mirror.to(z.dtype), upside_down.to(z.dtype), scale, turn.cos() - 1, turn.sin(),
                stretch * along.cos(), stretch * along.sin(), move[:, 0], move[:, 1],
            ],
            dim=1,
        )  # fmt: skip
        return Augmented(torch.where(moved[:, None, None, None], warped, flipped), labels)


def _turned(angle: Tensor) -> Tensor:
    """Rotations of (y, x) that turn the picture by an angle (B,), from right to down: (B, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, sin], dim=1), torch.stack([-sin, cos], dim=1)], dim=1)


def _stretched(x: Tensor, y: Tensor) -> Tensor:
    """Scalings of (y, x) by 2 to the given powers: (B, 2, 2)."""
    return torch.diag_embed(torch.stack([y.exp2(), x.exp2()], dim=1))
