"""Log-normal training times: the law, and that no time lies outside of the process."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from losses import LogNormalTimes
from losses.importance import LossSecondMoment
from sde_lib import EDM, VESDE, VPSDE, DiscreteDiffusion, Noise, subVPSDE
from sde_lib.base import GaussianSDE


def levels(times: LogNormalTimes, process: GaussianSDE, count: int) -> torch.Tensor:
    """ln(sigma/alpha) at the times drawn, all of which are those of training."""
    t = times.sample(process, Noise(3, range(count)))
    assert bool(((t >= process.t_min) & (t <= process.T)).all())
    return -process.marginal(t).log_snr / 2


@pytest.mark.parametrize(
    "process", [VESDE(), VESDE(t_min=0.0), VPSDE(), subVPSDE(), EDM(), VPSDE(t_min=0.05)]
)
@pytest.mark.parametrize("spread", [1.2, 6.0])
def test_the_law_is_the_truncated_normal(process: GaussianSDE, spread: float) -> None:
    """Kolmogorov and Smirnov's distance of 40,000 draws to scipy's truncated normal, at the level 1e-4."""
    ends = process.marginal(torch.tensor([max(process.t_min, 1e-300), process.T], dtype=torch.float64))
    low, high = ((-ends.log_snr / 2 + 1.2) / spread).tolist()
    found = levels(LogNormalTimes(P_std=spread), process, 40_000).numpy()
    law = stats.truncnorm(low, high, loc=-1.2, scale=spread)
    assert stats.kstest(found, law.cdf).pvalue > 1e-4


def test_draws_within_the_levels_are_those_of_the_normal() -> None:
    """EDM's own rule, exp(P_mean + P_std z), for every z that has a time; 40 of 20,000 of VESDE's have none."""
    z = Noise(5, range(20_000)).normal((20_000, 1))[:, 0].double()
    sigma = (-1.2 + 1.2 * z).exp()
    inside = (sigma >= 0.002) & (sigma <= 80)
    assert int((~inside).sum()) == 2
    assert torch.equal(LogNormalTimes().sample(EDM(), Noise(5, range(20_000)))[inside], sigma[inside])
    process = VESDE()
    inside = (sigma >= process.sigma_min * 1.001) & (sigma <= process.sigma_max)
    assert 10 < int((~inside).sum()) < 100
    t = LogNormalTimes().sample(process, Noise(5, range(20_000)))
    assert torch.equal(t[inside], process.time_of(sigma)[inside])


def test_a_chain_takes_the_nearest_of_its_levels() -> None:
    """Levels e^-2, e^-1, 1, e, e^2 of sigma/alpha under N(0, 1) between the first and the last: the shares of their
    neighbourhoods, bounded half-way in the logarithm, within 4 standard errors of 40,000 draws."""
    logs = torch.arange(-2.0, 3.0, dtype=torch.float64)
    sigmas = logs.exp() / (1 + (2 * logs).exp()).sqrt()
    chain = DiscreteDiffusion(alphas=(1 - sigmas**2).sqrt(), sigmas=sigmas)
    t = LogNormalTimes(0.0, 1.0).sample(chain, Noise(3, range(40_000)))
    bounds = stats.norm.cdf([-2, -1.5, -0.5, 0.5, 1.5, 2])
    shares = np.diff(bounds) / (bounds[-1] - bounds[0])
    found = torch.bincount(t, minlength=5).numpy() / 40_000
    assert np.abs(found - shares).max() < 4 * np.sqrt(0.25 / 40_000)


def test_levels_that_a_process_does_not_have_are_refused() -> None:
    """VESDE's least level is 0.01, so N(-12, 1.2^2) lies below it; the share is that of the normal above -4.6."""
    LogNormalTimes().check(VESDE())
    with pytest.raises(ValueError, match=r"VESDE does not have.*P_mean between -4\.61 and 3\.91"):
        LogNormalTimes(P_mean=-12.0).check(VESDE())
    share = 1 - stats.norm.cdf((math.log(0.01) + 12) / 1.2)
    assert share < 1e-3


def test_losses_of_zero_leave_importance_uniform() -> None:
    times = LossSecondMoment(num_levels=3, history=1)
    times.observe(torch.arange(3), torch.zeros(3))
    assert times.probabilities().tolist() == pytest.approx([1 / 3] * 3)
