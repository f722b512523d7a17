"""The variational bound against likelihoods known exactly, and against the bound written in another way.

For the posterior's variance the KL of a step is half the drop of the signal-to-noise ratio times the squared
error of the predicted data (Kingma et al. 2021, eq. 13), so with exact predictions the bound's expectation is

    prior + 1/2 sum_t (SNR(s) - SNR(t)) mmse(t) + reconstruction,

where the least mean squared error mmse(t) is one integral over x_t.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from likelihood.vlb import VariationalBound, variational_bound
from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.reverse import Variance
from models.prediction.time_encoding import Time
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.gaussian import Bins
from sde_lib.noise import Noise
from sde_lib.schedules import linear_betas
from sde_lib.vp import VPSDE
from tests.samplers.test_learned_variance import STD, Oracle

LEVELS = 5
VALUES = np.linspace(-1, 1, LEVELS)
BINS = Bins(LEVELS, -1.0, 1.0)


def mmse(chain: DiscreteDiffusion) -> np.ndarray:
    """E[(x_0 - E[x_0 | x_t])^2] at every level, x_0 uniform on ``VALUES``, by quadrature over x_t."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    m = chain.marginal(torch.arange(chain.num_levels))
    alpha, sigma = m.alpha.numpy()[:, None, None], m.sigma.numpy()[:, None, None]
    x = alpha * VALUES[:, None] + sigma * nodes  # (T, value, node)
    logits = -0.5 * ((x[..., None] - alpha[..., None] * VALUES) / sigma[..., None]) ** 2
    posterior = np.exp(logits - logits.max(-1, keepdims=True))
    posterior /= posterior.sum(-1, keepdims=True)
    errors = ((posterior @ VALUES) - VALUES[:, None]) ** 2
    return np.asarray((errors @ weights).mean(1))


def discrete_bound(samples: int, levels: int) -> VariationalBound:
    chain = DiscreteDiffusion.ddpm(linear_betas(levels))
    network = GaussianMixtureScore(process=chain, means=torch.tensor(VALUES)[:, None], stds=1e-4)
    model = NoiseModel(network, chain, Time(chain), "score")
    noise = Noise(1, range(samples), dtype=torch.float64)
    x0 = torch.tensor(VALUES)[torch.arange(samples) % LEVELS][:, None]
    return variational_bound(model, x0, noise, bins=BINS, variance="small")


@pytest.mark.slow
def test_bound_of_discrete_data_is_above_their_entropy_by_less_than_the_margin() -> None:
    """Uniform on 5 values: -log p = log 5 exactly. At 1000 steps the bound is within 0.05 nats above it."""
    found = discrete_bound(1000, 1000)
    chain = DiscreteDiffusion.ddpm(linear_betas(1000))
    snr = torch.exp(chain.marginal(torch.arange(1000)).log_snr).numpy()
    steps = 0.5 * (snr[:-1] - snr[1:]) * mmse(chain)[1:]
    m = chain.marginal(torch.tensor(999))
    prior = 0.5 * float(m.alpha**2 * float(np.mean(VALUES**2)) + m.sigma**2 - 1 - 2 * m.sigma.log())
    expected = prior + steps.sum()  # reconstruction costs nothing: at level 0 bins are 25 sigma wide
    per_image = found.total.numpy()
    stderr = per_image.std(ddof=1) / math.sqrt(len(per_image))
    assert abs(per_image.mean() - expected) < 4 * stderr
    assert float(found.reconstruction.max()) < 1e-3
    assert math.log(LEVELS) < expected < math.log(LEVELS) + 0.05
    assert math.log(LEVELS) - 3 * stderr < per_image.mean() < math.log(LEVELS) + 0.05 + 3 * stderr


def test_each_step_costs_the_drop_of_snr_times_the_error() -> None:
    """The identity above, image by image and step by step, from the errors that the bound reports."""
    found = discrete_bound(4, 50)
    chain = DiscreteDiffusion.ddpm(linear_betas(50))
    snr = torch.exp(chain.marginal(found.t).log_snr)
    expected = 0.5 * (snr[1:] - snr[:-1]) * found.x0_mse[:, :-1]
    torch.testing.assert_close(found.steps, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("variance", "levels"), [("learned", 1000), ("small", 200)])
def test_the_exact_reverse_has_no_gap(variance: Variance, levels: int) -> None:
    """Gaussian data, exact mean and variance: the bound's expectation is -log p plus the prior's term.

    With the posterior's variance the gap is sum KL(N(m, V*) | N(m, V)), V* exact. Both within 4 standard
    errors
    of 400 samples of 4 dimensions.
    """
    chain = DiscreteDiffusion.ddpm(linear_betas(levels))
    x0 = STD * Noise(5, range(400), dtype=torch.float64).normal((400, 4))
    nll = (0.5 * x0.square() / STD**2 + math.log(STD) + 0.5 * math.log(2 * math.pi)).sum(1)
    model = NoiseModel(Oracle(chain), chain, Time(chain), "eps", "learned_range")
    noise = Noise(6, range(400), dtype=torch.float64)
    found = variational_bound(model, x0, noise, bins=None, variance=variance)
    excess = found.total - nll - found.prior
    stderr = float(excess.std() / math.sqrt(len(excess)))
    gap = 0.0 if variance == "learned" else 4 * _gap(chain)
    assert abs(float(excess.mean()) - gap) < 4 * stderr
    assert variance == "learned" or gap > 8 * stderr  # the two cases are told apart


def _gap(chain: DiscreteDiffusion) -> float:
    """sum_t KL(N(m, V*) | N(m, V_small)) of one dimension."""
    t = torch.arange(chain.num_levels)
    m = chain.marginal(t)
    of_data = STD**2 * m.sigma**2 / ((m.alpha * STD) ** 2 + m.sigma**2)  # Var[x_0 | x_t]
    small = torch.exp(chain.log_variances(t, t - 1).smallest)
    posterior = torch.where(t == 0, torch.zeros(()).double(), small)
    exact = posterior + chain.posterior_weights(t, t - 1).of_x0 ** 2 * of_data
    return float((0.5 * (exact / small - 1 - (exact / small).log())).sum())


def test_bins_hold_all_probability() -> None:
    """The open outer bins make the probabilities of the levels add up to one, for wide and narrow
    Gaussians."""
    bins = Bins(17, 0.0, 1.0)
    x = torch.linspace(0, 1, 17, dtype=torch.float64)
    for mean, log_variance in ((0.3, -2.0), (-0.5, 1.0), (0.97, -6.0)):
        args = torch.tensor(mean).double(), torch.tensor(log_variance).double()
        # 1e-12 is what a bin costs at most in rounding up.
        assert float(bins.log_probability(x, *args).exp().sum()) == pytest.approx(1, abs=1e-9)


def test_what_has_no_bound_is_refused() -> None:
    sde, x0, noise = VPSDE(), torch.zeros(1, 2), Noise(0, range(1))
    with pytest.raises(ValueError, match="one of a chain, and VPSDE is none"):
        variational_bound(
            NoiseModel(GaussianScore(process=sde), sde, Time(sde), "score"), x0, noise, bins=None
        )
    chain = DiscreteDiffusion.ddpm(linear_betas(40))
    model = NoiseModel(GaussianScore(process=chain), chain, Time(chain), "score")
    with pytest.raises(ValueError, match="fall from noise to level 0"):
        variational_bound(model, x0, noise, bins=None, times=torch.tensor([39, 10]))
    with pytest.raises(ValueError, match="at least 2"):
        Bins(1, 0, 1)
