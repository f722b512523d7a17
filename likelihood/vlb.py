"""The variational bound on the likelihood of data under a chain's ancestral sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.prediction.bound import bound_term, prior_term
from models.prediction.noise_model import Model
from models.prediction.reverse import Variance
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.gaussian import Bins
from sde_lib.noise import Noise

NEEDS = DiscreteDiffusion
"""What the bound asks of the process: levels."""


@dataclass(frozen=True)
class VariationalBound:
    """An estimate of -log p(x_0)'s upper bound and its parts, of each sample, in nats, float64.

    Attributes:
        t: the chain's times, noisiest first, (K,).
        prior: KL(q(x_T | x_0) | prior), (B,).
        steps: KL(q(x_s | x_t, x_0) | p(x_s | x_t)) of each step but the last, (B, K - 1).
        reconstruction: -log p(x_0 | x_t) of the last step, (B,).
        x0_mse, eps_mse: mean squared errors of the model's predictions at each time, (B, K).
    """

    t: Tensor
    prior: Tensor
    steps: Tensor
    reconstruction: Tensor
    x0_mse: Tensor
    eps_mse: Tensor

    @property
    def total(self) -> Tensor:
        """The bound, (B,)."""
        return self.prior + self.steps.sum(1) + self.reconstruction


@torch.no_grad()
def variational_bound(
    model: Model,
    x0: Tensor,
    noise: Noise,
    *,
    bins: Bins | None,
    variance: Variance = "auto",
    times: Tensor | None = None,
    **cond: Any,
) -> VariationalBound:
    """L_T + sum_t L_{t-1} + L_0 >= -log p(x_0) (Ho et al. 2020, eq. 5), one draw of x_t ~ q(x_t | x_0) for
    each t.

    Its expectation over the draws is the bound; a single image's estimate may lie below its likelihood.
    With ``bins`` p is the probability of discrete data, so the bound over D ln 2 is bits/dim as it stands;
    without, it is a density, which can be compared with that of the probability flow.

    Args:
        model: of a chain.
        x0: data, (B, ...); with ``bins``, at the levels.
        noise: the samples' streams.
        bins: the levels of discrete data; None for continuous data.
        variance: of the model's steps.
        times: the levels that the sampler visits, falling to 0; None: all.
        cond: the network's conditioning.

    Raises:
        ValueError: the process is no chain, or the times do not fall to 0.
    """
    chain = model.process
    if not isinstance(chain, NEEDS):
        raise ValueError(
            f"the variational bound is one of a chain, and {type(chain).__name__} is none; take the ODE "
            f"likelihood, or a chain such as training.sde='ddpm'."
        )
    if times is None:
        times = torch.arange(chain.num_levels - 1, -1, -1)
    if not bool((times.diff() < 0).all()) or int(times[-1]) != 0:
        raise ValueError(
            f"the bound's times fall from noise to level 0, the cleanest; got {times.tolist()[:8]}."
        )
    batch, size = len(x0), math.prod(x0.shape[1:])
    times = times.to(x0.device)
    terms, x0_errors, eps_errors = [], [], []
    clean = times.new_full((1,), int(chain.clean))
    for t, s in zip(
        times.expand(batch, -1).T, torch.cat([times[1:], clean]).expand(batch, -1).T, strict=True
    ):
        noisy = chain.perturb(x0, t, noise)
        prediction = model(noisy.x, t, **cond)
        terms.append(bound_term(chain, prediction, x0, t, s, variance=variance, bins=bins).double() * size)
        x0_errors.append((prediction.x0 - x0).square().flatten(1).mean(1).double())
        eps_errors.append((prediction.eps - noisy.eps).square().flatten(1).mean(1).double())
    return VariationalBound(
        t=times,
        prior=prior_term(chain, x0, times[:1].expand(batch)).double() * size,
        steps=torch.stack(terms[:-1], 1) if len(terms) > 1 else x0.new_zeros(batch, 0, dtype=torch.float64),
        reconstruction=terms[-1],
        x0_mse=torch.stack(x0_errors, 1),
        eps_mse=torch.stack(eps_errors, 1),
    )
