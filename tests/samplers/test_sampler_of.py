"""A sampler in one line: its defaults, its random numbers, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import (
    DDIM,
    AnnealedLangevin,
    EulerMaruyama,
    Langevin,
    NoneCorrector,
    ODESampler,
    PCSampler,
    Predictor,
    Replacement,
    ReverseDDIM,
    ReverseDiffusion,
    Step,
    UniPC,
)
from samplers.operators import Mask
from sde_lib import SDE, Coefficients, GaussianProcess, Karras, LogSNR, Noise, Process, Uniform
from sde_lib.grids import Blend
from tests.oracles import CASES


class Wiener(SDE):
    """dx = dw: a process without a Gaussian marginal that it states."""

    def sde(self, x: torch.Tensor, t: torch.Tensor) -> Coefficients:
        return Coefficients(torch.zeros_like(x), torch.ones_like(t))

    def prior_sampling(self, shape: Any, noise: Noise) -> torch.Tensor:
        return noise.normal(shape)

    def prior_logp(self, z: torch.Tensor) -> torch.Tensor:
        return -z.flatten(1).square().sum(1) / 2


def exact(process: Process = CASES["vp"].process) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, mean=0.3, std=0.5), process, Time(process), "score")


def unknown_marginal(process: SDE) -> NoiseModel:
    return NoiseModel(GaussianScore(process=CASES["vp"].process), process, Time(process), "score")


def test_samples_in_one_line_follow_the_data() -> None:
    """N(0.3, 0.5^2) of 4096 draws: mean within five standard errors, deviation too."""
    result = PCSampler.of(exact(), UniPC(), num_steps=20).sample((4096, 1), seed=3)
    assert result.nfe == 20
    assert result.x.mean().item() == pytest.approx(0.3, abs=5 * 0.5 / math.sqrt(4096))
    assert result.x.std().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(2 * 4096))


@pytest.mark.parametrize(
    ("process", "grid"),
    [("vp", LogSNR()), ("ve", LogSNR()), ("ddpm", Blend(0.5, 0.5, 1.6)), ("wiener", Uniform())],
)
def test_it_is_the_long_spelling_with_defaults(process: str, grid: Any) -> None:
    kind = Wiener() if process == "wiener" else CASES[process].process
    model = exact(kind) if process != "wiener" else unknown_marginal(kind)
    short = PCSampler.of(model, ReverseDiffusion(), num_steps=7)
    assert short.corrector == NoneCorrector()
    assert torch.equal(short.times, grid.times(kind, 7))
    assert (short.n_steps_each, short.corrector_first, short.noise_removal, short.constraints) == (
        1,
        True,
        True,
        (),
    )


def test_everything_can_be_chosen() -> None:
    constraint = Replacement(Mask(torch.ones(3)), torch.zeros(2, 3))
    run = PCSampler.of(
        exact(),
        DDIM(),
        Langevin(),
        num_steps=5,
        grid=Karras(),
        n_steps_each=2,
        corrector_first=False,
        noise_removal=False,
        constraints=[constraint],
    )
    assert torch.equal(run.times, Karras().times(CASES["vp"].process, 5))
    assert run.corrector == Langevin()
    assert (run.n_steps_each, run.corrector_first, run.noise_removal) == (2, False, False)
    assert run.constraints == [constraint]
    assert run.sample((2, 3)).nfe == 4 + 2 * 4


def test_a_predictor_that_encodes_gets_rising_times() -> None:
    run = PCSampler.of(exact(), ReverseDDIM(), num_steps=6)
    assert torch.equal(run.times, LogSNR().times(CASES["vp"].process, 6).flip(0))


@pytest.mark.parametrize(
    "run", [PCSampler.of(exact(), DDIM(eta=1.0), num_steps=4), ODESampler(exact(), 1e-2, 1e-2)]
)
def test_a_seed_stands_for_its_streams(run: Any) -> None:
    expected = run.sample((3, 2), Noise(5, range(3))).x
    assert torch.equal(run.sample((3, 2), seed=5).x, expected)
    assert torch.equal(run.sample((3, 2)).x, run.sample((3, 2), seed=0).x)
    assert not torch.equal(run.sample((3, 2)).x, expected)
    with pytest.raises(ValueError, match=r"from noise or from a seed, and both are given \(seed=0\)"):
        run.sample((3, 2), Noise(5, range(3)), seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PCSampler.of(exact(CASES["ddpm"].process), EulerMaruyama()),
            "predictor 'euler_maruyama' needs a process of the kind SDE, which DiscreteDiffusion is not",
        ),
        (
            lambda: PCSampler.of(
                unknown_marginal(Wiener()),
                EulerMaruyama(),
                AnnealedLangevin(),
            ),
            "corrector 'ald' needs a process of the kind GaussianProcess, which Wiener is not",
        ),
        (
            lambda: PCSampler.of(
                unknown_marginal(Wiener()),
                EulerMaruyama(),
                constraints=[Replacement(Mask(torch.ones(3)), torch.zeros(2, 3))],
            ),
            "constraint 'Replacement' needs a process of the kind GaussianProcess",
        ),
        (
            lambda: PCSampler.of(unknown_marginal(Wiener()), EulerMaruyama(), grid=LogSNR()),
            "grid 'log_snr' needs a process of the kind GaussianProcess",
        ),
    ],
)
def test_a_process_that_lacks_what_a_component_needs_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_needs_are_those_of_the_type_unless_stated() -> None:
    class Typed(Predictor[GaussianProcess]):
        def update_fn(self, model: Any, x: Any, t: Any, s: Any, noise: Any) -> Step:
            return Step(x, x)

    class Stated(Predictor):
        needs = GaussianProcess

        def update_fn(self, model: Any, x: Any, t: Any, s: Any, noise: Any) -> Step:
            return Step(x, x)

    class Narrower(Predictor[Process]):
        needs = SDE

        def update_fn(self, model: Any, x: Any, t: Any, s: Any, noise: Any) -> Step:
            return Step(x, x)

    assert (Typed.needs, Stated.needs, Narrower.needs) == (GaussianProcess, GaussianProcess, SDE)
    assert (Predictor.needs, DDIM.needs, EulerMaruyama.needs, ReverseDiffusion.needs) == (
        Process,
        GaussianProcess,
        SDE,
        Process,
    )
