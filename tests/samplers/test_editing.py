"""Editing: great circles, SDEdit on Gaussian data in closed form, round trips of both inversions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers.correctors.none import NoneCorrector
from samplers.editing import (
    DDIMInversion,
    Inversion,
    intermediate_time,
    interpolate,
    sdedit,
    slerp,
    started_at,
)
from samplers.ode import ODESampler
from samplers.pc import PCSampler, SampleResult
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM
from sde_lib import VESDE, VPSDE, DiscreteDiffusion, Noise, Process
from sde_lib.finite import NotFiniteError
from sde_lib.grids import register_grid
from sde_lib.schedules import linear_betas

VP = VPSDE(beta_min=0.1, beta_max=20.0)
MEAN, STD = 0.7, 0.4
"""Of the data, N(MEAN, STD^2), independent coordinates."""


def gaussian(process: Process) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, mean=MEAN, std=STD), process, Time(process), "score")


def mixture() -> NoiseModel:
    means = torch.tensor([[0.5, -0.5, 0.2, 0.8], [-0.7, 0.1, 0.6, -0.3]], dtype=torch.float64)
    return NoiseModel(GaussianMixtureScore(process=VP, means=means, stds=0.3), VP, Time(VP), "score")


def times(process: Process, count: int) -> torch.Tensor:
    return register_grid["log_snr"]().times(process, count)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return Noise(seed, range(shape[0]), dtype=torch.float64).normal(shape)


# Great circles


def test_slerp_on_the_unit_circle() -> None:
    """From angle 0 to angle 2 radians, share w is at angle 2w: trigonometry, no formula of ours."""
    a, b = (torch.tensor([[math.cos(x), math.sin(x)]], dtype=torch.float64) for x in (0, 2))
    for w in (0.0, 0.25, 0.5, 0.9, 1.0):
        found = slerp(a, b, torch.tensor([w], dtype=torch.float64))
        assert found[0].tolist() == pytest.approx([math.cos(2 * w), math.sin(2 * w)], abs=1e-12)


def test_slerp_keeps_the_norm_of_ends_of_equal_norm() -> None:
    """Each sample turns by its own angle and stays at its own radius; the mean would be inside."""
    a, b = normal(1, 5, 3, 4), normal(2, 5, 3, 4)
    radius = torch.arange(1.0, 6.0)
    a, b = (z / z.flatten(1).norm(dim=1).reshape(-1, 1, 1) * radius.reshape(-1, 1, 1) for z in (a, b))
    share = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    assert slerp(a, b, share).flatten(1).norm(dim=1).tolist() == pytest.approx(radius.tolist(), abs=1e-6)


def test_slerp_of_parallel_ends_is_the_straight_line() -> None:
    """theta -> 0: the weights' limit is 1 - w and w, without 0/0."""
    a = normal(3, 2, 6)
    assert torch.allclose(slerp(a, 3 * a, torch.full((2,), 0.25)), 1.5 * a, atol=1e-12)


def test_slerp_refuses_opposite_ends() -> None:
    """Every great circle through a goes through -a: there is no answer."""
    a = normal(4, 2, 6)
    with pytest.raises(ValueError, match="neither zero nor opposite"):
        slerp(a, -a, torch.full((2,), 0.5))
    with pytest.raises(ValueError, match="neither zero nor opposite"):
        slerp(a, 0 * a, torch.full((2,), 0.5))


# SDEdit


def test_sdedit_of_a_gaussian() -> None:
    """DDIM's limit is the probability flow, which for N(mu, c^2) scales deviations from the mean: with
    d = sqrt(alpha^2 c^2 + sigma^2) at the time t0 of the edit,

        result = mu + (c / d) (alpha x + sigma z - alpha mu),

    so for a fixed x its mean is mu + (c alpha / d)(x - mu) and its standard deviation c sigma / d.
    """
    strength, count, x = 0.4, 20_000, -0.5
    t0 = 1e-3 + strength * (1 - 1e-3)
    integral = 0.1 * t0 + 0.5 * 19.9 * t0 * t0
    alpha, sigma = math.exp(-0.5 * integral), math.sqrt(-math.expm1(-integral))
    d = math.sqrt(alpha**2 * STD**2 + sigma**2)
    sampler = PCSampler(gaussian(VP), DDIM(), NoneCorrector(), times(VP, 400))
    noise = Noise(0, range(count), dtype=torch.float64)
    found = sdedit(sampler, torch.full((count, 1), x, dtype=torch.float64), strength, noise).x
    # Standard errors of 20,000 draws, four of each, and the first-order error of the steps.
    std = STD * sigma / d
    assert float(found.mean()) == pytest.approx(
        MEAN + STD * alpha / d * (x - MEAN), abs=4 * std / math.sqrt(count) + 2e-3
    )
    assert float(found.std()) == pytest.approx(std, rel=4 / math.sqrt(2 * count) + 0.01)


@pytest.mark.parametrize(
    ("process", "alpha"),
    [
        pytest.param(VP, math.exp(-0.5 * 10.05), id="VP"),
        pytest.param(VESDE(sigma_min=0.01, sigma_max=50.0), 1.0, id="VE"),
    ],
)
def test_sdedit_at_full_strength_is_sampling(process: Process, alpha: float) -> None:
    """At the prior's time the edit starts at alpha_T x + sigma_T z where sampling starts at prior_std z: for an
    image of zeros the two are the same states to sigma_T / prior_std, and so are the results."""
    sampler = PCSampler(gaussian(process), AncestralSampling(), NoneCorrector(), times(process, 30))
    plain = sampler.sample((50, 3), Noise(7, range(50), dtype=torch.float64))
    edited = sdedit(
        sampler, torch.zeros(50, 3, dtype=torch.float64), 1.0, Noise(7, range(50), dtype=torch.float64)
    )
    assert edited.nfe == plain.nfe == 30
    assert torch.allclose(edited.x, plain.x, atol=1e-4)


def test_sdedit_takes_the_rest_of_the_grid() -> None:
    """Half way of an SDE's time and of a chain's indices; the evaluations are those of the grid below."""
    assert float(intermediate_time(VP, 0.5)) == pytest.approx((1 + 1e-3) / 2)
    chain = DiscreteDiffusion.ddpm(linear_betas(100))
    assert intermediate_time(chain, 0.5).tolist() == 50, "round(0 + 0.5 * 99) of the indices 0 to 99"
    sampler = PCSampler(
        gaussian(chain),
        DDIM(),
        NoneCorrector(),
        torch.tensor([99, 80, 60, 50, 40, 20, 0]),
        noise_removal=False,
    )
    assert started_at(sampler, intermediate_time(chain, 0.5)).times.tolist() == [50, 40, 20, 0]
    assert started_at(sampler, torch.tensor(70)).times.tolist() == [70, 60, 50, 40, 20, 0]
    assert sdedit(sampler, torch.zeros(2, 1), 0.5, Noise(0, range(2))).nfe == 3


@pytest.mark.parametrize("strength", [0.0, -0.2, 1.1, math.nan])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength lies in \(0, 1\]"):
        intermediate_time(VP, strength)


def test_sdedit_does_not_know_its_batch() -> None:
    """Sample k is a function of (seed, k) and its own image."""
    sampler = PCSampler(gaussian(VP), AncestralSampling(), NoneCorrector(), times(VP, 8))
    x = normal(5, 6, 2)
    together = sdedit(sampler, x, 0.6, Noise(3, range(6), dtype=torch.float64)).x
    alone = torch.cat([sdedit(sampler, x[[k]], 0.6, Noise(3, [k], dtype=torch.float64)).x for k in range(6)])
    assert torch.allclose(together, alone, atol=1e-12)


# Inversions


def round_trip_error(inversion: Inversion) -> float:
    x = normal(6, 16, 4) * 0.5
    back = inversion.decode(inversion.encode(x).x).x
    return float((back - x).square().mean().sqrt())


def test_round_trip_of_ddim_falls_with_the_steps() -> None:
    """Both ways are Euler's method: twice the steps, half the error."""
    errors = [round_trip_error(DDIMInversion(mixture(), times(VP, n + 1))) for n in (50, 100, 200, 400)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.85 < slope < 1.15 for slope in slopes), (errors, slopes)
    assert errors[-1] < 0.02


def test_round_trip_of_the_flow_is_exact_to_its_tolerance() -> None:
    assert round_trip_error(ODESampler(mixture(), 1e-8, 1e-8, noise_removal=False)) < 1e-6


def test_closing_estimate_takes_noise_off_the_round_trip() -> None:
    """With ``noise_removal`` the result is E[x_0 | x_t] of what the round trip returns, as Tweedie has it for
    N(mu, c^2): mu + c^2 alpha / d^2 (x - alpha mu) at the last time."""
    model, grid = gaussian(VP), times(VP, 30)
    inversion = DDIMInversion(model, grid)
    z = normal(8, 10, 2)
    state = inversion.decode(z).x
    integral = 0.1 * 1e-3 + 0.5 * 19.9 * 1e-6
    alpha, variance = math.exp(-0.5 * integral), -math.expm1(-integral)
    expected = MEAN + STD**2 * alpha / (alpha**2 * STD**2 + variance) * (state - alpha * MEAN)
    closed = replace(inversion, noise_removal=True).decode(z)
    assert torch.allclose(closed.x, expected, atol=1e-9)
    assert (inversion.decode(z).nfe, closed.nfe) == (29, 30)


def test_inversion_needs_two_times() -> None:
    with pytest.raises(ValueError, match="at least 2 times"):
        DDIMInversion(gaussian(VP), torch.tensor([1.0]))


def vp_level(t: float) -> tuple[float, float]:
    """alpha and the standard deviation of x_t for N(mu, c^2)."""
    integral = 0.1 * t + 0.5 * 19.9 * t * t
    return math.exp(-0.5 * integral), math.sqrt(math.exp(-integral) * STD**2 - math.expm1(-integral))


@pytest.mark.parametrize("part", ["encode", "decode"])
def test_pairs_of_which_a_frame_is_lost_are_named(part: str) -> None:
    """Of three pairs with four frames each, frames 1, 2 and 9 are of the first and of the last pair."""

    class Losing:
        def lose(self, what: str, x: torch.Tensor, rows: list[int]) -> SampleResult:
            if what == part:
                raise NotFiniteError("lost", rows)
            return SampleResult(x, 1)

        def encode(self, x: torch.Tensor, **cond: Any) -> SampleResult:
            return self.lose("encode", x, [0, 2])

        def decode(self, z: torch.Tensor, **cond: Any) -> SampleResult:
            return self.lose("decode", z, [1, 2, 9])

    with pytest.raises(NotFiniteError, match="lost") as caught:
        interpolate(Losing(), normal(9, 3, 5), normal(10, 3, 5), torch.linspace(0, 1, 4, dtype=torch.float64))
    assert caught.value.rows == (0, 2)


def test_interpolation_on_gaussian_data() -> None:
    """The flow of N(mu, c^2) is linear: z = alpha_T mu + (d_T / d_0) (x - alpha_0 mu), d the standard deviation at a
    time. So a frame is that map's inverse of the point on the great circle, which arccos and sines give."""
    flow = ODESampler(gaussian(VP), 1e-8, 1e-8, noise_removal=False)
    a, b = normal(9, 3, 5), normal(10, 3, 5)
    found = interpolate(flow, a, b, torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)).x
    (alpha_0, d_0), (alpha_t, d_t) = vp_level(1e-3), vp_level(1.0)
    for k in range(3):
        za, zb = (alpha_t * MEAN + d_t / d_0 * (x[k] - alpha_0 * MEAN) for x in (a, b))
        theta = math.acos(float(za @ zb / za.norm() / zb.norm()))
        z = (math.sin(0.6 * theta) * za + math.sin(0.4 * theta) * zb) / math.sin(theta)
        middle = alpha_0 * MEAN + d_0 / d_t * (z - alpha_t * MEAN)
        assert torch.allclose(found[k], torch.stack([a[k], middle, b[k]]), atol=1e-5)
