"""Deterministic predictors converge to the probability flow at the order that they declare.

For Gaussian data N(mu, c^2) the flow is known: in the units of the marginal's standard deviation
s_t = sqrt(alpha_t^2 c^2 + sigma_t^2) nothing moves, so x_s = alpha_s mu + (x_t - alpha_t mu) s_s / s_t.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import ODESampler, PCSampler, Predictor
from samplers.correctors.none import NoneCorrector
from samplers.predictors.ddim import DDIM, ReverseDDIM
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.interpolant import InterpolantSDE
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import Noise
from sde_lib.grids import LogSNR, Uniform
from tests.oracles import CASES, Case, Data

DATA = Data(0.3, 0.5)
FLOWS: dict[str, Predictor] = {
    "euler_maruyama": EulerMaruyama(probability_flow=True),
    "reverse_diffusion": ReverseDiffusion(probability_flow=True),
    "ddim": DDIM(),
    "interpolant_sde": InterpolantSDE(strength=0.0),
}


def model_of(case: Case) -> NoiseModel:
    network = GaussianScore(process=case.process, mean=DATA.mean, std=DATA.std)
    return NoiseModel(network, case.process, Time(case.process), "score")


def flow_map(case: Case, x: Tensor, t: float, s: float) -> Tensor:
    """Where the exact flow carries ``x`` from t to s."""
    now, then = DATA.law(case.oracle, t), DATA.law(case.oracle, s)
    return then.mean + (x - now.mean) * then.std / now.std


def states(case: Case, t: float) -> Tensor:
    law = DATA.law(case.oracle, t)
    return law.mean + law.std * torch.tensor([[-1.5, -0.4, 0.2, 1.3]], dtype=torch.float64)


def silence() -> Noise:
    return Noise(0, range(1), dtype=torch.float64)


def run(case: Case, predictor: Predictor, times: Tensor, x: Tensor) -> Tensor:
    *_, last = PCSampler(model_of(case), predictor, NoneCorrector(), times, noise_removal=False).iterate(
        x, silence()
    )
    return last.x


def measured_order(errors: list[float]) -> float:
    """Slope of log error over log number of steps, each run with twice the steps of the one before."""
    return -float(np.polyfit(np.log(2.0) * np.arange(len(errors)), np.log(errors), 1)[0])


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_declared_order_is_reached(process: str, name: str) -> None:
    """On [0.1, 0.9], where every coefficient is smooth, against the closed-form flow."""
    case, x = CASES[process], states(CASES[process], 0.9)
    expected = flow_map(case, x, 0.9, 0.1)
    errors = []
    for steps in (200, 400, 800):
        times = torch.linspace(0.9, 0.1, steps + 1, dtype=torch.float64)
        errors.append((run(case, FLOWS[name], times, x) - expected).abs().max().item())
    assert FLOWS[name].order == 1
    assert measured_order(errors) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_reverse_ddim_follows_the_flow_to_the_noise_at_order_one(process: str) -> None:
    case, x = CASES[process], states(CASES[process], 0.1)
    expected = flow_map(case, x, 0.1, 0.9)
    errors = []
    for steps in (200, 400, 800):
        times = torch.linspace(0.1, 0.9, steps + 1, dtype=torch.float64)
        sampler = PCSampler(model_of(case), ReverseDDIM(), NoneCorrector(), times)
        errors.append((sampler.encode(x, silence()).x - expected).abs().max().item())
    assert ReverseDDIM().order == 1
    assert measured_order(errors) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("predictor", [EulerMaruyama(), ReverseDiffusion(), DDIM(eta=0.5)])
def test_stochastic_predictors_declare_no_order(predictor: Predictor) -> None:
    assert predictor.order is None


@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_ddim_inverts_reverse_ddim_at_order_one(process: str) -> None:
    case, x = CASES[process], states(CASES[process], 0.05)
    errors = []
    for steps in (100, 200, 400):
        times = LogSNR().times(case.process, steps + 1)
        times = times[times >= 0.05].flip(0)
        times = torch.cat([torch.tensor([0.05], dtype=torch.float64), times[times > 0.05]])
        z = PCSampler(model_of(case), ReverseDDIM(), NoneCorrector(), times).encode(x, silence()).x
        errors.append((run(case, DDIM(), times.flip(0), z) - x).abs().max().item())
    assert measured_order(errors) == pytest.approx(1, abs=0.1)
    # First order in log(sigma/alpha): 400 steps return the state to less than a step's length in it.
    log_ratio = [
        math.log(case.oracle.sigma(t) / case.oracle.alpha(t)) for t in (case.oracle.last, case.oracle.end)
    ]
    assert errors[-1] < (log_ratio[0] - log_ratio[1]) / 400 * DATA.std


@pytest.mark.parametrize("process", ["ddpm", "smld"])
def test_reverse_ddim_and_ddim_on_all_levels_of_a_chain_return_the_data(process: str) -> None:
    """999 steps each way: first order in 1/N of log(sigma/alpha), whose range is about 10: a few per cent."""
    case = CASES[process]
    x, times = states(case, 0), Uniform().times(case.process, 1000)
    z = PCSampler(model_of(case), ReverseDDIM(), NoneCorrector(), times.flip(0)).encode(x, silence()).x
    assert z.sub(flow_map(case, x, 0, 999)).abs().max().item() < 0.02 * DATA.law(case.oracle, 999).std
    assert run(case, DDIM(), times, z).sub(x).abs().max().item() < 0.03 * DATA.std


@pytest.mark.parametrize("method", ["dopri5", "dop853"])
@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_ode_sampler_is_the_flow_map(process: str, method: str) -> None:
    """Tolerance 1e-8 a step: 1e-6 of the state's scale at the end, at T and at t_end."""
    case = CASES[process]
    end = case.oracle.end
    sampler = ODESampler(model_of(case), rtol=1e-8, atol=1e-10, method=method, noise_removal=False)
    last = case.oracle.last
    z, x = states(case, last), states(case, end)
    assert sampler.decode(z).x.numpy() == pytest.approx(flow_map(case, z, last, end).numpy(), abs=1e-6)
    scale = DATA.law(case.oracle, last).std
    assert sampler.encode(x).x.numpy() == pytest.approx(
        flow_map(case, x, end, last).numpy(), abs=1e-6 * scale
    )


@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_decode_undoes_encode(process: str) -> None:
    case = CASES[process]
    sampler = ODESampler(model_of(case), rtol=1e-8, atol=1e-10, noise_removal=False)
    x = states(case, case.oracle.end)
    assert sampler.decode(sampler.encode(x).x).x.numpy() == pytest.approx(x.numpy(), abs=1e-6)


@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_noise_removal_closes_decode_with_the_posterior_mean(process: str) -> None:
    """E[x_0 | x_t] of Gaussian data: the precision-weighted mean of mu and x_t / alpha."""
    case = CASES[process]
    end = case.oracle.end
    a, s = case.oracle.alpha(end), case.oracle.sigma(end)
    z = states(case, case.oracle.last)
    x = flow_map(case, z, case.oracle.last, end)
    precisions = 1 / DATA.std**2, (a / s) ** 2
    expected = (precisions[0] * DATA.mean + precisions[1] * x / a) / sum(precisions)
    sampler = ODESampler(model_of(case), rtol=1e-8, atol=1e-10)
    assert sampler.decode(z).x.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_ode_sampler_counts_its_evaluations() -> None:
    """Calls of the network, counted outside the model."""
    case = CASES["vp"]
    model, calls = model_of(case), []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    result = ODESampler(model).sample((1, 4), silence())
    assert result.nfe == len(calls) > 0


def test_ode_sample_alone_is_the_sample_in_a_batch() -> None:
    """Error control is per sample, so batch-mates cannot change the steps: equal to float32 rounding."""
    case = CASES["vp"]
    sampler = ODESampler(model_of(case))
    together = sampler.sample((3, 16), Noise(5, [10, 11, 12])).x
    alone = sampler.sample((1, 16), Noise(5, [11])).x
    assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-6)
