"""One term of the variational bound on the likelihood of data."""

from __future__ import annotations

import torch
from torch import Tensor

from models.prediction.noise_model import Prediction
from models.prediction.reverse import Variance, reverse_step
from sde_lib.base import GaussianProcess, expand
from sde_lib.gaussian import Bins, normal_kl, normal_log_density


def bound_term(
    process: GaussianProcess,
    prediction: Prediction,
    x0: Tensor,
    t: Tensor,
    s: Tensor,
    *,
    variance: Variance = "auto",
    bins: Bins | None = None,
) -> Tensor:
    """One term of the variational bound, of the step t -> s: L_{t-1}, or L_0 where s is clean (Ho et al. 2020, eq. 5).

    KL(q(x_s | x_t, x_0) | p(x_s | x_t)), and -log p(x_0 | x_t) of the last step. Nats per element (the mean
    over a sample), (B,), in the state's precision; summed over a chain's steps, and with the prior's term,
    an expectation over x_t ~ q that bounds -log p(x_0) / D from above.

    Args:
        process: the forward process.
        prediction: of the model at x_t.
        x0: clean data, (B, ...).
        t, s: the step's times, (B,).
        variance: of the model's step.
        bins: the levels of discrete data; None for continuous data, which have a density.
    """
    model = reverse_step(process, prediction, t, s, variance)
    closing = s == process.clean
    bounds = process.log_variances(t, s)
    truth = process.posterior(prediction.x, x0, t, s).mean
    kl = normal_kl(truth, expand(bounds.smallest, x0), model.mean, model.log_variance)
    if bins is None:
        decoded = normal_log_density(x0, model.mean, model.log_variance)
    else:
        decoded = bins.log_probability(x0, model.mean, model.log_variance)
    return torch.where(closing, -decoded.flatten(1).mean(1), kl.expand_as(x0).flatten(1).mean(1))


def prior_term(process: GaussianProcess, x0: Tensor, t: Tensor) -> Tensor:
    """The prior's term L_T of the variational bound, KL(q(x_T | x_0) | prior) (Ho et al. 2020, eq. 5).

    Nats per element, (B,); ``t`` is the noisiest time.
    """
    m = process.marginal(t)
    mean, prior = expand(m.alpha, x0) * x0, x0.new_tensor(process.prior_std).log() * 2
    return normal_kl(mean, expand(2 * m.sigma.log(), x0), torch.zeros_like(mean), prior).flatten(1).mean(1)
