"""An SDE by its Gaussian marginal alone: the cosine schedule, shifted towards noise for large images."""

from dataclasses import dataclass
from typing import Annotated

import torch

from sde_lib import GaussianSDE, Marginal, Range, register_sde


@register_sde
@dataclass(frozen=True)
class ShiftedCosine(GaussianSDE):
    """sigma/alpha = tan(pi t / 2) / shift, alpha^2 + sigma^2 = 1 (Hoogeboom et al. 2023, section 3.1).

    Args:
        shift: divides the noise at each time: 64 / d for images of side d in the paper; less is noisier.
    """

    shift: Annotated[float, Range(above=0)] = 1.0

    def marginal(self, t):
        angle = torch.pi / 2 * (1 - 1e-3) * t.double()  # t = 1 keeps a trace of the data
        alpha, sigma = self.shift * torch.cos(angle), torch.sin(angle)
        return Marginal(alpha / torch.hypot(alpha, sigma), sigma / torch.hypot(alpha, sigma))
