"""The bound in continuous time against closed forms of Gaussians, and times that make it vary least."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from losses import ElboLoss, LeastVarianceTimes, StratifiedTimes, TimeSampler, UniformTimes
from losses.least_variance import Monotone
from models.exact.mixtures import GaussianScore
from models.prediction.conventions import convention
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import EDM, VDM, VPSDE, Flow, Noise
from sde_lib.base import GaussianSDE, Marginal
from sde_lib.gaussian import Bins

STD, MEAN = 0.5, 0.0


def exact(process: GaussianSDE) -> NoiseModel:
    """The score of N(0, STD^2) data."""
    return NoiseModel(GaussianScore(process=process, mean=MEAN, std=STD), process, Time(process), "score")


def drawn(count: int, size: int = 8) -> Tensor:
    return STD * Noise(1, range(count), dtype=torch.float64).normal((count, size))


COUNT, SIZE = 20_000, 64
NEAR = 0.035
"""Four standard errors of the mean of as many samples of as many values: at even times what is left of the variance is
that of |eps|^2 / SIZE, 2 / SIZE, times the loss, at most 18.3 / 2 log(2) = 13 and of a root mean square below 7."""


def found(process: GaussianSDE) -> float:
    """The mean bound of data from the model itself, at times that are even in the log-SNR."""
    loss = ElboLoss(LeastVarianceTimes(process, Monotone(1)))
    noise = Noise(2, range(COUNT), dtype=torch.float64)
    return float(loss(exact(process), drawn(COUNT, SIZE), noise).values.detach().mean())


@pytest.mark.parametrize(
    "process", [VDM(), VDM(gamma_min=-12.0, gamma_max=9.0), VDM(ends="learned"), VPSDE(), EDM(sigma_min=1e-3)]
)
def test_the_bound_of_an_exact_score_is_the_entropy(process: GaussianSDE) -> None:
    """E[-log p] of N(0, s^2) is log(2 pi e s^2) / 2 a dimension. What the ends lose: the prior, which is no p_T, at
    most (alpha_T^2 |1 - s^2|)^2 / 4 < 1e-5, and what the first noise hides, sigma^2 / s^2 < 4e-5 over 2."""
    entropy = 0.5 * math.log2(2 * math.pi * math.e * STD**2)
    assert closed_form(process) == pytest.approx(entropy, abs=1e-4)
    assert found(process) == pytest.approx(entropy, abs=NEAR)


def closed_form(process: GaussianSDE) -> float:
    """The same bound without samples: with E|eps error|^2 = alpha^2 s^2 / (alpha^2 s^2 + sigma^2) its integral over
    gamma is log((1 + s^2 e^-gamma_0) / (1 + s^2 e^-gamma_1)) / 2; of data whose mean square is s^2."""
    ends = process.marginal(torch.tensor([process.t_min, process.T], dtype=torch.float64))
    (a0, a1), (s0, s1) = ends.alpha.tolist(), ends.sigma.tolist()
    diffusion = 0.5 * math.log((1 + (STD * a0 / s0) ** 2) / (1 + (STD * a1 / s1) ** 2))
    decoded = 0.5 * (math.log(2 * math.pi * math.e) + 2 * math.log(s0 / a0))
    v, p2 = a1**2 * STD**2 + s1**2, process.prior_std**2
    prior = 0.5 * (v / p2 - 1 - math.log(s1**2 / p2))
    return (diffusion + decoded + prior) / math.log(2)


@pytest.mark.parametrize("process", [VDM(gamma_min=-1.0, gamma_max=0.0), VPSDE(beta_max=1.0), EDM(0.4, 1.0)])
def test_ends_that_lose_much(process: GaussianSDE) -> None:
    """The integral, which is far above the entropy."""
    wanted = closed_form(process)
    assert wanted > 0.5 * math.log2(2 * math.pi * math.e * STD**2) + 2 * NEAR
    assert found(process) == pytest.approx(wanted, abs=NEAR)


class Bent(GaussianSDE):
    """The ends of a VDM, and gamma at (t + 9 t^2) / 10 in place of t."""

    def __init__(self, inner: VDM) -> None:
        self.inner = inner

    def marginal(self, t: Tensor) -> Marginal:
        return self.inner.marginal((t + 9 * t * t) / 10)


def test_what_lies_between_the_ends_is_without_effect() -> None:
    """VDM's theorem: of a wrong model, too, whose error depends on the log-SNR. The mean of 16,000 samples at
    stratified times, on both schedules and at times drawn by a learned density, to 4 standard errors; the variance
    differs."""
    process = VDM()
    other = Bent(process)
    times = LeastVarianceTimes(process, Monotone(8))
    with torch.no_grad():
        times.learned.logits.copy_(torch.linspace(-1, 2, 9))
    means, errors = [], []
    for sampler, of in ((StratifiedTimes(), process), (StratifiedTimes(), other), (times, process)):
        network = GaussianScore(process=of, mean=0.3, std=0.2)  # wrong
        model = NoiseModel(network, of, Time(of), "score")
        values = ElboLoss(sampler)(
            model, drawn(16_000), Noise(2, range(16_000), dtype=torch.float64)
        ).values.detach()
        means.append(float(values.mean()))
        errors.append(float(values.std()) / math.sqrt(len(values)))
    assert max(errors) < 0.05 * means[0]
    for mean, error in zip(means[1:], errors[1:], strict=True):
        assert mean == pytest.approx(means[0], abs=4 * (error + errors[0]) + 1e-3 * means[0])
    assert errors[1] > 1.1 * errors[0], "to draw times otherwise is not without effect on the variance"


def test_levels_have_the_probability_of_their_bins() -> None:
    """Of 5 levels 1/2 apart and noise e of 0.2, by quadrature: E[-log2 P(|e + z| < 1/4)], of the outermost, whose
    bins are open, of one side alone; within 4 standard errors. Of noise of 1e-3 nothing is lost."""
    e = np.linspace(-1.2, 1.2, 20_001)
    weight = stats.norm.pdf(e, scale=0.2) * (e[1] - e[0])
    upper, lower = (stats.norm.cdf((edge - e) / 0.2) for edge in (0.25, -0.25))
    inner, outer = (-(weight * np.log2(p)).sum() for p in (upper - lower, upper))
    wanted = float(0.6 * inner + 0.4 * outer)
    assert wanted > 0.5
    bins = Bins(5, -1.0, 1.0)
    x0 = torch.tensor([[-1.0], [-0.5], [0.0], [0.5], [1.0]]).double().repeat(200, 1)
    noise = Noise(0, range(1000), dtype=torch.float64)
    noisy = VDM().perturb(x0, torch.full((1000,), 0.5).double(), noise)
    for gamma, expected, error in ((-14.0, 0.0, 1e-6), (2 * math.log(0.2), wanted, 0.1)):
        process = VDM(gamma_min=gamma, gamma_max=20.0)
        found = ElboLoss(UniformTimes(), bins).constant(process, x0, noisy, torch.zeros(1000).double())
        assert float(found.mean()) == pytest.approx(expected, abs=error)


# Times ---------------------------------------------------------------------------------------------


def test_a_monotone_function_rises_from_0_to_1() -> None:
    """Its density is its derivative, by automatic differentiation, and above 0; quantiles are its inverse."""
    rising = Monotone(7)
    with torch.no_grad():
        rising.logits.copy_(torch.tensor([0.3, -2.0, 1.0, 0.0, 2.0, -1.0, 0.5, 1.5]))
    x = torch.linspace(0, 1, 101, dtype=torch.float64, requires_grad=True)
    u = rising(x)
    assert u[0].item() == pytest.approx(0, abs=1e-12) and u[-1].item() == pytest.approx(1, abs=1e-12)
    (slope,) = torch.autograd.grad(u.sum(), x)
    torch.testing.assert_close(rising.density(x), slope)
    assert float(slope.min()) > 0
    torch.testing.assert_close(rising.quantile(u.detach()), x.detach(), rtol=0, atol=1e-10)


@pytest.mark.slow
def test_times_learn_the_density_of_least_variance() -> None:
    """Of losses l = 1 + 3 x^2 of no noise in the share x of the log-SNR, p is in proportion to l: losses weighted by
    1 / p are then all alike. The mean, 2, is that of uniform times before and after."""
    process = VDM()
    times: TimeSampler[GaussianSDE] = LeastVarianceTimes(process, Monotone(32))
    assert times.learned is not None

    def weighted(step: int, count: int) -> Tensor:
        t = times.sample(process, Noise(step, range(count)))
        return times.weighted(t, 1 + 3 * t**2).values

    before = weighted(0, 4000).detach()
    assert float(before.mean()) == pytest.approx(2, abs=0.01)
    optimizer = torch.optim.Adam(times.learned.parameters(), 0.02)
    for step in range(400):
        optimizer.zero_grad()
        weighted(step, 64).mean().backward()
        optimizer.step()
    after = weighted(0, 4000).detach()
    assert float(after.mean()) == pytest.approx(2, abs=0.01)
    assert float(after.std()) < 0.1 * float(before.std())
    x = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    density = times.learned.density(x)  # type: ignore[operator]
    torch.testing.assert_close(density, (1 + 3 * x**2) / 2, rtol=0.1, atol=0)


@pytest.mark.parametrize("process", [VDM(), VPSDE(), EDM()])
def test_weights_are_those_of_uniform_times(process: GaussianSDE) -> None:
    """The mean of f(t) = t / T at weighted times is that at uniform ones, (t_min + T) / 2 T, to 1 %; of an EDM process
    most log-SNR lies at times next to 0, and the mean is within 5 standard errors."""
    times = LeastVarianceTimes(process, Monotone(8))
    t = times.sample(process, Noise(0, range(20_000)))
    assert bool(((t >= process.t_min) & (t <= process.T)).all())
    values = times.weights(t) * t / process.T
    wanted = (process.t_min + process.T) / (2 * process.T)
    assert float(values.mean()) == pytest.approx(
        wanted, abs=max(0.01 * wanted, 5 * float(values.std()) / math.sqrt(20_000))
    )


def test_what_has_no_log_snr_is_refused() -> None:
    with pytest.raises(ValueError, match=r"infinite at a time of Flow between 1e-05 and 1"):
        LeastVarianceTimes(Flow(), Monotone(8)).check(Flow())
    with pytest.raises(ValueError, match=r"reads data through the noise of t_min"):
        ElboLoss(UniformTimes()).check(VPSDE(t_min=0.0))


# The process ---------------------------------------------------------------------------------------


def test_ends_learn_from_every_term_of_the_bound() -> None:
    """With the exact score of N(0, s^2) the bound is a closed form of the ends, whose derivatives are those of
    automatic differentiation to 3 %, of 60,000 samples; both ends move outwards."""
    process = VDM(gamma_min=-3.0, gamma_max=1.0, ends="learned")
    assert process.learned is not None
    shift, stretch = process.learned.shift, process.learned.stretch
    values = ElboLoss(StratifiedTimes())(exact(process), drawn(60_000, 1), Noise(2, range(60_000))).values
    found = torch.autograd.grad(values.mean(), [shift, stretch])

    def bound(shift: float, stretch: float) -> float:
        return closed_form(VDM(gamma_min=-3.0 + shift, gamma_max=-3.0 + shift + 4 * math.exp(stretch)))

    h = 1e-4
    wanted = [(bound(h, 0) - bound(-h, 0)) / (2 * h), (bound(0, h) - bound(0, -h)) / (2 * h)]
    assert wanted[1] < 0
    assert [float(g) for g in found] == pytest.approx(wanted, rel=0.05, abs=0.01)


def test_networks_are_told_the_log_snr_whatever_is_learned() -> None:
    """999 times where gamma lies between the ends that were set, also of times beyond them."""
    process = VDM(gamma_min=-10.0, gamma_max=10.0, ends="learned")
    labels = convention(process).training.time.labels
    t = torch.tensor([0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(labels(t).detach(), 999 * t)
    with torch.no_grad():
        process.learned.shift.fill_(5.0)  # type: ignore[union-attr, operator]
        process.learned.stretch.fill_(math.log(0.5))  # type: ignore[union-attr, operator]
    # gamma is -5 + 10 t.
    torch.testing.assert_close(labels(t).detach(), 999 * torch.tensor([7.5 / 20, 15 / 20]).double())
    torch.testing.assert_close(process.marginal(t).log_snr.detach(), torch.tensor([2.5, -5.0]).double())
    torch.testing.assert_close(process.time_of(torch.tensor([math.exp(-1.25)])), t[:1], rtol=0, atol=1e-7)
