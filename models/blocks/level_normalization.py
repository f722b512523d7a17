"""Normalisation of feature maps, with and without a noise level, as in NCSN and NCSNv2.

Every layer is called ``norm(x, level)``: features (B, C, ...) and the index of each sample's noise
level, (B,) int64, which the unconditional layers do not look at. No layer mixes samples: the
statistics of one sample never depend on its batch-mates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_lib.registry import unknown_name

EPS = 1e-5  # of every variance below

NormFactory = Callable[[int], nn.Module]  # number of features -> layer


def over_space(v: Tensor, x: Tensor) -> Tensor:
    """A value per channel, (C,) or (B, C), shaped to act on (B, C, ...)."""
    return v.reshape(*v.shape, *(1,) * (x.dim() - 2))


def unit_instance(x: Tensor) -> Tensor:
    """(x - mean) / std of each channel of each sample (biased variance over the positions)."""
    return F.instance_norm(x, eps=EPS)


def unit_variance(x: Tensor) -> Tensor:
    """x / std of each channel of each sample: the mean stays (unbiased variance over the positions)."""
    return x / torch.sqrt(x.flatten(2).var(dim=2).reshape(*x.shape[:2], *(1,) * (x.dim() - 2)) + EPS)


def unchanged(x: Tensor) -> Tensor:
    return x


def relative_means(x: Tensor) -> Tensor:
    """Each channel's spatial mean, standardised over the channels of the sample, (B, C).

    This is what instance normalisation removes and InstanceNorm++ gives back.
    """
    means = x.flatten(2).mean(dim=2)
    centred = means - means.mean(dim=1, keepdim=True)
    return centred / torch.sqrt(means.var(dim=1, keepdim=True) + EPS)


@final
class InstanceNormPlus(nn.Module):
    """InstanceNorm++: gamma * (unit_instance(x) + alpha * relative_means(x)) + beta.

    Source: Song & Ermon 2019 (NCSN), appendix A.1, without its dependence on the level (Song & Ermon
    2020, NCSNv2, technique 3).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(num_features).normal_(1, 0.02))
        self.gamma = nn.Parameter(torch.empty(num_features).normal_(1, 0.02))
        self.beta = nn.Parameter(torch.zeros(num_features))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = unit_instance(x) + over_space(self.alpha * relative_means(x), x)
        return over_space(self.gamma, x) * h + over_space(self.beta, x)


@final
class ConditionalInstanceNormPlus(nn.Module):
    """InstanceNorm++ with gamma, alpha and beta of its own for every noise level.

    gamma_i * (unit_instance(x) + alpha_i * relative_means(x)) + beta_i, i the level.
    Source: Song & Ermon 2019 (NCSN), appendix A.1; as in its code, gamma scales both terms.
    """

    def __init__(self, num_features: int, num_levels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_levels, 3 * num_features)  # a row holds gamma, alpha, beta
        with torch.no_grad():
            self.embed.weight[:, : 2 * num_features].normal_(1, 0.02)
            self.embed.weight[:, 2 * num_features :].zero_()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        gamma, alpha, beta = self.embed(level).chunk(3, dim=1)
        h = unit_instance(x) + over_space(alpha * relative_means(x), x)
        return over_space(gamma, x) * h + over_space(beta, x)


@final
class Standardise(nn.Module):
    """Normalisation by a statistic, without parameters."""

    def __init__(self, statistic: Callable[[Tensor], Tensor], num_features: int) -> None:
        super().__init__()
        self.statistic = statistic

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.statistic(x)


@final
class VarianceNorm(nn.Module):
    """Division by the standard deviation of each channel: alpha * unit_variance(x)."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(num_features).normal_(1, 0.02))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return over_space(self.alpha, x) * unit_variance(x)


@final
class ConditionalVarianceNorm(nn.Module):
    """``VarianceNorm`` with a scale of its own for each noise level i: gamma_i * unit_variance(x)."""

    def __init__(self, num_features: int, num_levels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_levels, num_features)
        nn.init.normal_(self.embed.weight, 1, 0.02)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return over_space(self.embed(level), x) * unit_variance(x)


@final
class ConditionalAffine(nn.Module):
    """A statistic, scaled and shifted by each noise level i: gamma_i * statistic(x) + beta_i."""

    def __init__(self, statistic: Callable[[Tensor], Tensor], num_features: int, num_levels: int) -> None:
        super().__init__()
        self.statistic = statistic
        self.embed = nn.Embedding(num_levels, 2 * num_features)  # a row holds gamma, beta
        with torch.no_grad():
            self.embed.weight[:, :num_features].uniform_()
            self.embed.weight[:, num_features:].zero_()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        gamma, beta = self.embed(level).chunk(2, dim=1)
        return over_space(gamma, x) * self.statistic(x) + over_space(beta, x)


no_norm: NormFactory = partial(Standardise, unchanged)


def get_normalization(name: str, *, num_levels: int | None = None) -> NormFactory:
    """The normalisation of a name, conditional on the noise level if ``num_levels`` is given.

    Args:
        name: ``InstanceNorm++`` (all published weights), ``InstanceNorm``, ``VarianceNorm`` or
            ``NoneNorm``. NCSNv2's ``BatchNorm`` is left out: it would make a sample depend on its
            batch-mates.
        num_levels: number of noise levels a conditional layer holds parameters for.

    Raises:
        ValueError: no normalisation has this name.
    """
    plain: dict[str, NormFactory] = {
        "InstanceNorm++": InstanceNormPlus,
        "InstanceNorm": partial(Standardise, unit_instance),
        "VarianceNorm": VarianceNorm,
        "NoneNorm": no_norm,
    }
    if name not in plain:
        raise ValueError(unknown_name("normalization", name, list(plain)))
    if num_levels is None:
        return plain[name]
    conditional: dict[str, NormFactory] = {
        "InstanceNorm++": partial(ConditionalInstanceNormPlus, num_levels=num_levels),
        "InstanceNorm": partial(ConditionalAffine, unit_instance, num_levels=num_levels),
        "VarianceNorm": partial(ConditionalVarianceNorm, num_levels=num_levels),
        "NoneNorm": partial(ConditionalAffine, unchanged, num_levels=num_levels),
    }
    return conditional[name]
