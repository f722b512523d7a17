"""Chains of levels: their schedules, respacing, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sde_lib import DiscreteDiffusion
from sde_lib.discrete import ddpm_chain
from sde_lib.schedules import (
    cosine_betas,
    geometric_sigmas,
    linear_betas,
    scaled_linear_betas,
    zero_snr_betas,
)
from tests.oracles import CASES, CHAINS, COSINE_BETAS, LINEAR_BETAS, SMLD_SIGMAS


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (linear_betas(1000), LINEAR_BETAS),
        (cosine_betas(1000), COSINE_BETAS),
        (geometric_sigmas(1000), SMLD_SIGMAS),
    ],
    ids=["linear", "cosine", "geometric"],
)
def test_schedules_are_the_papers(schedule: torch.Tensor, expected: np.ndarray) -> None:
    """The cosine's beta_0 = 1 - f_1/f_0 = 4e-5 keeps 1e-11 of its digits."""
    assert schedule.numpy() == pytest.approx(expected, rel=1e-10)


def test_scaled_linear_betas_are_squares_of_equal_steps() -> None:
    """Stable Diffusion's: from 0.00085 to 0.012, the roots evenly (Rombach et al. 2022)."""
    expected = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    chain = ddpm_chain(schedule="scaled_linear", beta_min=0.85, beta_max=12.0)
    assert scaled_linear_betas(1000).numpy() == pytest.approx(expected, rel=1e-12)
    alphas = chain.marginal(torch.arange(1000)).alpha.numpy()
    assert alphas == pytest.approx(np.cumprod(1 - expected) ** 0.5, rel=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine"])
def test_zero_terminal_snr_moves_and_stretches_the_alphas(schedule: Any) -> None:
    """Lin et al. 2024, algorithm 1: alpha' = a alpha + b with alpha'_0 = alpha_0 and alpha'_N-1 = 0."""
    before = ddpm_chain(schedule=schedule).marginal(torch.arange(1000)).alpha.numpy()
    chain = ddpm_chain(schedule=schedule, zero_terminal_snr=True)
    level = chain.marginal(torch.arange(1000))
    expected = (before - before[-1]) * before[0] / (before[0] - before[-1])
    assert level.alpha.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert (level.alpha[-1].item(), level.sigma[-1].item()) == (0, 1)
    assert (chain.start, chain.signal_start) == (999, 998)
    assert ddpm_chain(schedule=schedule).signal_start == 999
    assert torch.isfinite(level.log_snr[:-1]).all()


def test_rescaling_twice_changes_nothing() -> None:
    once = zero_snr_betas(linear_betas(100))
    assert zero_snr_betas(once).numpy() == pytest.approx(once.numpy(), rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "said"), [({"N": 1}, "N=1"), ({"N": 2, "betas": (0.1, 0.2)}, "given as they are")]
)
def test_what_cannot_be_rescaled_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ddpm_chain(**settings, zero_terminal_snr=True)


def test_linear_schedule_keeps_its_total_noise_at_another_number_of_levels() -> None:
    """Ho et al.'s numbers for 1000 levels, scaled by 1000/N for N."""
    assert linear_betas(1000)[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])
    assert linear_betas(100).sum().item() == pytest.approx(linear_betas(1000).sum().item())


@pytest.mark.parametrize("name", ["ddpm", "ddpm_cosine"])
def test_one_step_of_the_ddpm_chain_is_its_beta(name: str) -> None:
    """x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z, for all 1000 levels at once."""
    betas = torch.tensor(LINEAR_BETAS if name == "ddpm" else COSINE_BETAS)
    t = torch.arange(1000)
    step = CASES[name].process.transition(t, t - 1)  # type: ignore[attr-defined]
    assert torch.allclose(step.scale**2, 1 - betas, rtol=1e-12)
    # beta is the difference of two numbers near one: 1e-16 / 1e-4.
    assert torch.allclose(step.std**2, betas, rtol=1e-9)


def test_one_step_of_the_smld_chain_adds_the_difference_of_the_variances() -> None:
    t = torch.arange(1000)
    step = CASES["smld"].process.transition(t, t - 1)  # type: ignore[attr-defined]
    expected = np.diff(np.concatenate([[0.0], SMLD_SIGMAS**2]))
    assert (step.scale == 1).all()
    assert (step.std**2).numpy() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", CHAINS)
def test_respaced_chain_has_the_kept_levels_marginals(name: str) -> None:
    """And remembers which levels they were, through two respacings."""
    chain: DiscreteDiffusion = CASES[name].process  # type: ignore[assignment]
    kept = [999, 3, 500, 700]
    short = chain.respace(kept)
    index, original = torch.arange(4), torch.tensor([3, 500, 700, 999])
    assert short.num_levels == 4
    assert torch.equal(short.original, original)
    assert torch.equal(short.marginal(index).alpha, chain.marginal(original).alpha)
    assert torch.equal(short.marginal(index).sigma, chain.marginal(original).sigma)
    assert short.marginal(torch.tensor(-1)).sigma == 0
    assert short.prior_std == chain.prior_std
    assert torch.equal(short.respace([1, 3]).original, torch.tensor([500, 999]))


@pytest.mark.parametrize("name", CHAINS)
def test_respaced_chain_takes_the_long_chains_steps(name: str) -> None:
    """A transition between kept levels composes those in between (Nichol & Dhariwal 2021, section 4)."""
    chain: DiscreteDiffusion = CASES[name].process  # type: ignore[assignment]
    short = chain.respace([100, 600])
    long = chain.transition(torch.tensor(600), torch.tensor(100))
    step = short.transition(torch.tensor(1), torch.tensor(0))
    assert step.scale.item() == long.scale.item()
    assert step.std.item() == long.std.item()


def test_time_of_takes_the_nearest_level() -> None:
    """In log(sigma/alpha); the SMLD chain's ratio of neighbours is q = (sigma_max/sigma_min)^(1/999)."""
    chain: DiscreteDiffusion = CASES["smld"].process  # type: ignore[assignment]
    q = (50 / 0.01) ** (1 / 999)
    wanted = torch.tensor([0.01 * q**10.4, 0.01 * q**10.6, 1e-4, 1e4], dtype=torch.float64)
    assert chain.time_of(wanted).tolist() == [10, 11, 0, 999]


def test_tables_move_with_the_module_and_keep_float64() -> None:
    """A network's ``.to`` carries them: no table stays on the CPU. Nothing is written in checkpoints."""
    chain = DiscreteDiffusion.ddpm(linear_betas(100)).to("meta")
    assert chain.marginal(torch.zeros(2, dtype=torch.int64, device="meta")).alpha.is_meta
    assert chain.alphas.dtype == torch.float64
    assert chain.state_dict() == {}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: DiscreteDiffusion.ddpm(torch.tensor([0.1, 1.2])),
            r"betas must lie in \(0, 1\], got 0.1 to 1.2",
        ),
        (lambda: DiscreteDiffusion.ddpm(torch.tensor([0.0, 0.1])), r"betas must lie in \(0, 1\]"),
        (lambda: DiscreteDiffusion.smld(torch.tensor([2.0, 1.0])), "strictly noisier"),
    ],
)
def test_wrong_levels_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]
