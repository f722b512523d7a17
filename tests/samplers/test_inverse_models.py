"""Posterior models: each method's formula, written a second time with matrices, and what it is exact for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.posterior_toys import SHAPE, SIZE, STD, dense, law, model
from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel, Prediction
from models.prediction.time_encoding import Time
from samplers import PCSampler
from samplers.correctors.none import NoneCorrector
from samplers.inverse import DPS, MomentMatching, PosteriorModel, PseudoInverseGuidance
from samplers.operators import LinearOperator, register_operator
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM
from sde_lib import SDE, Noise
from sde_lib.base import Coefficients
from sde_lib.grids import LogSNR
from tests.oracles import CASES

OPERATORS: dict[str, LinearOperator] = {
    "mask": register_operator["mask_half"](SHAPE),
    "downsample": register_operator["downsample"](SHAPE),
    "gaussian": register_operator["compressed_sensing"](SHAPE, measurements=5, kind="gaussian"),
}
SETTINGS = list(
    itertools.product(["vp", "subvp", "ve", "ddpm"], OPERATORS, [0.0, 0.05, 0.3], [0.03, 0.4, 0.9])
)


def draw(seed: int, count: int = 3) -> Tensor:
    return Noise(seed, range(count), dtype=torch.float64).normal((count, *SHAPE))


class Problem:
    """States at a time beside what linear algebra says of them."""

    def __init__(self, data: str, process: str, operator: str, noise_std: float, share: float) -> None:
        case = CASES[process]
        self.process, self.operator, self.noise_std = case.process, OPERATORS[operator], noise_std
        self.model = model(data, self.process)
        at = case.times(101)[::-1][round(100 * share)]
        self.t = self.process.time([at] * 3)
        self.alpha, self.sigma = case.oracle.alpha(at), case.oracle.sigma(at)
        p = law(data)
        self.mean, self.C = p.means[0].numpy(), p.covariances[0].numpy()
        self.x = self.alpha * (0.2 + 0.5 * draw(1)) + self.sigma * draw(2)
        self.A = dense(self.operator).numpy()
        self.y = self.operator.measure(
            0.2 + 0.5 * draw(3), Noise(4, range(3), dtype=torch.float64), noise_std
        )

    @property
    def states(self) -> np.ndarray:
        return self.x.flatten(1).numpy()

    @property
    def estimate(self) -> np.ndarray:
        """E[x_0 | x_t]."""
        gain = self.alpha * self.C @ np.linalg.inv(self.alpha**2 * self.C + self.sigma**2 * np.eye(SIZE))
        return self.mean + (self.states - self.alpha * self.mean) @ gain.T

    @property
    def residual(self) -> np.ndarray:
        return self.y.flatten(1).numpy() - self.estimate @ self.A.T

    @property
    def spread(self) -> np.ndarray:
        """Cov[x_0 | x_t]."""
        return np.linalg.inv(np.linalg.inv(self.C) + (self.alpha / self.sigma) ** 2 * np.eye(SIZE))

    def conditioned(self) -> np.ndarray:
        """E[x_0 | x_t, y], from the joint law of (x_0, x_t, y)."""
        seen = np.abs(self.A).sum(1) > 0
        H = np.concatenate([self.alpha * np.eye(SIZE), self.A[seen]])
        noise = np.diag([self.sigma**2] * SIZE + [self.noise_std**2] * int(seen.sum()))
        observed = np.concatenate([self.states, self.y.flatten(1).numpy()[:, seen]], 1)
        gain = self.C @ H.T @ np.linalg.inv(H @ self.C @ H.T + noise)
        return self.mean + (observed - H @ self.mean) @ gain.T

    def agree(self, guided: PosteriorModel, expected: np.ndarray) -> bool:
        """Whether the prediction is the expected one in every view."""
        p: Prediction = guided(self.x, self.t, measurement=self.y)
        eps = (self.states - self.alpha * expected) / self.sigma
        x0, score, noise = (v.flatten(1).numpy() for v in (p.x0, p.score, p.eps))
        size = np.abs(expected).max()
        return (
            np.allclose(x0, expected, rtol=0, atol=1e-7 * size)
            and np.allclose(score, -eps / self.sigma, atol=1e-7 * np.abs(eps).max() / self.sigma)
            and np.allclose(noise, eps, atol=1e-7 * size * max(1, self.alpha / self.sigma))
        )


@pytest.mark.parametrize(("process", "operator", "noise_std", "share"), SETTINGS)
def test_moment_matching_is_exact_on_gaussians(
    process: str, operator: str, noise_std: float, share: float
) -> None:
    """Correlated data, at every time: its prediction is E[x_0 | x_t, y]."""
    problem = Problem("correlated", process, operator, noise_std, share)
    guided = MomentMatching(problem.model, problem.operator, noise_std=noise_std, iterations=16)
    assert problem.agree(guided, problem.conditioned())


@pytest.mark.parametrize(("process", "operator", "noise_std", "share"), SETTINGS)
def test_pseudo_inverse_guidance_is_exact_on_independent_data_of_its_variance(
    process: str, operator: str, noise_std: float, share: float
) -> None:
    problem = Problem("independent", process, operator, noise_std, share)
    guided = PseudoInverseGuidance(problem.model, problem.operator, noise_std=noise_std, data_std=STD)
    assert problem.agree(guided, problem.conditioned())


@pytest.mark.parametrize("process", ["vp", "ve", "ddpm"])
def test_pseudo_inverse_guidance_elsewhere_is_its_formula(process: str) -> None:
    """Song et al. 2023, with sigma^2 / alpha J^T = V: here r^2 is wrong, and so is the posterior."""
    problem = Problem("correlated", process, "gaussian", 0.1, 0.3)
    guided = PseudoInverseGuidance(problem.model, problem.operator, noise_std=0.1)
    r2 = problem.sigma**2 / (problem.alpha**2 + problem.sigma**2)
    inverse = np.linalg.inv(r2 * problem.A @ problem.A.T + 0.01 * np.eye(5))
    expected = problem.estimate + problem.residual @ inverse @ problem.A @ problem.spread
    assert problem.agree(guided, expected)
    assert np.abs(expected - problem.conditioned()).max() > 0.01


@pytest.mark.parametrize("process", ["vp", "ve", "ddpm"])
@pytest.mark.parametrize("weight", ["likelihood", "residual"])
def test_dps_is_its_formula(process: str, weight: Any) -> None:
    """x_0 + (sigma^2 / alpha) 2 w J^T A^T r = x_0 + 2 w V A^T r."""
    problem = Problem("correlated", process, "downsample", 0.3, 0.4)
    guided = DPS(problem.model, problem.operator, noise_std=0.3, weight=weight, zeta=0.7, num_steps=50)
    w: np.ndarray | float = 1 / (2 * 0.3**2)
    if weight == "residual":
        o, t = CASES[process].oracle, float(problem.t[0])
        s = t - (20 if process == "ddpm" else 1 / 50)
        scale = o.alpha(t) / o.alpha(s)
        variance = o.sigma(t) ** 2 - scale**2 * o.sigma(s) ** 2
        w = 0.7 * scale / (variance * np.linalg.norm(problem.residual, axis=1, keepdims=True))
    assert problem.agree(guided, problem.estimate + 2 * w * (problem.residual @ problem.A @ problem.spread))


def test_dps_of_the_residual_is_the_papers_step() -> None:
    """Chung et al. 2023, algorithm 1: an ancestral step, then - (zeta / |r|) grad |r|^2, on the chain's own grid."""
    problem = Problem("correlated", "ddpm", "mask", 0.0, 0.6)
    t, zeta = problem.t, 0.4
    x = problem.x.clone().requires_grad_()
    squares = (problem.y - problem.operator.apply(problem.model(x, t).x0)).flatten(1).square().sum(1)
    (gradient,) = torch.autograd.grad(squares.sum(), x)
    step = AncestralSampling()
    plain = step.update_fn(problem.model, problem.x, t, t - 1, Noise(7, range(3), dtype=torch.float64)).x
    paper = plain - (zeta / squares.detach().sqrt()).reshape(-1, 1, 1, 1) * gradient
    guided = DPS(problem.model, problem.operator, zeta=zeta).given(measurement=problem.y)
    ours = step.update_fn(guided, problem.x, t, t - 1, Noise(7, range(3), dtype=torch.float64)).x
    assert torch.allclose(ours, paper, rtol=0, atol=1e-10)
    assert (ours - plain).abs().max() > 0.01


METHODS: dict[str, Callable[[NoiseModel], PosteriorModel]] = {
    "dps": lambda m: DPS(m, OPERATORS["mask"], zeta=0.2, num_steps=20),
    "pseudo_inverse": lambda m: PseudoInverseGuidance(m, OPERATORS["mask"], noise_std=0.1),
    "moment_matching": lambda m: MomentMatching(m, OPERATORS["mask"], noise_std=0.1, iterations=3),
}


@pytest.mark.parametrize(("name", "pullbacks"), [("dps", 1), ("pseudo_inverse", 1), ("moment_matching", 4)])
def test_one_evaluation_a_call_and_its_pullbacks_are_counted(name: str, pullbacks: int) -> None:
    guided = METHODS[name](model("mixture", CASES["vp"].process))
    run = PCSampler(guided, DDIM(), NoneCorrector(), LogSNR().times(CASES["vp"].process, 10))
    y = OPERATORS["mask"].apply(draw(0))
    assert run.sample((3, *SHAPE), Noise(0, range(3)), measurement=y).nfe == 10
    assert guided.pullbacks == 10 * pullbacks


@pytest.mark.parametrize("name", METHODS)
def test_nothing_of_the_graph_is_left(name: str) -> None:
    """Samplers keep predictions; these must not keep their networks' activations alive."""
    p = METHODS[name](model("mixture", CASES["vp"].process))(
        draw(0), torch.full((3,), 0.5).double(), measurement=draw(1)
    )
    assert not (p.output.requires_grad or p.x.requires_grad)


def test_hidden_pixels_of_a_measurement_never_matter() -> None:
    problem = Problem("mixture", "vp", "mask", 0.1, 0.4)
    for build in METHODS.values():
        guided, y = build(problem.model), problem.y
        junk = torch.where(problem.operator.restrict(torch.ones_like(y)) > 0, y, 7.0)
        ours, theirs = (guided(problem.x, problem.t, measurement=m).x0 for m in (y, junk))
        assert torch.equal(ours, theirs)


def test_operator_moves_with_the_model() -> None:
    guided = METHODS["moment_matching"](model("mixture", CASES["vp"].process)).to("meta")
    assert guided.operator.known.is_meta  # type: ignore[attr-defined]
    assert not OPERATORS["mask"].known.is_meta  # type: ignore[attr-defined]


class Drifting(SDE):
    """A process without a Gaussian marginal."""

    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        return Coefficients(-x, torch.ones_like(t))

    def prior_sampling(self, shape: Any, noise: Noise) -> Tensor:
        return noise.normal(shape)

    def prior_logp(self, z: Tensor) -> Tensor:
        return z.flatten(1).sum(1)


def test_mistakes_are_refused() -> None:
    m, A = model("mixture", CASES["vp"].process), OPERATORS["mask"]
    x, t = draw(0), torch.full((3,), 0.5).double()
    with pytest.raises(ValueError, match=r"noise_std is a standard deviation, 0 or more; got -0\.1"):
        MomentMatching(m, A, noise_std=-0.1)
    with pytest.raises(ValueError, match=r"iterations lies in \[1, 1000000\], got 0"):
        MomentMatching(m, A, iterations=0)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        PseudoInverseGuidance(m, A, data_std=0.0)
    with pytest.raises(ValueError, match="'residual' or 'likelihood', got 'norm'"):
        DPS(m, A, weight="norm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="divides by noise_std"):
        DPS(m, A, weight="likelihood")
    with pytest.raises(ValueError, match="positive zeta"):
        DPS(m, A, zeta=0.0)
    with pytest.raises(ValueError, match="needs the measurement y of each sample"):
        DPS(m, A)(x, t)
    with pytest.raises(ValueError, match=r"measurement has shape \(3, 1, 2, 2\).*is \(3, 1, 4, 4\)"):
        DPS(m, A)(x, t, measurement=torch.zeros(3, 1, 2, 2))
    with pytest.raises(ValueError, match=r"measurement has shape \(1, 1, 4, 4\)"):
        DPS(m, A)(x, t, measurement=torch.zeros(1, *SHAPE))
    process = Drifting()
    network = GaussianScore(process=CASES["vp"].process)
    with pytest.raises(
        ValueError, match="DPS needs a process with a Gaussian marginal, and Drifting has none"
    ):
        DPS(NoiseModel(network, process, Time(process), "score"), A)
