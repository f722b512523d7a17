"""Where the times of a grid fall."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sde_lib import DiscreteDiffusion
from sde_lib.grids import Karras, LogSNR, Quadratic, TimeShift, Uniform, register_grid
from tests.oracles import CASES, SDES, Case


def log_ratio(case: Case, times: torch.Tensor) -> np.ndarray:
    """log(sigma/alpha) by the oracle."""
    return np.array([math.log(case.oracle.sigma(t) / case.oracle.alpha(t)) for t in times.tolist()])


@pytest.mark.parametrize("name", ["uniform", "quadratic", "log_snr", "karras"])
def test_grid_falls_from_the_prior_to_the_end(case: Case, name: str) -> None:
    """5 distinct times: float64 for an SDE, indices for a chain; the ends are exact.

    The cosine chain's last levels are so noisy that no more than 5 of the karras grid are distinct.
    """
    times = register_grid[name]().times(case.process, 5)
    assert len(times) == 5
    assert (times.diff() < 0).all()
    first = case.oracle.start if name in ("uniform", "quadratic") else case.oracle.last
    assert times[0].item() == first
    assert times[-1].item() == case.oracle.end
    assert times.dtype == (torch.int64 if isinstance(case.process, DiscreteDiffusion) else torch.float64)


def test_uniform_has_equal_steps(case: Case) -> None:
    """A chain's indices are rounded to the nearest."""
    times = Uniform().times(case.process, 18)
    expected = np.linspace(case.oracle.start, case.oracle.end, 18)
    assert times.numpy() == pytest.approx(
        np.rint(expected) if isinstance(case.process, DiscreteDiffusion) else expected, rel=1e-12
    )


@pytest.mark.parametrize("name", SDES)
def test_quadratic_has_equal_steps_in_the_square_root(name: str) -> None:
    o, times = CASES[name].oracle, Quadratic().times(CASES[name].process, 9)
    assert times.sqrt().diff().numpy() == pytest.approx((math.sqrt(o.end) - math.sqrt(o.start)) / 8, rel=1e-9)


@pytest.mark.parametrize("name", SDES)
def test_log_snr_has_equal_steps_in_log_sigma_over_alpha(name: str) -> None:
    case = CASES[name]
    steps = np.diff(log_ratio(case, LogSNR().times(case.process, 9)))
    assert steps == pytest.approx(np.full(8, steps.mean()), rel=1e-6)


@pytest.mark.parametrize("rho", [1.0, 7.0])
@pytest.mark.parametrize("name", SDES)
def test_karras_has_equal_steps_in_a_root_of_sigma_over_alpha(name: str, rho: float) -> None:
    case = CASES[name]
    steps = np.diff(np.exp(log_ratio(case, Karras(rho=rho).times(case.process, 9)) / rho))
    assert steps == pytest.approx(np.full(8, steps.mean()), rel=1e-6)


@pytest.mark.parametrize("shift", [0.4, 1.0, 3.0])
def test_time_shift_multiplies_sigma_over_alpha_of_equal_steps(shift: float) -> None:
    """sigma/alpha = t / (1 - t) over the shift is that of equal steps: Esser et al. 2024, eq. 23."""
    times = TimeShift(shift).times(CASES["flow"].process, 9)[1:]
    ratio = times / (1 - times) / shift
    steps = (ratio / (1 + ratio)).diff()
    assert steps.numpy() == pytest.approx(np.full(7, steps.mean().item()), rel=1e-9)
    assert times[0] > 1 - 1 / 8 if shift > 1 else times[0] <= 1 - 1 / 8 + 1e-3


def test_all_levels_of_a_chain_can_be_taken() -> None:
    times = Uniform().times(CASES["ddpm"].process, 1000)
    assert torch.equal(times, torch.arange(999, -1, -1))


@pytest.mark.parametrize("steps", [1001, 5000])
def test_more_steps_than_levels_are_refused(steps: int) -> None:
    """Never thinned in silence."""
    with pytest.raises(ValueError, match=f"{steps} steps of the Uniform grid do not fall on distinct levels"):
        Uniform().times(CASES["ddpm"].process, steps)


def test_levels_that_coincide_are_refused() -> None:
    """600 quadratic steps of 1000 levels round to equal indices near clean data."""
    with pytest.raises(ValueError, match="take fewer steps or the uniform grid"):
        Quadratic().times(CASES["ddpm"].process, 600)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 step, got {steps}"):
        Uniform().times(CASES["vp"].process, steps)


def test_one_step_goes_from_the_prior(case: Case) -> None:
    assert Uniform().times(case.process, 1).tolist() == [case.oracle.start]
