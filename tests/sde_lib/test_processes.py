"""A Gaussian process is consistent with itself: marginal, SDE, transition, posterior say the same thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import Tensor

from sde_lib import VESDE, VPSDE, DiscreteDiffusion, GaussianSDE, Marginal, Noise, subVPSDE
from tests.oracles import CASES, SDES, Case, Law

PAIRS = [(0.9, 0.2), (0.31, 0.3), (1.0, 1e-3), (1e-3, 1e-5)]


def at(case: Case, u: float) -> Tensor:
    """The time at fraction ``u`` of the way from clean data to the prior."""
    if isinstance(case.process, DiscreteDiffusion):
        return torch.tensor(round(u * case.oracle.start))
    return torch.tensor(u, dtype=torch.float64)


def close(value: Tensor, expected: float, rel: float = 1e-12) -> None:
    assert value.item() == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("u", [1e-5, 1e-3, 0.1, 0.5, 0.99, 1.0])
def test_marginal_is_the_closed_form(case: Case, u: float) -> None:
    t = at(case, u)
    marginal = case.process.marginal(t)  # type: ignore[attr-defined]
    # Over 1000 levels, rounding of log(1 - beta) adds up to 1e-12 on the cosine chain's last level.
    close(marginal.alpha, case.oracle.alpha(t.item()), rel=1e-9)
    close(marginal.sigma, case.oracle.sigma(t.item()), rel=1e-9)


def test_clean_time_has_no_noise(case: Case) -> None:
    t = case.process.time([case.process.clean])
    marginal = case.process.marginal(t)  # type: ignore[attr-defined]
    assert marginal.alpha.item() == 1
    assert marginal.sigma.item() == 0


@pytest.mark.parametrize("process", ["vp", "subvp"])
def test_no_digits_are_lost_near_clean_data(process: str) -> None:
    """sigma at t = 1e-5 by the series of 1 - exp(-B) = B - B^2/2 + B^3/6, B = 1e-6: to 1e-14.

    sqrt(1 - exp(.)) in float32 is 1 % off there.
    """
    B = 0.1e-5 + 0.5 * 19.9e-10
    variance = B - B**2 / 2 + B**3 / 6
    sigma = CASES[process].process.marginal(torch.tensor(1e-5)).sigma  # type: ignore[attr-defined]
    # A float32 time of 1e-5 is itself rounded by 2.5e-8; a float64 one is exact.
    close(sigma, math.sqrt(variance) if process == "vp" else variance, rel=1e-7)
    sigma = CASES[process].process.marginal(torch.tensor(1e-5).double() * 0 + 1e-5).sigma  # type: ignore[attr-defined]
    close(sigma, math.sqrt(variance) if process == "vp" else variance, rel=1e-13)


@pytest.mark.parametrize("process", SDES)
def test_moments_obey_the_sde(process: str) -> None:
    """m' = f m and v' = 2 f v + g^2, by scipy from t = 0.01 to 1 (to the last finite drift), with the SDE's f and g."""
    sde: GaussianSDE = CASES[process].process  # type: ignore[assignment]

    def rates(t: float, y: np.ndarray) -> list[float]:
        c = sde.sde(torch.ones(1, 1, dtype=torch.float64), torch.tensor([t], dtype=torch.float64))
        f, g2 = c.drift.item(), c.diffusion.item() ** 2
        return [f * y[0], 2 * f * y[1] + g2]

    oracle = CASES[process].oracle
    start = [oracle.alpha(0.01), oracle.sigma(0.01) ** 2]
    last = min(1.0, oracle.last)
    solved = scipy.integrate.solve_ivp(rates, (0.01, last), start, rtol=1e-10, atol=1e-14, method="DOP853")
    assert solved.y[:, -1] == pytest.approx([oracle.alpha(last), oracle.sigma(last) ** 2], rel=1e-8)


@dataclass(frozen=True)
class FromMarginal(GaussianSDE):
    """Another SDE's marginal and nothing else: every coefficient is derived."""

    of: GaussianSDE
    T: float = 1.0

    def marginal(self, t: Tensor) -> Marginal:
        return self.of.marginal(t)


@pytest.mark.parametrize("process", SDES)
def test_coefficients_derived_from_the_marginal_are_the_closed_ones(process: str) -> None:
    """Forward differentiation against f and g of the papers."""
    oracle = CASES[process].oracle
    assert oracle.drift is not None
    assert oracle.diffusion is not None
    t = torch.tensor([1e-3, 0.1, 0.5, min(1.0, oracle.last)], dtype=torch.float64)
    c = FromMarginal(CASES[process].process).sde(torch.full((4, 2), 3.0, dtype=torch.float64), t)  # type: ignore[arg-type]
    for row, g, time in zip(c.drift, c.diffusion, t.tolist(), strict=True):
        assert row.tolist() == pytest.approx([3 * oracle.drift(time)] * 2, rel=1e-12)
        close(g, oracle.diffusion(time), rel=1e-9)


@pytest.mark.parametrize(("u", "w"), PAIRS)
def test_transition_carries_one_marginal_to_the_other(case: Case, u: float, w: float) -> None:
    """alpha_t = scale alpha_s, sigma_t^2 = scale^2 sigma_s^2 + std^2."""
    t, s = at(case, u), at(case, w)
    if t == s:
        return
    o, step = case.oracle, case.process.transition(t, s)  # type: ignore[attr-defined]
    close(step.scale * o.alpha(s.item()), o.alpha(t.item()), rel=1e-9)
    close((step.scale * o.sigma(s.item())) ** 2 + step.std**2, o.sigma(t.item()) ** 2, rel=1e-9)


def test_transitions_compose(case: Case) -> None:
    """Chapman-Kolmogorov: t <- r <- s is t <- s."""
    t, r, s = at(case, 0.8), at(case, 0.5), at(case, 0.2)
    process = case.process
    first, second = process.transition(r, s), process.transition(t, r)  # type: ignore[attr-defined]
    whole = process.transition(t, s)  # type: ignore[attr-defined]
    close(second.scale * first.scale, whole.scale.item())
    close((second.scale * first.std) ** 2 + second.std**2, whole.std.item() ** 2)


@pytest.mark.parametrize(("u", "w"), PAIRS[:3])
def test_posterior_is_bayes_rule(case: Case, u: float, w: float) -> None:
    """Precisions add: N(x_s; alpha_s x0, sigma_s^2) times N(x_t; scale x_s, std^2), as a function of x_s."""
    t, s = at(case, u), at(case, w)
    o = case.oracle
    a_s, s_s, a_t, s_t = (f(v.item()) for v in (s, t) for f in (o.alpha, o.sigma))
    scale = a_t / a_s
    variance = s_t**2 - (scale * s_s) ** 2
    x_t, x0 = 0.7, -0.4
    precision = 1 / s_s**2 + scale**2 / variance
    mean = (a_s * x0 / s_s**2 + scale * x_t / variance) / precision
    posterior = case.process.posterior(  # type: ignore[attr-defined]
        torch.full((1, 1), x_t, dtype=torch.float64),
        torch.full((1, 1), x0, dtype=torch.float64),
        t[None],
        s[None],
    )
    close(posterior.mean, mean, rel=1e-8)
    close(posterior.std, precision**-0.5, rel=1e-8)


def test_posterior_at_the_clean_time_is_the_data(case: Case) -> None:
    t, clean = at(case, 0.5)[None], case.process.time([case.process.clean])
    x0 = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    posterior = case.process.posterior(torch.ones_like(x0), x0, t, clean)  # type: ignore[attr-defined]
    assert posterior.mean[0].tolist() == pytest.approx(x0[0].tolist(), rel=1e-12)
    assert posterior.std.item() == 0


@pytest.mark.parametrize("u", [0.002, 0.1, 0.5, 1.0])
def test_time_of_inverts_the_marginal(case: Case, u: float) -> None:
    t = at(case, u)[None]
    marginal = case.process.marginal(t)  # type: ignore[attr-defined]
    assert case.process.time_of(marginal.sigma / marginal.alpha).item() == pytest.approx(t.item(), rel=1e-9)  # type: ignore[attr-defined]


@pytest.mark.parametrize("u", [0.002, 0.1, 0.5, 1.0])
def test_level_ratio_is_one_level_of_the_schedule(case: Case, u: float) -> None:
    """alpha_t^2 / alpha_{t - 1/N}^2: defined for every process, subVP too."""
    t = at(case, u)
    close(case.process.level_ratio(t), case.oracle.ratio(t.item()), rel=1e-9)


def test_denoise_is_the_posterior_mean_of_gaussian_data(case: Case) -> None:
    """For N(mu, c^2): the precision-weighted mean of mu and x_t / alpha."""
    t = at(case, 0.3)
    a, s, mu, c = case.oracle.alpha(t.item()), case.oracle.sigma(t.item()), 0.3, 0.5
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[None]
    law = Law(a * mu, (a * c) ** 2 + s**2)
    expected = (mu / c**2 + a * x / s**2) / (1 / c**2 + (a / s) ** 2)
    value = case.process.denoise(x, t[None], (law.mean - x) / law.var)
    assert value[0].tolist() == pytest.approx(expected[0].tolist(), rel=1e-10)


def test_perturbed_state_is_alpha_x0_plus_sigma_eps(case: Case) -> None:
    t = at(case, 0.3)
    x0 = torch.full((3, 2, 4), 2.0, dtype=torch.float64)
    noisy = case.process.perturb(x0, t.expand(3), Noise(0, range(3), dtype=torch.float64))
    eps = Noise(0, range(3), dtype=torch.float64).normal((3, 2, 4))
    assert torch.equal(noisy.eps, eps)
    expected = case.oracle.alpha(t.item()) * x0 + case.oracle.sigma(t.item()) * eps
    assert torch.allclose(noisy.x, expected, rtol=1e-9, atol=1e-12)
    assert noisy.std.tolist() == pytest.approx([case.oracle.sigma(t.item())] * 3, rel=1e-9)


def test_prior_is_the_gaussian_of_the_stated_density(case: Case) -> None:
    """log N(z; 0, s^2) summed over a sample's elements, and draws with that deviation."""
    s = case.oracle.prior_std
    z = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    expected = sum(-0.5 * (v / s) ** 2 - math.log(s * math.sqrt(2 * math.pi)) for v in (0.5, -1.0, 2.0))
    assert case.process.prior_logp(z).item() == pytest.approx(expected, rel=1e-12)  # type: ignore[attr-defined]
    draws = case.process.prior_sampling((4, 8192), Noise(0, range(4)))
    # Standard error of the deviation: s / sqrt(2 n), n = 32768; five of them.
    assert draws.std().item() == pytest.approx(s, rel=5 / math.sqrt(2 * 32768))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VPSDE(beta_min=0.0), "0 < beta_min <= beta_max, got 0.0 and 20.0"),
        (lambda: subVPSDE(beta_min=3.0, beta_max=2.0), "got 3.0 and 2.0"),
        (lambda: VESDE(sigma_min=5.0, sigma_max=1.0), "0 < sigma_min < sigma_max, got 5.0 and 1.0"),
    ],
)
def test_parameters_out_of_range_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_ancestors_positional_arguments_mean_the_same() -> None:
    """VPSDE(beta_min, beta_max, N) and VESDE(sigma_min, sigma_max, N)."""
    assert VPSDE(0.2, 10, 500) == VPSDE(beta_min=0.2, beta_max=10, N=500)
    assert subVPSDE(0.2, 10, 500) == subVPSDE(beta_min=0.2, beta_max=10, N=500)
    assert VESDE(0.02, 90, 2000) == VESDE(sigma_min=0.02, sigma_max=90, N=2000)


def shapes() -> Sequence[tuple[int, ...]]:
    return [(2, 3), (2, 3, 5), (2, 1, 4, 6), (2, 1, 2, 3, 4)]


@pytest.mark.parametrize("shape", shapes())
@pytest.mark.parametrize("process", SDES)
def test_each_sample_has_its_own_time_at_any_rank(process: str, shape: tuple[int, ...]) -> None:
    """Drift of a state of ones: f(t_i) everywhere in sample i."""
    oracle = CASES[process].oracle
    assert oracle.drift is not None
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    drift = CASES[process].process.sde(torch.ones(shape), t).drift  # type: ignore[attr-defined]
    for row, time in zip(drift.flatten(1), (0.2, 0.7), strict=True):
        assert row.tolist() == pytest.approx([oracle.drift(time)] * row.numel(), rel=1e-6)
