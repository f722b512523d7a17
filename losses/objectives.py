"""Training objectives by name: what ``training.objective`` chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from losses.base import Loss
from losses.denoising import DenoisingLoss
from losses.elbo import ElboLoss
from losses.times import TimeSampler
from losses.vlb import BoundLoss, HybridLoss, OutputLoss
from losses.weightings import Weighting
from models.prediction.noise_model import Output
from sde_lib.gaussian import Bins
from sde_lib.registry import Registry

register_objective: Registry[Callable[..., Loss]] = Registry("training.objective")
"""Functions or ``Loss`` classes. By these names they are given ``times``, the distribution of times; ``weighting``;
``output``, what the network outputs; ``bins``, the levels of discrete data that are not dequantised; and ``learned``,
whether the network has learned variances. Every other parameter is a setting."""


@register_objective(name="denoising")
def denoising(times: TimeSampler, weighting: Weighting, reduce_mean: bool = True) -> DenoisingLoss:
    """Denoising score matching, weighted by ``training.weighting`` (Song et al. 2021, eq. 7).

    Args:
        reduce_mean: average over a sample's elements; else half their sum (score_sde's two conventions).
    """
    return DenoisingLoss(times, weighting, reduce_mean)


@register_objective(name="simple")
def simple(times: TimeSampler, output: Output) -> OutputLoss:
    """L_simple: the mean squared error of what the network outputs (Ho et al. 2020, eq. 14)."""
    return OutputLoss(times, output)


@register_objective(name="mse")
def mse(times: TimeSampler, output: Output, bins: Bins | None, learned: bool) -> Loss:
    """improved-diffusion's ``mse``: L_simple and, for learned variances, one term of the bound."""
    return HybridLoss(times, output, bins, None) if learned else OutputLoss(times, output)


@register_objective(name="rescaled_mse")
def rescaled_mse(times: TimeSampler, output: Output, bins: Bins | None, learned: bool) -> Loss:
    """improved-diffusion's ``rescaled_mse``: L_simple and, for learned variances, 0.001 of the bound."""
    return HybridLoss(times, output, bins, 0.001) if learned else OutputLoss(times, output)


@register_objective(name="hybrid")
def hybrid(times: TimeSampler, output: Output, bins: Bins | None, vlb_weight: float = 0.001) -> HybridLoss:
    """L_hybrid = L_simple + w L_vlb, where the bound trains the variances alone (Nichol & Dhariwal 2021, eq. 16).

    Args:
        vlb_weight: w, the weight of the whole bound in bits/dim.
    """
    return HybridLoss(times, output, bins, vlb_weight)


@register_objective(name="elbo")
def elbo(times: TimeSampler, bins: Bins | None) -> ElboLoss:
    """The variational bound in bits/dim, of infinitely many levels: likelihood training (Kingma et al. 2021)."""
    return ElboLoss(times, bins)


@register_objective(name="kl")
def kl(
    times: TimeSampler, bins: Bins | None, learned: bool, variance: Literal["small", "large"] = "small"
) -> BoundLoss:
    """improved-diffusion's ``kl``: a term of the variational bound in bits/dim (Ho et al. 2020, eq. 5).

    Args:
        variance: of the chain's reverse steps, where it is not learned.
    """
    return BoundLoss(times, bins, "learned" if learned else variance)


@register_objective(name="rescaled_kl")
def rescaled_kl(
    times: TimeSampler, bins: Bins | None, learned: bool, variance: Literal["small", "large"] = "small"
) -> BoundLoss:
    """improved-diffusion's ``rescaled_kl``: the same times the number of levels.

    Args:
        variance: of the chain's reverse steps, where it is not learned.
    """
    return BoundLoss(times, bins, "learned" if learned else variance, rescale=True)
