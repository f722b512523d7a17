"""A process of one's own, with nothing but the abstract methods, trains and samples.

Two are written here as a user would write them: a general SDE (drift, diffusion, prior) and a linear one
that knows only its marginal. Nothing else of the project is edited.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from losses import DenoisingLoss, TimeSampler, UniformTimes
from models.base import Network
from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel, Output
from models.prediction.time_encoding import Time
from samplers import Corrector, ODESampler, PCSampler, Predictor
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import SDE, Coefficients, GaussianSDE, Marginal, Noise, Process, expand
from sde_lib.grids import Uniform
from tests import oracles
from tests.oracles import Affine, Data, Law, Oracle, OrthogonalNoise, from_score, propagate

DATA = Data(0.3, 0.5)
ROOT = Path(__file__).parents[1]


class Ornstein(SDE):
    """dx = -theta x dt + g dw: a general SDE, of which the code is told no marginal."""

    theta, g = 2.0, 1.5

    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        return Coefficients(-self.theta * x, torch.full_like(t, self.g))

    def prior_sampling(self, shape: Sequence[int], noise: Noise) -> Tensor:
        return self.stationary_std * noise.normal(shape)

    def prior_logp(self, z: Tensor) -> Tensor:
        return torch.distributions.Normal(0.0, self.stationary_std).log_prob(z.double()).flatten(1).sum(1)

    @property
    def stationary_std(self) -> float:
        return self.g / math.sqrt(2 * self.theta)


class Trigonometric(GaussianSDE):
    """alpha = cos u, sigma = sin u, u = 0.98 t pi / 2: a linear SDE by its marginal alone."""

    rate = 0.98 * math.pi / 2

    def marginal(self, t: Tensor) -> Marginal:
        return Marginal(torch.cos(self.rate * t), torch.sin(self.rate * t))


ORNSTEIN = Oracle(
    alpha=lambda t: math.exp(-2.0 * t),
    sigma=lambda t: 0.75 * math.sqrt(-math.expm1(-4.0 * t)),
    ratio=lambda t: 1.0,  # a general SDE does not say how it scales its data
    prior_std=0.75,
    start=1.0,
    end=1e-3,
    drift=lambda t: -2.0,
    diffusion=lambda t: 1.5,
)
U = Trigonometric.rate
TRIGONOMETRIC = Oracle(
    alpha=lambda t: math.cos(U * t),
    sigma=lambda t: math.sin(U * t),
    ratio=lambda t: (math.cos(U * t) / math.cos(U * max(t - 1e-3, 0))) ** 2,
    prior_std=1.0,
    start=1.0,
    end=1e-3,
    drift=lambda t: -U * math.tan(U * t),  # (log cos)'
    diffusion=lambda t: math.sqrt(2 * U * math.tan(U * t)),  # (sin^2)' + 2 tan sin^2 = 2 tan
)


class OrnsteinScore(Network):
    """The exact score of the data under the Ornstein-Uhlenbeck process."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        t = expand(labels, x)
        mean, kept = DATA.mean * torch.exp(-2.0 * t), torch.exp(-4.0 * t)
        return (mean - x) / (DATA.std**2 * kept + 0.75**2 * (1 - kept))


def propagate_general(predictor: oracles.PredictorMap, corrector: oracles.CorrectorMap, steps: int) -> Law:
    """As ``propagate``, but closed by the mean of one reverse Euler step to time 0."""
    times = torch.linspace(1.0, 1e-3, steps, dtype=torch.float64).tolist()
    law = propagate(DATA, ORNSTEIN, times, predictor, corrector, noise_removal=False)
    law = law.after(corrector(DATA, ORNSTEIN, times[-1], law, 0.16))
    last = oracles.euler_maruyama(DATA, ORNSTEIN, times[-1], 0.0)
    return law.after(Affine(last.a, last.b))


@pytest.mark.parametrize("corrector", [NoneCorrector(), Langevin(snr=0.16)])
@pytest.mark.parametrize(
    "predictor", [EulerMaruyama(), ReverseDiffusion(), EulerMaruyama(probability_flow=True)]
)
def test_general_sde_samples_with_every_capable_component(predictor: Predictor, corrector: Corrector) -> None:
    """Its discretisation is Euler-Maruyama, so ``reverse_diffusion`` equals ``euler_maruyama``; exactly.

    The ancestor raises ``NotImplementedError`` here.
    """
    sde = Ornstein()
    model = NoiseModel(OrnsteinScore(), sde, Time(sde), "score")
    run = PCSampler(model, predictor, corrector, Uniform().times(sde, 100))
    x = run.sample((1, 512), OrthogonalNoise(1, 512)).x
    flow = getattr(predictor, "probability_flow", False)
    law = propagate_general(
        lambda d, o, t, s: oracles.euler_maruyama(d, o, t, s, flow=flow),
        oracles.langevin if isinstance(corrector, Langevin) else oracles.no_corrector,
        100,
    )
    assert x.mean().item() == pytest.approx(law.mean, rel=1e-8)
    assert x.var(correction=0).item() == pytest.approx(law.var, rel=1e-8)


def test_general_sde_samples_by_its_flow() -> None:
    """The flow keeps the place in units of the marginal's deviation."""
    sde = Ornstein()
    model = NoiseModel(OrnsteinScore(), sde, Time(sde), "score")
    z = torch.linspace(-2, 2, 5, dtype=torch.float64)[None]
    x = ODESampler(model, rtol=1e-8, atol=1e-10, noise_removal=False).decode(z).x
    first, last = DATA.law(ORNSTEIN, 1.0), DATA.law(ORNSTEIN, 1e-3)
    expected = last.mean + (z - first.mean) * last.std / first.std
    assert x[0].tolist() == pytest.approx(expected[0].tolist(), abs=1e-6)


@pytest.mark.parametrize("corrector", [NoneCorrector(), Langevin(snr=0.16), AnnealedLangevin(snr=0.16)])
@pytest.mark.parametrize(
    ("predictor", "oracle"),
    [
        (EulerMaruyama(), oracles.euler_maruyama),
        (ReverseDiffusion(), oracles.reverse_diffusion),
        (AncestralSampling(), oracles.ancestral_sampling),
        (DDIM(), oracles.ddim),
    ],
)
def test_sde_of_a_marginal_samples_with_everything(
    predictor: Predictor, oracle: oracles.PredictorMap, corrector: Corrector
) -> None:
    """Drift and diffusion derived from the marginal; the law is the scalar recursion's."""
    sde = Trigonometric()
    model = NoiseModel(GaussianScore(process=sde, mean=DATA.mean, std=DATA.std), sde, Time(sde), "score")
    times = Uniform().times(sde, 100)
    x = PCSampler(model, predictor, corrector, times).sample((1, 512), OrthogonalNoise(1, 512)).x
    maps = {NoneCorrector: oracles.no_corrector, Langevin: oracles.langevin, AnnealedLangevin: oracles.ald}
    law = propagate(DATA, TRIGONOMETRIC, times.tolist(), oracle, maps[type(corrector)])  # type: ignore[arg-type]
    assert x.mean().item() == pytest.approx(law.mean, rel=1e-7)
    assert x.var(correction=0).item() == pytest.approx(law.var, rel=1e-7)


class Line(Network):
    """slope x + offset."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(-0.1, dtype=torch.float64))
        self.offset = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return self.slope * x + self.offset


class Half(TimeSampler):
    """t = 0.5 for all."""

    def sample(self, process: Process, noise: Noise) -> Tensor:
        return torch.full((len(noise),), 0.5, dtype=torch.float64)


def fit(network: Network, process: Process, steps: int = 20) -> None:
    """Least squares of the denoising loss at t = 0.5, with one fixed draw of noise."""
    x0 = DATA.mean + DATA.std * Noise(1, range(64), dtype=torch.float64).normal((64, 4096))
    model = NoiseModel(network, process, Time(process), "score")
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        loss = DenoisingLoss(Half())(model, x0, Noise(2, range(64), dtype=torch.float64)).values.mean()
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[arg-type]


def test_denoising_on_a_general_sde_finds_the_score_of_its_simulation() -> None:
    """``perturb`` simulates 32 Euler-Maruyama steps: x <- (1 - theta h) x + g sqrt(h) z.

    Their law is Gaussian with the mean and variance of that recursion, so the best line has slope -1/v and
    offset m/v. Its target, the last step's -eps / (g sqrt(h)), has deviation 1/(g sqrt(h)) = 5.3, whence the
    standard errors of slope and offset over n = 2^18 values.
    """
    network, n = Line(), 64 * 4096
    fit(network, Ornstein())
    h, mean, var = 0.5 / 32, DATA.mean, DATA.std**2
    for _ in range(32):
        mean, var = (1 - 2.0 * h) * mean, (1 - 2.0 * h) ** 2 * var + 1.5**2 * h
    noise = 1 / (1.5 * math.sqrt(h))
    assert network.slope.item() == pytest.approx(-1 / var, abs=5 * noise / math.sqrt(n * var))
    assert network.offset.item() == pytest.approx(
        mean / var, abs=5 * noise * math.sqrt((1 + mean**2 / var) / n)
    )
    # The simulation's own error is first order in h: within 2 % of the exact process.
    exact = DATA.law(ORNSTEIN, 0.5)
    assert var == pytest.approx(exact.var, rel=0.02)
    assert mean == pytest.approx(exact.mean, rel=0.02)


def test_denoising_on_a_marginal_finds_its_score() -> None:
    """Slope -1/v and offset m/v; the target -eps/sigma has deviation 1/sigma."""
    network, n = Line(), 64 * 4096
    fit(network, Trigonometric())
    law, noise = DATA.law(TRIGONOMETRIC, 0.5), 1 / TRIGONOMETRIC.sigma(0.5)
    assert network.slope.item() == pytest.approx(-1 / law.var, abs=5 * noise / math.sqrt(n * law.var))
    assert network.offset.item() == pytest.approx(
        law.mean / law.var, abs=5 * noise * math.sqrt(2 / n / law.var)
    )


class LineInTime(Network):
    """slope(t) x + offset(t), both cubic in t: eight coefficients (of Chebyshev polynomials) are learned."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.offset = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        u = 2 * labels - 1
        basis = torch.stack([torch.ones_like(u), u, 2 * u**2 - 1, 4 * u**3 - 3 * u], dim=-1)
        return expand(basis @ self.slope, x) * x + expand(basis @ self.offset, x)


@pytest.mark.slow
@pytest.mark.parametrize(("process", "output"), [(Ornstein(), "score"), (Trigonometric(), "eps")])
def test_new_sde_trains_and_samples(process: SDE, output: Output) -> None:
    """Least squares over 2^17 values; samples then have the data's mean and deviation to 0.05.

    The slope of the score, about -3, is then known to about 0.1, and the simulation of ``perturb`` adds its
    2 %; the mean would be 0 if the offset were not learned, the deviation 0.75 or 1 without the slope.
    """
    network = LineInTime()
    model = NoiseModel(network, process, Time(process), output)
    x0 = DATA.mean + DATA.std * Noise(1, range(512), dtype=torch.float64).normal((512, 256))
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=25, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        loss = DenoisingLoss(UniformTimes())(
            model, x0, Noise(2, range(512), dtype=torch.float64)
        ).values.mean()
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[arg-type]
    run = PCSampler(model, EulerMaruyama(), NoneCorrector(), Uniform().times(process, 100))
    x = run.sample((64, 256), Noise(0, range(64), dtype=torch.float64)).x
    assert x.mean().item() == pytest.approx(DATA.mean, abs=0.05)
    assert x.std().item() == pytest.approx(DATA.std, abs=0.05)


def test_closing_estimate_of_a_general_sde_is_one_reverse_step() -> None:
    """x - f dt + g^2 dt score, dt = t: affine in x for the exact score."""
    move = from_score(DATA, ORNSTEIN, 1e-3, x=1 + 2.0 * 1e-3, score=1.5**2 * 1e-3)
    x, t = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([1e-3], dtype=torch.float64)
    value = Ornstein().denoise(x, t, OrnsteinScore()(x, t))
    assert value.item() == pytest.approx(move.a * 0.7 + move.b, rel=1e-12)


@pytest.mark.parametrize("package", ["losses", "likelihood", "docs"])
def test_what_a_component_needs_is_asked_of_its_needs(package: str) -> None:
    """Not of the types that processes and predictors have: ``serves`` alone compares a process with ``needs``."""
    kinds = ("SDE", "Process", "Diffusion", "Chain", "Predictor", "needs")
    offences = [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "isinstance"
        and any(kind in ast.unparse(node.args[1]) for kind in kinds)
    ]
    assert not offences
