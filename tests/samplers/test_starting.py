"""Where runs start of a process whose prior has no signal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import Denoised, NoiseModel, convention
from models.exact.mixtures import GaussianScore
from models.prediction.time_encoding import ChainIndex, Time
from samplers import (
    DDIM,
    AncestralSampling,
    ClassifierFreeGuidance,
    EulerMaruyama,
    Heun,
    InterpolantSDE,
    LogProbGuidance,
    NoneCorrector,
    ODESampler,
    PCSampler,
    Predictor,
    ReverseDDIM,
    ReverseDiffusion,
    UniPC,
    repaint,
)
from samplers.starting import starts_below
from sde_lib import Explicit, Flow, InterpolatedChain, Karras, LogSNR, Noise, Process, Uniform
from sde_lib.discrete import ddpm_chain

FLOW, CHAIN = Flow(), ddpm_chain(N=50, zero_terminal_snr=True)


class Constant(nn.Module):
    """A velocity, x0 or eps that is the same everywhere."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return torch.full_like(x, 0.7)


def of_velocity() -> NoiseModel:
    return convention(FLOW).model(Constant())


def of_score(process: Process = FLOW) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, mean=0.3), process, Time(process), "score")


@pytest.mark.parametrize(
    ("predictor", "start"),
    [
        (DDIM(), 1.0),
        (AncestralSampling(), 1.0),
        (ReverseDiffusion(), 1.0),
        (InterpolantSDE(), 1.0),
        (InterpolantSDE("reverse"), 0.9995),
        (EulerMaruyama(), 0.9995),
        (Heun(), 0.9995),
        (UniPC(), 0.9995),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_predictor_that_divides_by_alpha_starts_below(predictor: Predictor, start: float) -> None:
    sampler = PCSampler.of(of_velocity(), predictor, num_steps=6, grid=Uniform())
    assert sampler.start == start
    assert len(sampler.times) == 6
    assert sampler.times[1:].tolist() == Uniform().times(FLOW, 6)[1:].tolist()
    assert torch.isfinite(sampler.sample((2, 3), seed=0).x).all()


@pytest.mark.parametrize("predictor", [DDIM(), ReverseDiffusion(), InterpolantSDE()], ids=str)
def test_a_model_of_the_score_starts_below(predictor: Predictor) -> None:
    assert PCSampler.of(of_score(), predictor, num_steps=6, grid=Uniform()).start == 0.9995


def test_wrapped_models_start_where_what_they_wrap_does() -> None:
    """Mixtures of two predictions have a value at pure noise, a gradient that is divided by alpha has none."""
    starts = [
        PCSampler.of(wrapped, DDIM(), num_steps=4, grid=Uniform()).start
        for wrapped in (
            Denoised(of_velocity(), lambda x0: x0),
            of_velocity().given(y=torch.zeros(1)),
            ClassifierFreeGuidance(of_velocity(), null_label=1, scale=2.0),
            LogProbGuidance(of_velocity(), lambda x, t: x.sum(1)),
        )
    ]
    assert starts == [1.0, 1.0, 1.0, 0.9995]


def test_ddim_is_eulers_method_on_the_velocity() -> None:
    """x_s = x - (t - s) u, so that a constant u leads from z to z - u, from t = 1 on."""
    sampler = PCSampler.of(of_velocity(), DDIM(), num_steps=4, grid=Uniform())
    z = torch.tensor([[0.4, -1.0]], dtype=torch.float64)
    *_, last = sampler.iterate(z, Noise(0, range(1), dtype=torch.float64))
    torch.testing.assert_close(last.x, z - 0.7, rtol=1e-12, atol=1e-12)


def test_times_above_the_start_are_left_out() -> None:
    grid = Explicit((1.0, 0.9999, 0.9, 0.1))
    assert PCSampler.of(of_score(), DDIM(), num_steps=4, grid=grid).times.tolist() == [0.9995, 0.9, 0.1]
    grid = Explicit((1.0, 0.9995, 0.9, 0.1))
    assert PCSampler.of(of_score(), DDIM(), num_steps=4, grid=grid).times.tolist() == [0.9995, 0.9, 0.1]


def test_encoding_ends_where_decoding_starts() -> None:
    encoder = PCSampler.of(of_score(), ReverseDDIM(), num_steps=5, grid=Uniform(), noise_removal=False)
    decoder = PCSampler.of(of_score(), DDIM(), num_steps=5, grid=Uniform(), noise_removal=False)
    assert encoder.times.tolist() == decoder.times.flip(0).tolist()


def test_resampling_starts_where_its_predictor_does() -> None:
    for predictor, start in ((DDIM(), 1.0), (Heun(), 0.9995)):
        run = PCSampler.of(of_velocity(), predictor, NoneCorrector(), num_steps=6, grid=Uniform())
        assert repaint(run, jump_length=2, resamplings=2).start == start


@pytest.mark.parametrize("grid", [LogSNR(), Karras()], ids=str)
def test_grids_of_noise_levels_start_below_whatever_the_model(grid: Any) -> None:
    times = grid.times(FLOW, 5)
    assert times[0] == 0.9995
    assert torch.isfinite(times).all()


def test_a_chain_without_signal_at_its_end() -> None:
    """The same rule, one level below."""
    outputs = {"v": 49, "x0": 49, "eps": 48, "score": 48}
    for output, start in outputs.items():
        model = NoiseModel(Constant(), CHAIN, ChainIndex(CHAIN), output)  # type: ignore[arg-type]
        sampler = PCSampler.of(model, DDIM(), num_steps=5, grid=Uniform())
        assert sampler.start == start
        assert torch.isfinite(sampler.sample((2, 3), seed=0).x).all()


def test_its_interpolation_starts_at_the_last_level_with_signal() -> None:
    process = InterpolatedChain(CHAIN)
    assert (process.start, process.N) == (48.0, 50)
    level = process.marginal(torch.tensor([48.0, 47.5], dtype=torch.float64))
    assert level.alpha[0].item() == pytest.approx(CHAIN.marginal(torch.tensor(48)).alpha.item(), rel=1e-12)
    assert torch.isfinite(level.log_snr).all()


def test_the_flow_is_solved_from_below() -> None:
    """Data N(0.3, 0.5^2): z = 0 at pure noise leads to the mean, to the prior's error there, 5e-4 of a deviation."""
    sampler = ODESampler(of_score(), rtol=1e-7, atol=1e-7, noise_removal=False)
    assert sampler.start == 0.9995
    z = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    x = sampler.decode(z).x[0]
    # At t_end = 1e-3: N(0.999 0.3, (0.999 0.5)^2 + 1e-6).
    torch.testing.assert_close(x, torch.tensor([0.2997, 0.7992], dtype=torch.float64), rtol=1e-3, atol=1e-3)


def test_it_is_said() -> None:
    assert starts_below(0.9995, FLOW).startswith("starts at t=0.9995, below 1, where alpha is 0")
    assert starts_below(48, CHAIN).startswith("starts at t=48, below 49")
    assert starts_below(1.0, FLOW) == ""
    assert starts_below(10.0, ddpm_chain(N=50)) == ""
