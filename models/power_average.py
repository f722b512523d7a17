"""Power-function averages of weights, and their reconstruction after training (post-hoc EMA).

Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", section 3 and appendix C.

The average of exponent gamma at time t is the mean of the weights under the density
p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t], whose standard deviation over t, the relative width, is
sigma_rel = sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2). Times are numbers of updates: the weights of update k hold
on (k - 1, k].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from torch import Tensor, nn

from models.ema import Average

WIDEST = 12**-0.5
"""The relative width of gamma = 0, the mean of all weights."""


def relative_width(gamma: float) -> float:
    """sigma_rel of an exponent gamma >= 0."""
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def exponent(width: float) -> float:
    """gamma of a relative width, the largest root of (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2.

    Raises:
        ValueError: the width is not in (0, 12^-1/2].
    """
    if not 0 < width <= WIDEST * (1 + 1e-12):
        raise ValueError(
            f"the relative width of an average lies above 0 and is at most {WIDEST:.4f}, the mean of all weights; "
            f"got {width:g}."
        )
    inverse = width**-2
    # The roots of the cubic are real for these widths; the others are below -1, or the mirror image in (-1, 0].
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return max(float(roots.real.max()), 0.0)


@final
class PowerAverage(Average):
    """The average of a power function, tracked: the k-th update keeps the share (1 - 1/k)^(gamma + 1).

    Args:
        module: what is averaged; only parameters that require a gradient.
        width: sigma_rel, in (0, 12^-1/2].
    """

    def __init__(self, module: nn.Module, width: float) -> None:
        super().__init__(module)
        self.width, self.gamma = width, exponent(width)

    def decay_at(self, updates: Tensor) -> Tensor:
        # Before the first update there is none to count from; what is said of it then is not used.
        return (1 - 1 / updates.clamp(min=1)) ** (self.gamma + 1)


def overlap(t: float, gamma: float, s: float, other: float) -> float:
    """The inner product of two such densities, of exponents ``gamma`` on [0, t] and ``other`` on [0, s].

    (gamma + 1) (other + 1) / (gamma + other + 1) min^(gamma + other + 1) / (t^(gamma + 1) s^(other + 1)), with the
    lesser of t and s (appendix C).
    """
    least, power = min(t, s), gamma + other + 1
    scale = (gamma + 1) * (other + 1) / power
    return scale * math.exp(power * math.log(least) - (gamma + 1) * math.log(t) - (other + 1) * math.log(s))


def coefficients(kept: Sequence[tuple[float, float]], wanted: tuple[float, float]) -> list[float]:
    """The combination of kept averages, of sum 1, that is nearest to a wanted one in the L2 norm of the densities.

    The sum is no condition of the paper's; with it, weights that training does not change are their own average, where
    a sum of 0.998 would shrink the network.

    Args:
        kept: (t, gamma) of each, t > 0.
        wanted: (t, gamma).
    """
    matrix = np.array([[overlap(*a, *b) for b in kept] for a in kept])
    right = np.array([overlap(*a, *wanted) for a in kept])
    # Densities grow like 1/t: of equal norm they are equally well resolved.
    norms = np.sqrt(matrix.diagonal())
    sums = norms.min() / norms
    system = np.block([[matrix / np.outer(norms, norms), sums[:, None]], [sums, np.zeros(1)]])
    solved, *_ = np.linalg.lstsq(system, np.append(right / norms, norms.min()), rcond=None)
    found: list[float] = (solved[:-1] / norms).tolist()
    return found
