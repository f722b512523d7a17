"""Variational dequantisation: a learned distribution of the continuous value within the bin of each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likelihood.dequantise import Dequantisation, Dequantised
from sde_lib.noise import Noise
from sde_lib.settings import Range, checked

LARGEST_LOG_SCALE = 3.0
"""Of one coupling: keeps an early step of training from leaving the bin's interior in one go."""


FEATURES = 6
"""Numbers by which a coupling is told a level."""


class Coupling(nn.Module):
    """Shift and log-scale of half of the elements, given the levels and the places of the other half.

    Layers are convolutions over the axes behind the first, or linear maps of a vector. The last starts at
    zero, so that an untrained coupling changes nothing.

    Args:
        shape: of a sample: (D,) or (C, ...) with up to three further axes.
        width: channels of the hidden layers.
        parity: which half is changed: elements whose indices add up to an odd (1) or even (0) number.
    """

    changed: Tensor

    def __init__(self, shape: Sequence[int], width: int, parity: int) -> None:
        super().__init__()
        grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij"))
        self.register_buffer("changed", (grid.sum(0) % 2 == parity).float(), persistent=False)
        channels = shape[0]

        def layer(inputs: int, outputs: int) -> nn.Module:
            if len(shape) == 1:
                return nn.Linear(inputs, outputs)
            kinds = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}
            if len(shape) not in kinds:
                raise ValueError(
                    f"variational dequantisation knows vectors and up to three axes, not {tuple(shape)}."
                )
            return kinds[len(shape)](inputs, outputs, 3, padding=1)

        last = layer(width, 2 * channels)
        for p in last.parameters():
            nn.init.zeros_(p)
        self.layers = nn.Sequential(
            layer((FEATURES + 1) * channels, width), nn.SiLU(), layer(width, width), nn.SiLU(), last
        )

    def forward(self, features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """New z, and the logarithm of the volume's growth, (B,)."""
        known = (2 * torch.sigmoid(z) - 1).to(features.dtype) * (1 - self.changed)
        shift, scale = self.layers(torch.cat([features, known], 1)).double().chunk(2, dim=1)
        changed = self.changed.double()
        log_scale = LARGEST_LOG_SCALE * torch.tanh(scale / LARGEST_LOG_SCALE) * changed
        return z * log_scale.exp() + shift * changed, log_scale.flatten(1).sum(1)


class VariationalDequantisation(nn.Module, Dequantisation):
    """q(u | levels) as a flow of logistic noise: u = sigmoid(couplings(z)) (Ho et al. 2019, section 3.1).

    z is logistic, so that untrained, with couplings that change nothing, u is uniform: trained on the bound it
    starts from uniform dequantisation's and improves on it. The bound that it maximises is

        E_q[log p(x) - log q(u | levels)] <= log P(levels) + D log(levels / range),

    with equality for q = p(u | levels). Two couplings see every element once; further ones give dependence
    between them.

    Args:
        shape: shape of a sample, without the batch.
        levels: number of distinct values of the data.
        low, high: range of the continuous data.
        width: number of channels of the couplings' hidden layers.
        couplings: number of coupling layers.

    Raises:
        ValueError: fewer than two couplings, a shape of more than four axes.
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        *,
        levels: Annotated[int, Range(least=1)] = 256,
        low: float = -1.0,
        high: float = 1.0,
        width: Annotated[int, Range(least=1)] = 32,
        couplings: Annotated[int, Range(least=2, words="must be 2 couplings or more, one for each half")] = 4,
    ) -> None:
        super().__init__()
        self.levels, self.low, self.high = levels, low, high
        self.couplings = nn.ModuleList(Coupling(shape, width, i % 2) for i in range(couplings))

    def _features(self, level: Tensor) -> Tensor:
        """Where each level lies, and its waves of periods 2, 4 and 8: neighbouring levels may want opposite things."""
        value = level.to(next(self.parameters()).dtype)
        waves = [torch.cos(math.pi * value)]
        for period in (4, 8):
            waves += [torch.cos(2 * math.pi / period * value), torch.sin(2 * math.pi / period * value)]
        return torch.cat([2 * (value + 0.5) / self.levels - 1, *waves], 1)

    def forward(self, level: Tensor, noise: Noise) -> Dequantised:
        # In the middle of what a uniform draw's last bit spans, so that neither end is ever drawn.
        v = noise.uniform(level.shape).double() + torch.finfo(noise.dtype).eps / 4
        z = torch.logit(v)
        log_q = _log_logistic(z)
        seen = self._features(level)
        for coupling in self.couplings:
            z, growth = coupling(seen, z)
            log_q = log_q - growth
        # The sigmoid's derivative is the logistic density.
        return Dequantised(self.place(level, torch.sigmoid(z)).to(noise.dtype), log_q - _log_logistic(z))


def _log_logistic(z: Tensor) -> Tensor:
    """log of the standard logistic density, summed over a sample's elements, (B,)."""
    return (-z - 2 * F.softplus(-z)).flatten(1).sum(1)
