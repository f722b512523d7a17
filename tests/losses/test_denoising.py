"""Denoising score matching: known values, known minima, the papers' formulas with the same noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losses import (
    DenoisingLoss,
    StratifiedLevels,
    StratifiedTimes,
    TimeSampler,
    UniformLevels,
    UniformTimes,
    register_weighting,
)
from losses.weightings import DataWeighting, EpsWeighting, LikelihoodWeighting, VelocityWeighting, Weighting
from models.base import Network
from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel, Output
from models.prediction.time_encoding import ChainIndex, Time
from sde_lib import VPSDE, DiscreteDiffusion, Noise, Process, expand
from tests.oracles import CASES, COSINE_BETAS, LINEAR_BETAS, SDES, SMLD_SIGMAS, Case, Data

DATA = Data(0.3, 0.5)
SHAPE = (16, 4096)


@dataclass(frozen=True)
class At(TimeSampler):
    """The same time for every sample."""

    t: float

    def sample(self, process: Process, noise: Noise) -> Tensor:
        return process.time([self.t]).expand(len(noise))


class Tanh(Network):
    """Some network: wrong, but smooth in the state and the label."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return torch.tanh(0.7 * x) * (0.3 + expand(labels, x) / 1000)


def middle(case: Case) -> float:
    return round(0.3 * case.oracle.start) if isinstance(case.process, DiscreteDiffusion) else 0.3


def streams(batch: int = SHAPE[0]) -> Noise:
    return Noise(0, range(batch), dtype=torch.float64)


def data() -> Tensor:
    return DATA.mean + DATA.std * Noise(1, range(SHAPE[0]), dtype=torch.float64).normal(SHAPE)


def test_exact_model_reaches_the_least_loss(case: Case) -> None:
    """For N(mu, c^2): E|eps - E[eps | x_t]|^2 = alpha^2 c^2 / (alpha^2 c^2 + sigma^2), to 5 s.e."""
    t = middle(case)
    a, s = case.oracle.alpha(t), case.oracle.sigma(t)
    expected = (a * DATA.std) ** 2 / ((a * DATA.std) ** 2 + s**2)
    network = GaussianScore(process=case.process, mean=DATA.mean, std=DATA.std)
    model = NoiseModel(network, case.process, Time(case.process), "score")
    loss = DenoisingLoss(At(t))(model, data(), streams())
    assert loss.t.tolist() == [t] * SHAPE[0]
    error = math.sqrt(2 / math.prod(SHAPE))
    assert loss.values.mean().item() == pytest.approx(expected, rel=5 * error)


@pytest.mark.parametrize("scale", [0.8, 1.2])
def test_any_other_affine_model_loses_more(case: Case, scale: float) -> None:
    """Least squares: a score off by a factor adds (1 - factor)^2 E[sigma^2 score^2] = (..)^2 sigma^2 / v."""
    t = middle(case)
    s, law = case.oracle.sigma(t), DATA.law(case.oracle, t)
    network = GaussianScore(process=case.process, mean=DATA.mean, std=DATA.std)
    network.register_forward_hook(lambda _module, _inputs, output: scale * output)
    model = NoiseModel(network, case.process, Time(case.process), "score")
    loss = DenoisingLoss(At(t))(model, data(), streams()).values.mean().item()
    expected = 1 - s**2 / law.var + (1 - scale) ** 2 * s**2 / law.var
    # The residual's variance is the loss itself.
    assert loss == pytest.approx(expected, rel=5 * math.sqrt(2 / math.prod(SHAPE)))


@pytest.mark.parametrize("process", ["ddpm", "ddpm_cosine"])
def test_ddpm_loss_is_ho_et_al_equation_14(process: str) -> None:
    """|eps - net(sqrt(abar) x0 + sqrt(1 - abar) eps, t)|^2, with the levels and the noise of the streams."""
    chain: DiscreteDiffusion = CASES[process].process  # type: ignore[assignment]
    x0, noise = data(), streams()
    t, eps = noise.integers(1000).numpy(), noise.normal(SHAPE).numpy()
    abar = np.cumprod(1 - (LINEAR_BETAS if process == "ddpm" else COSINE_BETAS))[t][:, None]
    x = np.sqrt(abar) * x0.numpy() + np.sqrt(1 - abar) * eps
    net = np.tanh(0.7 * x) * (0.3 + t[:, None] / 1000)
    model = NoiseModel(Tanh(), chain, ChainIndex(chain), "eps")
    mean = DenoisingLoss(UniformLevels())(model, x0, streams()).values
    half_sum = DenoisingLoss(UniformLevels(), reduce_mean=False)(model, x0, streams()).values
    assert mean.numpy() == pytest.approx(((eps - net) ** 2).mean(1), rel=1e-9)
    assert half_sum.numpy() == pytest.approx(0.5 * ((eps - net) ** 2).sum(1), rel=1e-9)


def test_smld_loss_is_song_and_ermons_equation_5() -> None:
    """sigma^2 |score + z / sigma|^2 / 2 summed, network labels counting down, as score_sde has it."""
    chain: DiscreteDiffusion = CASES["smld"].process  # type: ignore[assignment]
    x0, noise = data(), streams()
    t, z = noise.integers(1000).numpy(), noise.normal(SHAPE).numpy()
    sigma = SMLD_SIGMAS[t][:, None]
    score = np.tanh(0.7 * (x0.numpy() + sigma * z)) * (0.3 + (999 - t[:, None]) / 1000)
    model = NoiseModel(Tanh(), chain, ChainIndex(chain, descending=True), "score")
    loss = DenoisingLoss(UniformLevels(), reduce_mean=False)(model, x0, streams()).values
    assert loss.numpy() == pytest.approx(0.5 * sigma[:, 0] ** 2 * ((score + z / sigma) ** 2).sum(1), rel=1e-9)


@pytest.mark.parametrize("process", SDES)
def test_likelihood_weighting_is_g_squared_times_score_matching(process: str) -> None:
    """g^2 |score + eps / sigma|^2 (Song et al. 2021b), written out."""
    case, t = CASES[process], 0.3
    assert case.oracle.diffusion is not None
    a, s, g = case.oracle.alpha(t), case.oracle.sigma(t), case.oracle.diffusion(t)
    x0, eps = data().numpy(), streams().normal(SHAPE).numpy()
    score = np.tanh(0.7 * (a * x0 + s * eps)) * (0.3 + t / 1000)
    model = NoiseModel(Tanh(), case.process, Time(case.process), "score")
    loss = DenoisingLoss(At(t), LikelihoodWeighting())(model, data(), streams()).values
    assert loss.numpy() == pytest.approx((g**2 * (score + eps / s) ** 2).mean(1), rel=1e-8)


@pytest.mark.parametrize(
    ("output", "weighting"), [("eps", EpsWeighting()), ("x0", DataWeighting()), ("v", VelocityWeighting())]
)
def test_weighting_makes_the_loss_the_squared_error_of_the_output(
    case: Case, output: Output, weighting: Weighting
) -> None:
    """|output - target|^2 for target eps, x0 and v = (alpha eps - sigma x0) / sqrt(alpha^2 + sigma^2)."""
    t = middle(case)
    a, s = case.oracle.alpha(t), case.oracle.sigma(t)
    x0, eps = data().numpy(), streams().normal(SHAPE).numpy()
    target = {"eps": eps, "x0": x0, "v": (a * eps - s * x0) / math.sqrt(a**2 + s**2)}[output]
    net = np.tanh(0.7 * (a * x0 + s * eps)) * (0.3 + t / 1000)
    model = NoiseModel(Tanh(), case.process, Time(case.process), output)
    loss = DenoisingLoss(At(t), weighting)(model, data(), streams()).values
    assert loss.numpy() == pytest.approx(((net - target) ** 2).mean(1), rel=1e-7)


def test_weightings_have_names() -> None:
    assert {"eps", "likelihood", "x0", "v"} <= set(register_weighting)


def test_loss_of_a_sample_does_not_know_its_batch() -> None:
    case = CASES["vp"]
    model = NoiseModel(Tanh(), case.process, Time(case.process), "eps")
    together = DenoisingLoss(UniformTimes())(model, data(), streams()).values
    alone = DenoisingLoss(UniformTimes())(model, data()[3:4], Noise(0, [3], dtype=torch.float64)).values
    assert alone.item() == pytest.approx(together[3].item(), rel=1e-12)


def test_conditioning_reaches_the_network() -> None:
    class Label(Tanh):
        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return torch.zeros_like(x) + expand(cond["y"], x)

    case = CASES["vp"]
    model = NoiseModel(Label(), case.process, Time(case.process), "eps")
    eps = streams().normal(SHAPE)
    y = torch.arange(16)
    loss = DenoisingLoss(At(0.5))(model, data(), streams(), y=y).values
    assert torch.allclose(loss, (eps - y[:, None]).square().mean(1), rtol=1e-10)


def times_of(sampler: TimeSampler, process: str, batch: int = 4096) -> Tensor:
    return sampler.sample(CASES[process].process, Noise(2, range(batch), dtype=torch.float64))


def test_uniform_times_fill_their_range() -> None:
    """Mean and deviation of a uniform, five standard errors of 4096; the range is [1e-5, 1]."""
    t = times_of(UniformTimes(), "vp")
    assert 1e-5 <= t.min() < 2e-3
    assert 1 - 2e-3 < t.max() <= 1
    assert t.mean().item() == pytest.approx(0.5, abs=5 / math.sqrt(12 * 4096))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_stratified_times_have_one_in_each_interval(batch: int) -> None:
    """B equal intervals of [t_min, T], one time in each, in order."""
    t = times_of(StratifiedTimes(), "vp", batch)
    unit = (t - 1e-5) / (1 - 1e-5)
    assert (unit * batch).floor().tolist() == list(range(batch))


def test_levels_are_uniform_over_the_chain() -> None:
    t = times_of(UniformLevels(), "ddpm")
    assert t.dtype == torch.int64
    assert t.min() >= 0
    assert t.max() <= 999
    assert t.double().mean().item() == pytest.approx(499.5, abs=5 * 1000 / math.sqrt(12 * 4096))


@pytest.mark.parametrize("times", [StratifiedTimes(), StratifiedLevels()])
@pytest.mark.parametrize("size", [3, 4, 8])
def test_strata_span_the_whole_batch(times: TimeSampler, size: int) -> None:
    """A batch that is taken in parts has the times of the batch that is not."""
    chain = isinstance(times, StratifiedLevels)
    process = DiscreteDiffusion.ddpm(torch.full((64,), 0.02)) if chain else VPSDE()
    whole = times.sample(process, Noise(3, range(8)))
    starts = range(0, 8, size)
    parts = [times.sample(process, Noise(3, range(a, min(a + size, 8)), part=(a, 8))) for a in starts]
    assert torch.equal(torch.cat(parts), whole)
