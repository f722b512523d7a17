"""With an exact score, a sampler's output has the law that its own formula says, for every combination.

The data are N(0.3, c^2), c = 0.01 and 0.5 (the two samples of the batch). Noise is orthogonal, so that
mean and variance over the coordinates carry no sampling error and equal the scalar recursion of
``tests/oracles.py`` to float64 rounding.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import Corrector, PCSampler, Predictor
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.interpolant import InterpolantSDE
from samplers.predictors.none import NonePredictor
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import Noise
from sde_lib.grids import Uniform
from tests import oracles
from tests.oracles import CASES, Case, Data, OrthogonalNoise, PredictorMap, propagate

MEAN, STDS, SNR = 0.3, (0.01, 0.5), 0.16
SLOW = pytest.mark.slow

PREDICTORS: dict[str, tuple[Predictor, PredictorMap]] = {
    "euler_maruyama": (EulerMaruyama(), oracles.euler_maruyama),
    "euler_flow": (
        EulerMaruyama(probability_flow=True),
        functools.partial(oracles.euler_maruyama, flow=True),
    ),
    "reverse_diffusion": (ReverseDiffusion(), oracles.reverse_diffusion),
    "reverse_flow": (
        ReverseDiffusion(probability_flow=True),
        functools.partial(oracles.reverse_diffusion, flow=True),
    ),
    "ancestral_sampling": (AncestralSampling(), oracles.ancestral_sampling),
    "ddim": (DDIM(), oracles.ddim),
    "ddim_half": (DDIM(eta=0.5), functools.partial(oracles.ddim, eta=0.5)),
    "ddim_one": (DDIM(eta=1.0), functools.partial(oracles.ddim, eta=1.0)),
    "interpolant_sde": (InterpolantSDE("sigma", strength=0.5), oracles.interpolant),
    "none": (NonePredictor(), oracles.stay),
}
CORRECTORS: dict[str, tuple[Corrector, oracles.CorrectorMap]] = {
    "none": (NoneCorrector(), oracles.no_corrector),
    "langevin": (Langevin(snr=SNR), oracles.langevin),
    "ald": (AnnealedLangevin(snr=SNR), oracles.ald),
}


MATRIX = ["vp", "subvp", "ve", "flow", "ddpm", "smld"]


def can(process: str, predictor: str) -> bool:
    return isinstance(CASES[process].process, PREDICTORS[predictor][0].needs)


def combinations() -> list[tuple[str, str, str]]:
    return [(p, q, c) for p in MATRIX for q in PREDICTORS for c in CORRECTORS if can(p, q)]


MAIN_PREDICTORS = [
    (process, predictor)
    for process in MATRIX
    for predictor in ("euler_maruyama", "reverse_diffusion", "ancestral_sampling", "ddim")
    if can(process, predictor)
]


def model_of(case: Case) -> NoiseModel:
    network = GaussianScore(process=case.process, mean=MEAN, std=[[std] for std in STDS])
    return NoiseModel(network, case.process, Time(case.process), "score")


def sampler_of(case: Case, predictor: str, corrector: str, steps: int, **options: object) -> PCSampler:
    return PCSampler(
        model_of(case),
        PREDICTORS[predictor][0],
        CORRECTORS[corrector][0],
        Uniform().times(case.process, steps),
        **options,  # type: ignore[arg-type]
    )


def assert_law(x: torch.Tensor, laws: list[oracles.Law]) -> None:
    """Mean and variance over the coordinates; 1e-8 is rounding, amplified by up to 2000 steps."""
    for row, law in zip(x, laws, strict=True):
        assert row.mean().item() == pytest.approx(law.mean, rel=1e-8, abs=1e-8 * law.std)
        assert row.var(correction=0).item() == pytest.approx(law.var, rel=1e-8)


def laws_of(case: Case, predictor: str, corrector: str, steps: int, **options: object) -> list[oracles.Law]:
    return [
        propagate(
            Data(MEAN, std),
            case.oracle,
            case.times(steps),
            PREDICTORS[predictor][1],
            CORRECTORS[corrector][1],
            snr=SNR,
            **options,  # type: ignore[arg-type]
        )
        for std in STDS
    ]


@pytest.mark.parametrize("steps", [50, pytest.param(200, marks=SLOW), pytest.param(1000, marks=SLOW)])
@pytest.mark.parametrize(("process", "predictor", "corrector"), combinations())
def test_output_law_equals_the_exactly_propagated_one(
    process: str, predictor: str, corrector: str, steps: int
) -> None:
    case = CASES[process]
    size = {50: 128, 200: 512, 1000: 2048}[steps]  # more than the number of draws, 2 * steps
    result = sampler_of(case, predictor, corrector, steps).sample((2, size), OrthogonalNoise(2, size))
    assert_law(result.x, laws_of(case, predictor, corrector, steps))


@pytest.mark.parametrize("noise_removal", [True, False])
@pytest.mark.parametrize("corrector_first", [True, False])
@pytest.mark.parametrize("corrector", ["langevin", "ald"])
@pytest.mark.parametrize("predictor", ["ancestral_sampling", "none"])
@pytest.mark.parametrize("process", ["subvp", "smld"])
def test_order_of_sub_steps_follows_the_options(
    process: str, predictor: str, corrector: str, corrector_first: bool, noise_removal: bool
) -> None:
    """Three corrector sub-steps before or after each predictor step, with and without the closing estimate.

    A corrector-only run is closed by the same estimate (the ancestor's denoising does nothing there).
    """
    case = CASES[process]
    options = {"corrector_first": corrector_first, "noise_removal": noise_removal}
    sampler = sampler_of(case, predictor, corrector, 40, n_steps_each=3, **options)
    expected = laws_of(case, predictor, corrector, 40, sub_steps=3, **options)
    assert_law(sampler.sample((2, 512), OrthogonalNoise(2, 512)).x, expected)


@pytest.mark.parametrize(("process", "predictor", "corrector"), [c for c in combinations() if c[2] != "ald"])
def test_real_noise_gives_the_propagated_law_to_sampling_error(
    process: str, predictor: str, corrector: str
) -> None:
    """5 standard errors of n = 32768 values: std/sqrt(n) of the mean, var sqrt(2/n) of the variance.

    With Langevin the norms of D = 4096 values fluctuate by sqrt(2/D), which adds at most as much again. The law is
    exact for any number of steps: 20 make as many kinds of draws as more would.
    """
    case, size = CASES[process], (16, 4096)
    model = NoiseModel(
        GaussianScore(process=case.process, mean=MEAN, std=[[std] for std in STDS for _ in range(8)]),
        case.process,
        Time(case.process),
        "score",
    )
    predictors, correctors = PREDICTORS[predictor][0], CORRECTORS[corrector][0]
    sampler = PCSampler(model, predictors, correctors, Uniform().times(case.process, 20))
    x = sampler.sample(size, Noise(7, range(16), dtype=torch.float64)).x
    wide = 5 if corrector == "none" else 10
    for rows, law in zip(x.reshape(2, -1), laws_of(case, predictor, corrector, 20), strict=True):
        assert rows.mean().item() == pytest.approx(law.mean, abs=wide * law.std / 32768**0.5)
        assert rows.var(correction=0).item() == pytest.approx(law.var, rel=wide * (2 / 32768) ** 0.5)


@pytest.mark.parametrize(("process", "predictor"), MAIN_PREDICTORS)
def test_200_steps_come_close_to_the_target(process: str, predictor: str) -> None:
    """Std 0.5 within 5 % (first order: an error of a few steps' length, 1/200) and the mean within 1 %."""
    size = (2, 512)
    x = sampler_of(CASES[process], predictor, "none", 200).sample(size, OrthogonalNoise(*size)).x[1]
    assert x.std(correction=0).item() == pytest.approx(0.5, rel=0.05)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01 * 0.5)


@pytest.mark.parametrize(("steps", "factor"), [(100, 3.0), (200, 2.0), pytest.param(1000, 1.1, marks=SLOW)])
@pytest.mark.parametrize(("process", "predictor"), MAIN_PREDICTORS)
def test_narrow_data_do_not_blow_up_with_few_steps(
    process: str, predictor: str, steps: int, factor: float
) -> None:
    """Data of std 0.01 come out at 0.01 times at most ``factor``, and not collapsed to a point.

    Steps of 1/N on a grid of other spacing (the ancestor) give 4.4 times at 200 steps and 21.7 at 100.
    From below: the closing estimate of N(., c^2) at noise sigma has std c^2 / sqrt(c^2 + sigma^2), which is
    0.69 c for sigma^2 = 1.1e-4, the VP SDE's at t = 1e-3; first-order steps take off up to a quarter more.
    """
    size = (2, 1024)
    x = sampler_of(CASES[process], predictor, "none", steps).sample(size, OrthogonalNoise(*size)).x[0]
    assert 0.5 * 0.01 < x.std(correction=0).item() < factor * 0.01
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)


@pytest.mark.parametrize("predictor", ["euler_maruyama", "reverse_diffusion", "ancestral_sampling"])
@pytest.mark.parametrize("process", ["vp", "subvp", "ve"])
def test_stochastic_predictors_are_of_weak_order_one(process: str, predictor: str) -> None:
    """The error of the variance halves with the step, within 0.15 in the order.

    The target is the law at t_end of the exact reverse process, whose prior differs from p_T by less than
    1e-4; the error at 200 steps is of order 1e-2.

    Euler-Maruyama on the VE SDE is of order 2 here: a step's error in the variance is
    (g^4 / v - (g^2)' / 2) dt^2, g^2 = 2 L sigma^2, and the later steps shrink it by (v_end / v)^2, so that
    the sum is proportional to the integral of (1/v^2 - 2 c^2/v^3) dv from c^2 to infinity, which is zero.
    """
    case = CASES[process]
    target = Data(MEAN, 0.5).law(case.oracle, case.oracle.end).var
    errors = []
    for steps in (101, 201, 401):
        sampler = sampler_of(case, predictor, "none", steps, noise_removal=False)
        errors.append(
            abs(sampler.sample((2, 512), OrthogonalNoise(2, 512)).x[1].var(correction=0).item() - target)
        )
    slope = np.polyfit(np.log([100, 200, 400]), np.log(errors), 1)[0]
    expected = 2.0 if (process, predictor) == ("ve", "euler_maruyama") else 1.0
    assert -slope == pytest.approx(expected, abs=0.15)
