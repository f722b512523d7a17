"""Faults of published samplers that ours must not have, each with a test that the fault fails.

Elsewhere: singlestep 3 that falls to order 2 through its closing steps, and times truncated to integers,
at which convergence stalls, fail test_solvers_order.py (whole runs, the interpolated chain among them).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import scipy.integrate
import torch
from torch import Tensor

from models.base import Network
from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from run_lib.config.methods import PredictorCorrector
from samplers import PCSampler, Predictor, register_predictor
from samplers.base import Evaluation, Memory
from samplers.correctors.none import NoneCorrector
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.deis import DEIS
from samplers.predictors.dpm_solver import DPMSolverMultistep, SDEDPMSolverMultistep
from samplers.predictors.sa_solver import SASolver
from samplers.predictors.unipc import UniPC
from sde_lib import VPSDE, Noise, Process
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.grids import LogSNR, Uniform
from tests.oracles import CASES


def quadratic(l: float) -> float:
    return 0.3 - 0.7 * l + 0.4 * l * l


class QuadraticData(Network):
    """A data prediction that is a quadratic in log(alpha/sigma), whatever the state."""

    output_kind = "x0"

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        level = CASES["vp"].process.marginal(labels)
        l = (level.alpha / level.sigma).log()
        return (0.3 - 0.7 * l + 0.4 * l * l)[:, None].expand_as(x)


@pytest.mark.parametrize(
    ("predictor", "tau"),
    [(DPMSolverMultistep(3), 0.0), (SDEDPMSolverMultistep(3), 1.0), (SASolver(3, 0, 1.0), 1.0)],
    ids=str,
)
def test_three_values_integrate_a_quadratic_exactly(predictor: Predictor, tau: float) -> None:
    """3M with half the weight on its second difference, and 3M SDE with -phi3 - 1 for -phi3, do not.

    The step's mean is sigma_s/sigma_t e^(-tau^2 h) x + int k alpha_s e^(-k (l_s - l)) f(l) dl, k = 1 + tau^2.
    """
    process, o = CASES["vp"].process, CASES["vp"].oracle
    model = NoiseModel(QuadraticData(), process, Time(process), "x0")
    times = [0.6, 0.5, 0.42, 0.3]
    l = [math.log(o.alpha(t) / o.sigma(t)) for t in times]
    at = [torch.tensor([t], dtype=torch.float64) for t in times]
    x = torch.tensor([[0.8]], dtype=torch.float64)
    past = tuple(Evaluation(at[k], x, torch.full_like(x, quadratic(l[k]))) for k in (1, 0))
    noise = Noise(0, range(1), dtype=torch.float64)
    step = predictor.advance(model, x, at[2], at[3], noise, Memory(past)).step
    k = 1 + tau**2
    integral, _ = scipy.integrate.quad(lambda v: k * math.exp(-k * (l[3] - v)) * quadratic(v), l[2], l[3])
    expected = (
        o.sigma(0.3) / o.sigma(0.42) * math.exp(-(tau**2) * (l[3] - l[2])) * 0.8 + o.alpha(0.3) * integral
    )
    assert step.mean.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("order", [2, 3])
def test_stochastic_multistep_keeps_the_spread_of_narrow_modes(order: int) -> None:
    """Std 0.05, 60 steps: the closing estimate spreads by 0.05^2 / sqrt(0.05^2 + r^2), r = sigma/alpha at the end.

    4096 draws: the estimate's error is 1.1 %, and the solver's at 60 steps is as small.
    """
    process, o = InterpolatedChain(CASES["ddpm"].process), CASES["ddpm"].oracle  # type: ignore[arg-type]
    model = NoiseModel(GaussianScore(process=process, mean=0.4, std=0.05), process, Time(process), "score")
    run = PCSampler(model, SDEDPMSolverMultistep(order), NoneCorrector(), LogSNR().times(process, 60))
    x = run.sample((64, 64), Noise(1, range(64), dtype=torch.float64)).x
    r = o.sigma(0) / o.alpha(0)
    assert x.std().item() == pytest.approx(0.05**2 / math.hypot(0.05, r), rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("predictor", [DEIS(4), SASolver(3, 4, 0.0), UniPC(3), ExponentialAdams(4)], ids=str)
def test_float32_states_do_not_spoil_the_coefficients(predictor: Predictor) -> None:
    """Coefficients from float32 levels stop converging, or diverge, as steps shrink: differences of nodes cancel.

    Ours are float64 whatever the state: at 1000 steps of order four nothing is left but the state's rounding,
    a random walk of 1000 errors of 6e-8.
    """
    process = CASES["vp"].process
    network = GaussianMixtureScore(process=process, means=[[-0.6], [0.7]], stds=0.5)
    model = NoiseModel(network, process, Time(process), "score")
    starts = torch.tensor([[-1.9], [-0.3], [0.6], [1.5]], dtype=torch.float64)

    def solve(x: Tensor, steps: int) -> Tensor:
        run = PCSampler(model, predictor, NoneCorrector(), LogSNR().times(process, steps))
        *_, last = run.iterate(x, Noise(0, range(len(x))))
        return last.x.double()

    exact = solve(starts, 1500)
    assert (solve(starts.float(), 1000) - exact).abs().max() < 1e-5


ALL = [name for name in register_predictor if name not in ("none", "reverse_ddim", "restart")]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("process", ["vp", "ve", "ddpm"])
def test_a_step_of_no_length_leaves_the_state(name: str, process: str) -> None:
    """0/0 in a coefficient is NaN. ``restart`` leaves its state by design, and a grid has no such step."""
    case, predictor = CASES[process], register_predictor[name]()
    if not isinstance(case.process, predictor.needs):
        pytest.skip("needs an SDE")
    model = NoiseModel(
        GaussianScore(process=case.process, std=0.5), case.process, Time(case.process), "score"
    )
    t = case.process.time([case.process.start / 2]).expand(2)
    x = Noise(1, range(2), dtype=torch.float64).normal((2, 8))
    step = predictor.update_fn(model, x, t, t.clone(), Noise(0, range(2), dtype=torch.float64))
    # As good as the marginals' rounding.
    assert torch.allclose(step.x, x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("steps", [3, 7, 30, 300, 600, 999])
def test_steps_that_do_not_divide_the_levels_reach_both_ends(steps: int) -> None:
    """1000 // N would stop short of the last levels, or start short of the first (600: half of the way)."""
    times = Uniform().times(CASES["ddpm"].process, steps)
    assert times[[0, -1]].tolist() == [999, 0]
    assert (-times.diff()).max() - (-times.diff()).min() <= 1


@pytest.mark.parametrize("steps", [600, 300])
def test_ddim_steps_between_the_times_of_its_grid(steps: int) -> None:
    """On N(0, c^2) DDIM multiplies x by (alpha_s alpha_t c^2 + sigma_s sigma_t) / (alpha_t^2 c^2 + sigma_t^2)."""
    process, o = CASES["ddpm"].process, CASES["ddpm"].oracle
    model = NoiseModel(GaussianScore(process=process, std=0.5), process, Time(process), "score")
    times = Uniform().times(process, steps)
    run = PCSampler(model, register_predictor["ddim"](), NoneCorrector(), times, noise_removal=False)
    *_, last = run.iterate(torch.ones(1, 1, dtype=torch.float64), Noise(0, range(1)))
    factor = 1.0
    for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        level = o.alpha(t) ** 2 * 0.25 + o.sigma(t) ** 2
        factor *= (o.alpha(s) * o.alpha(t) * 0.25 + o.sigma(s) * o.sigma(t)) / level
    assert last.x.item() == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize("bh", ["bh1", "bh2"])
@pytest.mark.parametrize("name", ["vp", "ve", "ddpm"])
def test_unipc_ends_on_data_without_a_step_to_zero_noise(bh: Any, name: str) -> None:
    """bh1's B(h) = h is infinite there: the closing estimate takes its place. N(0.3, 0.5^2), 512 values."""
    process: Any = CASES[name].process
    process = InterpolatedChain(process) if name == "ddpm" else process
    model = NoiseModel(GaussianScore(process=process, mean=0.3, std=0.5), process, Time(process), "score")
    run = PCSampler(model, UniPC(3, bh=bh), NoneCorrector(), LogSNR().times(process, 40))
    x = run.sample((8, 64), Noise(2, range(8), dtype=torch.float64)).x
    assert x.mean().item() == pytest.approx(0.3, abs=5 * 0.5 / 22)
    assert x.std().item() == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("steps", [2, 5, 10, 20])
@pytest.mark.parametrize("name", ["ancestral_sampling", "reverse_diffusion", "euler_maruyama"])
def test_steps_longer_than_one_over_beta_stay_finite(name: str, steps: int) -> None:
    """sqrt(1 - beta_max / N) is NaN for N <= 20; every draw lies within the prior's reach."""
    process = VPSDE(beta_min=0.1, beta_max=20.0, N=steps)
    model = NoiseModel(GaussianScore(process=process, std=0.5), process, Time(process), "score")
    run = PCSampler(model, register_predictor[name](), NoneCorrector(), Uniform().times(process, steps))
    x = run.sample((4, 16), Noise(0, range(4), dtype=torch.float64)).x
    assert bool(x.isfinite().all())


def test_the_run_ends_with_denoising_by_default() -> None:
    """Modes of std 0.05: the state at the last level is 2e-3 and more from the estimate that closes the run."""
    process: Process = InterpolatedChain(CASES["ddpm"].process)  # type: ignore[arg-type]
    network = GaussianMixtureScore(process=process, means=[[-0.6] * 8, [0.7] * 8], stds=0.05)  # type: ignore[arg-type]
    model = NoiseModel(network, process, Time(process), "score")
    x = Noise(3, range(16), dtype=torch.float64).normal((16, 8))

    def solve(steps: int, **options: Any) -> Tensor:
        grid = LogSNR().times(process, steps)
        *_, last = PCSampler(model, ExponentialAdams(4), NoneCorrector(), grid, **options).iterate(
            x, Noise(0, range(16))
        )
        return last.x

    exact = solve(600)
    assert (solve(200) - exact).square().mean().sqrt() < 1e-5
    assert (solve(200, noise_removal=False) - exact).square().mean().sqrt() > 1e-3
    assert PredictorCorrector().noise_removal
